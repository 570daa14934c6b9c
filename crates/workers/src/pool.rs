//! The workers of one endpoint: given requests, seen, drained at the end. What has them come and go is in `keep.rs`.

use std::collections::VecDeque;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flash_wire::{Content, RequestHead};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::base::{Base, Printed};
use crate::description::{self, Description, Undescribed};
use crate::dispatch::{Cancel, Deadline, Dispatcher, Errand, Submitted, Ticket, Work, WorkerId};
use crate::error::{self, Error};
use crate::imported::Imported;
use crate::importing::Importing;
use crate::keep::{Evict, Keeper};
use crate::libraries::Importer;
use crate::process;
use crate::project::Project;
use crate::ready::Ready;
use crate::reply::{Event, Heard, Hearer, Outcome, Reply};
use crate::room::Backlog;
use crate::settings::Settings;
use crate::snapshot::{Snapshot, State, Trouble};

/// A request to a route.
#[derive(Clone, Debug)]
pub struct Request {
    /// The route's index in the endpoint's functions.
    pub route: u16,
    /// What the worker must know beside the body.
    pub head: RequestHead,
    /// The body.
    pub body: Bytes,
    /// Names the request in what it prints.
    pub tag: u64,
    /// What becomes of it when nobody waits for it any more.
    pub cancel: Cancel,
}

/// A job for a function that has no route.
#[derive(Clone, Debug)]
pub struct Job {
    /// The function's index among the endpoint's.
    pub function: u16,
    /// The input's JSON.
    pub input: Bytes,
    /// How long a worker may take for it, from when it has a slot for it; without it, as long as the pool allows. For a worker it waits without a limit.
    pub limit: Option<Duration>,
    /// Names the job in what it prints.
    pub tag: u64,
}

/// A live call.
#[derive(Clone, Debug)]
pub struct Call {
    /// What the SDK sent, opaque here.
    pub body: Bytes,
    /// How long it may take; without it, as long as the pool allows.
    pub timeout: Option<Duration>,
    /// Whether that counts from when a worker has it, before which it waits for as long as need be.
    pub queued: bool,
    /// What becomes of it when nobody waits for it any more.
    pub cancel: Cancel,
}

/// Whether an endpoint can answer.
#[derive(Clone, Debug)]
pub enum Status {
    /// Its first worker is being started.
    Starting,
    /// A worker was ready, and nothing has shown since that no other can be.
    Ready,
    /// Workers cannot be started.
    Failed(Arc<Error>),
}

/// What the tasks of a pool share under one lock.
pub(crate) struct Shared {
    pub(crate) dispatcher: Dispatcher<Reply>,
    /// Those that are ready, stopping ones among them.
    pub(crate) links: Vec<Handle>,
    /// How many are being started.
    pub(crate) starting: usize,
    pub(crate) next_worker: u64,
    /// How many have ended unasked.
    restarts: u64,
    /// Since a worker could not be started, until one that came later has proved itself.
    pub(crate) trouble: Option<Trouble>,
    /// What the last worker that got ready says of its routes.
    ready: Option<Arc<Ready>>,
    /// The first frames a live worker gets; set by the session's client.
    context: Option<Bytes>,
    /// A live worker died, and no call was told so yet.
    state_lost: bool,
    unheard: Unheard,
}

/// A ready worker, as the others see it.
pub(crate) struct Handle {
    pub(crate) id: WorkerId,
    /// Wakes its link to send what has gathered.
    pub(crate) notify: Arc<Notify>,
    /// When it was ready.
    pub(crate) since: Instant,
    /// Its process's number.
    pub(crate) pid: u32,
    /// Has its link kill it.
    pub(crate) kill: Arc<Notify>,
    /// Tells it to end.
    pub(crate) stop: watch::Sender<bool>,
    /// Whether it takes nothing more: it was told so, or was given up.
    pub(crate) stopping: bool,
    /// Whether it was given up: its loop stands still. It counts no longer.
    pub(crate) given_up: bool,
}

/// How a worker has left.
pub(crate) struct Left {
    /// Requests that it has answered.
    pub(crate) answered: u64,
    pub(crate) given_up: bool,
    /// Whether it was running something.
    pub(crate) at_work: bool,
    /// Whether a job was among that.
    pub(crate) at_a_job: bool,
}

/// What a live endpoint printed while no call was there to hear it: its end.
#[derive(Default)]
struct Unheard {
    pieces: VecDeque<(u8, Bytes)>,
    length: usize,
    dropped: bool,
}

impl Unheard {
    fn push(&mut self, stream: u8, text: Bytes, limit: usize) {
        self.length += text.len();
        self.pieces.push_back((stream, text));
        while self.length > limit
            && let Some((_, oldest)) = self.pieces.pop_front()
        {
            self.length -= oldest.len();
            self.dropped = true;
        }
    }

    fn take(&mut self) -> impl Iterator<Item = (u8, Bytes)> {
        let Self { pieces, dropped, .. } = std::mem::take(self);
        let note = dropped.then(|| (2, Bytes::from_static(b"flash: what was printed between the calls was long: only its end follows\n")));
        note.into_iter().chain(pieces)
    }
}

impl Shared {
    /// Whether this route's function is known to run in threads.
    pub(crate) fn runs_in_thread(&self, route: Option<u16>) -> bool {
        route.zip(self.ready.as_ref()).is_some_and(|(route, ready)| ready.routes.get(usize::from(route)).is_some_and(|route| route.thread))
    }

    pub(crate) fn wake(&self, workers: &[WorkerId]) {
        for handle in &self.links {
            if workers.contains(&handle.id) {
                handle.notify.notify_one();
            }
        }
    }

    /// Of the calls that another worker gets, one is told, in its turn the first; else the next to come.
    fn tell_state_lost(&mut self) {
        self.state_lost = true;
        if let Some(Reply::Call(hearer)) = self.dispatcher.first_waiting() {
            hearer.hear(Event::StateLost);
            self.state_lost = false;
        }
    }

    /// Whether there is a worker that takes requests.
    pub(crate) fn serves(&self) -> bool {
        self.links.iter().any(|handle| !handle.stopping)
    }

    /// Why a request with this deadline need not wait, and when it may come again.
    fn hopeless(&self, deadline: Deadline) -> Option<Outcome> {
        let trouble = self.trouble.as_ref().filter(|_| !self.serves())?;
        let retry_in = trouble.refuses(deadline, Instant::now())?;
        Some(Outcome::Failed { error: trouble.error.clone(), retry_in })
    }
}

pub(crate) struct Inner {
    pub(crate) name: String,
    pub(crate) settings: Settings,
    pub(crate) base: Arc<Base>,
    pub(crate) config: serde_json::Value,
    shared: Mutex<Shared>,
    pub(crate) status: watch::Sender<Status>,
    closing: watch::Sender<bool>,
    /// Has the keeper look: something waits, or something has changed.
    pub(crate) look: Notify,
    /// The zygote that has this endpoint's modules.
    pub(crate) project: tokio::sync::Mutex<Project>,
    pub(crate) importer: Importer,
    imported: Mutex<Imported>,
    /// The process that imports the modules now, as far as one is known.
    pub(crate) importing: watch::Sender<Option<Arc<Importing>>>,
    /// What the routes of those modules take and return, once somebody has asked.
    pub(crate) description: Description,
}

/// The workers of one endpoint. Cloneable handle.
#[derive(Clone)]
pub struct Pool {
    inner: Arc<Inner>,
    /// The keeper's, which has all others.
    task: Arc<tokio::sync::Mutex<JoinSet<()>>>,
    wishes: mpsc::Sender<Evict>,
}

impl Pool {
    /// Starts the endpoint's workers in the background. `config` goes to them as it is.
    pub fn start(name: &str, base: Arc<Base>, config: serde_json::Value, settings: Settings) -> Self {
        let shared = Shared {
            dispatcher: Dispatcher::new(settings.limits.clone()),
            links: Vec::new(),
            starting: 0,
            next_worker: 0,
            restarts: 0,
            trouble: None,
            ready: None,
            context: None,
            state_lost: false,
            unheard: Unheard::default(),
        };
        let inner = Arc::new(Inner {
            name: name.to_owned(),
            base,
            config,
            shared: Mutex::new(shared),
            status: watch::Sender::new(Status::Starting),
            closing: watch::Sender::new(false),
            look: Notify::new(),
            project: tokio::sync::Mutex::default(),
            importer: Importer::new(),
            imported: Mutex::default(),
            importing: watch::Sender::new(None),
            description: Description::default(),
            settings,
        });
        let mut task = JoinSet::new();
        let (wishes, to_keeper) = mpsc::channel(8);
        task.spawn(Keeper::new(inner.clone(), to_keeper).run());
        Self { inner, task: Arc::new(tokio::sync::Mutex::new(task)), wishes }
    }

    /// The endpoint's name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// How long a request may take.
    pub fn timeout(&self) -> Duration {
        self.inner.settings.timeout
    }

    /// How many requests may be in flight on one worker.
    pub fn slots(&self) -> usize {
        self.inner.settings.limits.slots
    }

    /// Sends a request to a worker and waits for what becomes of it. Dropping the future gives the request up: what has begun runs to
    /// its end all the same, unless the request says otherwise.
    pub async fn request(&self, request: Request) -> Outcome {
        self.outcome(Work::Route(request.route, request.head), request.body, request.tag, request.cancel).await
    }

    /// As [`Self::request`], for a live call whose caller takes one answer and hears nothing of what is printed.
    pub async fn call_once(&self, body: Bytes, tag: u64) -> Outcome {
        self.outcome(Work::Call, body, tag, Cancel::UnlessBegun).await
    }

    async fn outcome(&self, work: Work, body: Bytes, tag: u64, cancel: Cancel) -> Outcome {
        let (answer, receiver) = oneshot::channel();
        let deadline = Deadline::At(Instant::now() + self.inner.settings.timeout);
        match self.submit(Errand { work, body, deadline, cancel }, Reply::Request { answer, tag }) {
            Ok(mut submission) => {
                let outcome = receiver.await.unwrap_or(Outcome::Lost(None));
                submission.ticket = None;
                outcome
            }
            Err(outcome) => outcome,
        }
    }

    /// Sends a live call to the worker. The events end with [`Event::End`]; dropping them gives the call up.
    pub fn call(&self, call: Call) -> Events {
        let (sender, receiver) = mpsc::unbounded_channel();
        let hearer = Hearer::new(sender.clone());
        let mut shared = self.inner.lock();
        if std::mem::take(&mut shared.state_lost) {
            hearer.hear(Event::StateLost);
        }
        for (stream, text) in shared.unheard.take() {
            hearer.print(stream, text);
        }
        drop(shared);
        let timeout = call.timeout.unwrap_or(self.inner.settings.timeout);
        let deadline = if call.queued { Deadline::Running(timeout) } else { Deadline::At(Instant::now() + timeout) };
        let errand = Errand { work: Work::Call, body: call.body, deadline, cancel: call.cancel };
        let backlog = hearer.backlog.clone();
        self.heard(errand, Reply::Call(hearer), (sender, receiver), backlog)
    }

    /// Gives a job to a worker, as soon as one has a slot for it; in the order in which they come. The events end with [`Event::End`].
    ///
    /// Dropping them gives the job up: one that no worker has is forgotten, an `async def` and a generator are cancelled, and a worker that goes on
    /// for the pool's grace all the same is replaced.
    ///
    /// A job that was begun never runs again: where its worker ends first, it is [`Outcome::Lost`]. One that was not begun goes to the next
    /// worker; after five that have ended with it, it is lost as well, without [`Event::Begun`]. An answer's status is 200, with the output as
    /// JSON, or another, with a failure (`docs/wire.md`).
    pub fn job(&self, job: Job) -> Events {
        let (sender, receiver) = mpsc::unbounded_channel();
        let head = RequestHead { content: Content::Typed(Bytes::from_static(b"application/json")), ..RequestHead::default() };
        let deadline = Deadline::Running(job.limit.unwrap_or(self.inner.settings.timeout));
        let errand = Errand { work: Work::Route(job.function, head), body: job.input, deadline, cancel: Cancel::Anyway };
        let hearer = Hearer::new(sender.clone());
        let backlog = hearer.backlog.clone();
        let reply = Reply::Job { hearer, tag: job.tag, given: None, begun: false };
        self.heard(errand, reply, (sender, receiver), backlog)
    }

    fn heard(
        &self,
        errand: Errand,
        reply: Reply,
        (sender, receiver): (mpsc::UnboundedSender<Heard>, mpsc::UnboundedReceiver<Heard>),
        backlog: Arc<Backlog>,
    ) -> Events {
        let submission = match self.submit(errand, reply) {
            Ok(submission) => Some(submission),
            Err(outcome) => {
                drop(sender.send(Event::End(outcome).into()));
                None
            }
        };
        Events { receiver, backlog, submission }
    }

    /// The workers that are ready and not about to end, each with its process.
    pub fn workers(&self) -> Vec<(u64, u32)> {
        let shared = self.inner.lock();
        shared.links.iter().filter(|handle| !handle.stopping).map(|handle| (handle.id.0, handle.pid)).collect()
    }

    /// Whether a worker is there and its process runs. One that is stopped, or has ended, does not; one that computes does, whatever in.
    pub fn runs(&self, worker: u64) -> bool {
        let pid = self.inner.lock().links.iter().find(|handle| handle.id.0 == worker).map(|handle| handle.pid);
        pid.is_some_and(process::runs)
    }

    /// Kills a worker, and what it had begun is lost. Another takes its place where the pool wants one. Nothing happens where it has ended.
    pub fn kill(&self, worker: u64) {
        if let Some(handle) = self.inner.lock().links.iter().find(|handle| handle.id.0 == worker) {
            handle.kill.notify_one();
        }
    }

    /// Says what live workers need to know of their caller; workers that are there already keep what they have.
    pub fn set_context(&self, context: Bytes) {
        let mut shared = self.inner.lock();
        if shared.context.replace(context.clone()).is_none() {
            for id in shared.dispatcher.workers() {
                shared.dispatcher.tell(id, flash_wire::Kind::Context, &context);
                shared.wake(&[id]);
            }
        }
    }

    /// Whether a context was set.
    pub fn has_context(&self) -> bool {
        self.inner.lock().context.is_some()
    }

    /// Whether the endpoint can answer, now and as it changes.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.inner.status.subscribe()
    }

    /// What its workers say of their routes, once one has been ready; `None` where none can be started.
    pub async fn ready(&self) -> Option<Arc<Ready>> {
        let ready = || self.inner.lock().ready.clone();
        if let Some(ready) = ready() {
            return Some(ready);
        }
        // An error would mean that the pool is gone, and with it whoever could get ready.
        let _ = self.status().wait_for(|status| !matches!(status, Status::Starting)).await;
        ready()
    }

    /// What the last worker that got ready says of its routes; `None` before one has been.
    pub fn last_ready(&self) -> Option<Arc<Ready>> {
        self.inner.lock().ready.clone()
    }

    /// The project's files that its workers have imported; they say so where the configuration's `reload` is set.
    pub fn imported(&self) -> Imported {
        self.inner.imported().clone()
    }

    /// The `paths` and `components` of the OpenAPI document of its routes, as JSON.
    ///
    /// No worker is started or disturbed for it: a process forked for the purpose makes it when it is first asked for. The last one stays while no
    /// worker can be started. Dropping the future leaves it to be made for who asks next.
    ///
    /// # Errors
    /// [`Undescribed`], which says why.
    pub async fn description(&self) -> Result<Bytes, Undescribed> {
        description::of(&self.inner).await
    }

    /// The line of the user's that a process is at which imports the modules, as `FILE:LINE`; `None` where none does, or it cannot be told.
    pub async fn importing(&self) -> Option<String> {
        let importing = self.inner.importing.borrow().clone();
        importing?.line().await
    }

    /// What can be seen of it now.
    pub fn snapshot(&self) -> Snapshot {
        let (settings, now) = (&self.inner.settings.workers, Instant::now());
        let shared = self.inner.lock();
        let status = self.inner.status.borrow();
        let proved =
            |trouble: &Trouble| shared.links.iter().any(|handle| handle.since > trouble.at && shared.dispatcher.answered_by(handle.id) > 0);
        let trouble = shared.trouble.as_ref().filter(|trouble| !proved(trouble));
        let state = trouble.map_or_else(|| State::of(&status), |trouble| trouble.state(shared.ready.is_some(), &status, now));
        let stopping = shared.links.iter().filter(|handle| handle.stopping).count();
        Snapshot {
            min: settings.min,
            max: settings.max,
            ready: shared.links.len() - stopping,
            starting: shared.starting,
            stopping,
            in_flight: shared.dispatcher.in_flight(),
            on_stopping: shared.dispatcher.in_flight_on_retired(),
            waiting: shared.dispatcher.waiting(),
            restarts: shared.restarts,
            state,
        }
    }

    /// Has the zygote with the endpoint's modules end, whose memory is free then: the next start imports them again. False where it has workers,
    /// or is not there.
    pub async fn evict(&self) -> bool {
        let (wish, told) = oneshot::channel();
        // Errors mean that the pool is closed, which ends the zygote.
        self.wishes.send(wish).await.is_ok() && told.await.unwrap_or(false)
    }

    /// Lets requests in flight finish for at most `grace`, then ends the workers. Requests that come later are refused.
    pub async fn close(&self, grace: Duration) {
        let deadline = Instant::now() + grace;
        while self.inner.lock().dispatcher.pending() > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.inner.closing.send_replace(true);
        let mut task = self.task.lock().await;
        while task.join_next().await.is_some() {}
        *self.inner.project.lock().await = Project::Absent;
    }

    fn submit(&self, errand: Errand, reply: Reply) -> Result<Submission, Outcome> {
        let deadline = errand.deadline;
        let mut shared = self.inner.lock();
        let ticket = match shared.dispatcher.submit(errand, reply) {
            Submitted::Sent(ticket, worker) => {
                shared.wake(&[worker]);
                if shared.dispatcher.is_pressed() {
                    self.inner.look.notify_one();
                }
                ticket
            }
            Submitted::Waiting(ticket) => {
                // A link that has nothing to do looks after no deadlines.
                let workers = shared.dispatcher.workers();
                shared.wake(&workers);
                if let Some(outcome) = shared.hopeless(deadline) {
                    let _ = shared.dispatcher.abandoned(ticket); // it waits: no worker is to be told
                    return Err(outcome);
                }
                self.inner.look.notify_one();
                ticket
            }
            Submitted::Refused(_) => return Err(Outcome::Refused),
        };
        drop(shared);
        Ok(Submission { inner: self.inner.clone(), ticket: Some(ticket) })
    }
}

/// The events of a live call, or of a job.
pub struct Events {
    receiver: mpsc::UnboundedReceiver<Heard>,
    backlog: Arc<Backlog>,
    submission: Option<Submission>,
}

impl Events {
    /// The next event; after [`Event::End`] none. May be dropped before it is there.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`Self::next`].
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let event = std::task::ready!(self.receiver.poll_recv(context)).map(|heard| heard.event);
        if let Some(Event::Output(_, text)) = &event {
            self.backlog.take(text.len());
        }
        if matches!(event, Some(Event::End(_)) | None)
            && let Some(submission) = &mut self.submission
        {
            submission.ticket = None;
        }
        Poll::Ready(event)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.backlog.close();
    }
}

/// A request that somebody waits for; given up when dropped with its ticket.
struct Submission {
    inner: Arc<Inner>,
    ticket: Option<Ticket>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.base.libraries().forget(self.importer);
    }
}

impl Drop for Submission {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else { return };
        let mut shared = self.inner.lock();
        if let Some(worker) = shared.dispatcher.abandoned(ticket) {
            shared.wake(&[worker]);
        }
    }
}

impl Inner {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Shared> {
        // A panic while it was held is a bug that was reported; the data is still the best there is.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn imported(&self) -> MutexGuard<'_, Imported> {
        self.imported.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn print(&self, tag: Option<u64>, stream: u8, text: &str) {
        self.base.sink()(Printed { endpoint: Some(&self.name), tag, stream, text });
    }

    /// Passes on what no request in flight printed: to the oldest live call of the worker, else to the next, else to the log.
    pub(crate) fn print_unclaimed(&self, shared: &mut Shared, id: WorkerId, stream: u8, text: &str) {
        if let Some(Reply::Call(hearer)) = shared.dispatcher.oldest(id) {
            hearer.print(stream, Bytes::copy_from_slice(text.as_bytes()));
        } else if self.settings.unheard == 0 {
            self.print(None, stream, text);
        } else {
            shared.unheard.push(stream, Bytes::copy_from_slice(text.as_bytes()), self.settings.unheard);
        }
    }

    pub(crate) fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    /// A worker is ready for requests.
    pub(crate) fn joined(&self, handle: Handle, ready: Ready) {
        let mut shared = self.lock();
        let (id, pid, notify) = (handle.id, handle.pid, handle.notify.clone());
        shared.starting -= 1;
        shared.ready = Some(Arc::new(ready));
        handle.stop.send_replace(*self.closing.borrow()); // whoever tells the others to end may have done so a moment ago
        shared.links.push(handle);
        let context = shared.context.clone();
        let waiting = shared.dispatcher.joined(id, pid, context.as_deref());
        if waiting || context.is_some() {
            notify.notify_one();
        }
        drop(shared);
        self.status.send_replace(Status::Ready);
    }

    /// A worker's loop stands still: it gets nothing more, another takes its place at once, and it is not waited for any more than what it has
    /// begun needs.
    pub(crate) fn give_up(&self, shared: &mut Shared, id: WorkerId) {
        shared.dispatcher.give_up(id);
        if let Some(handle) = shared.links.iter_mut().find(|handle| handle.id == id) {
            (handle.stopping, handle.given_up) = (true, true);
        }
        shared.tell_state_lost();
        self.look.notify_one();
    }

    /// A worker is gone: what it had begun is lost, the rest goes on elsewhere.
    pub(crate) fn left(&self, id: WorkerId, status: Option<ExitStatus>, asked: bool, begun: impl Fn(u32) -> bool) -> Left {
        let mut shared = self.lock();
        let given_up = shared.links.iter().any(|handle| handle.id == id && handle.given_up);
        shared.links.retain(|handle| handle.id != id);
        let answered = shared.dispatcher.answered_by(id);
        shared.dispatcher.begun(id, &begun);
        let (lost, told) = shared.dispatcher.lost(id, begun);
        shared.wake(&told);
        shared.restarts += u64::from(!asked || given_up);
        if asked || given_up {
            shared.state_lost &= given_up;
        } else {
            shared.tell_state_lost();
        }
        // Who was given up has been told of already.
        let shows = self.settings.unheard == 0 && !asked && (!given_up || !lost.is_empty());
        drop(shared);
        if shows {
            let (jobs, requests) = lost.iter().fold((0, 0), |(jobs, requests), reply| match reply {
                Reply::Job { .. } => (jobs + 1, requests),
                Reply::Request { .. } | Reply::Call(_) => (jobs, requests + 1),
            });
            let lost = match (jobs, requests) {
                (0, 0) => String::new(),
                (0, 1) => " while it ran a request, which is answered with 502".into(),
                (0, count) => format!(" while it ran {count} requests, which are answered with 502"),
                (1, _) => " while it ran a job".into(),
                (count, _) => format!(" while it ran {count} jobs"),
            };
            let (name, how) = (&self.name, error::shown(status));
            self.print(
                None,
                2,
                &if given_up {
                    format!("flash: the worker of {name} whose place another has taken was ended{lost}\n")
                } else {
                    format!("flash: a worker of {name} died{how}{lost}; another takes its place, without what the module kept in globals\n")
                },
            );
        }
        let at_work = !lost.is_empty();
        let at_a_job = lost.iter().any(|reply| matches!(reply, Reply::Job { begun: true, .. }));
        for reply in lost {
            reply.give(Outcome::Lost(status));
        }
        Left { answered, given_up, at_work, at_a_job }
    }
}
