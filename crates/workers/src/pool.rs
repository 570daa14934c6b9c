//! The workers of one endpoint: kept at their number, given requests, drained at the end.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flash_wire::RequestHead;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::base::{Base, Printed};
use crate::description::{self, Description, Undescribed};
use crate::dispatch::{Answer, Cancel, Dispatcher, Job, Limits, Submitted, Ticket, Work, WorkerId};
use crate::error::{self, Error};
use crate::imported::Imported;
use crate::libraries::Importer;
use crate::link::{self, Link};
use crate::printed::Pipes;
use crate::process::Process;
use crate::ready::Ready;
use crate::zygote::{Adopted, Zygote, control_pair};

/// How one endpoint's workers are kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Slots, and how many may wait.
    pub limits: Limits,
    /// Workers to keep.
    pub workers: usize,
    /// A request is given up this long after it came.
    pub timeout: Duration,
    /// A worker that is not ready after this is given up.
    pub start_timeout: Duration,
    /// Whether a worker that goes on with a given-up request is replaced. A live endpoint's is not: its state would be lost.
    pub replace_stuck: bool,
    /// How much of what is printed while no live call is in flight is kept for the next one, in bytes; 0 prints it at once.
    pub unheard: usize,
}

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

/// A live call.
#[derive(Clone, Debug)]
pub struct Call {
    /// What the SDK sent, opaque here.
    pub body: Bytes,
    /// How long it may take; without it, as long as the pool allows.
    pub timeout: Option<Duration>,
    /// What becomes of it when nobody waits for it any more.
    pub cancel: Cancel,
}

/// What became of a request.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The worker answered.
    Answered(Answer),
    /// It took longer than the endpoint's timeout.
    Expired,
    /// The worker died after it had begun, in this way where that is known.
    Lost(Option<ExitStatus>),
    /// Too many requests wait already.
    Refused,
    /// No worker can be started.
    Failed(Arc<Error>),
}

/// A piece of a live call's answer.
#[derive(Clone, Debug)]
pub enum Event {
    /// Text that it printed: the stream (1 or 2), and UTF-8.
    Output(u8, Bytes),
    /// The worker that runs it is not the one that ran the calls before: state was lost. Comes before what the call prints.
    StateLost,
    /// The last one.
    End(Outcome),
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

/// Whom to answer.
pub(crate) enum Reply {
    Request { answer: oneshot::Sender<Outcome>, tag: u64 },
    Call(mpsc::UnboundedSender<Event>),
}

impl Reply {
    pub(crate) fn give(self, outcome: Outcome) {
        // In both cases: when the receiver is gone, nobody waits for the answer.
        match self {
            Self::Request { answer, .. } => drop(answer.send(outcome)),
            Self::Call(events) => drop(events.send(Event::End(outcome))),
        }
    }
}

/// What the tasks of a pool share under one lock.
pub(crate) struct Shared {
    pub(crate) dispatcher: Dispatcher<Reply>,
    /// Wakes each worker's link to send what has gathered.
    pub(crate) links: Vec<(WorkerId, Arc<Notify>)>,
    next_worker: u64,
    /// What the last worker that got ready says of its routes.
    ready: Option<Arc<Ready>>,
    /// The first frames a live worker gets; set by the session's client.
    context: Option<Bytes>,
    /// A live worker died, and no call was told so yet.
    state_lost: bool,
    unheard: Unheard,
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
    pub(crate) fn wake(&self, workers: &[WorkerId]) {
        for (id, notify) in &self.links {
            if workers.contains(id) {
                notify.notify_one();
            }
        }
    }
}

pub(crate) struct Inner {
    pub(crate) name: String,
    pub(crate) settings: Settings,
    pub(crate) base: Arc<Base>,
    config: serde_json::Value,
    shared: Mutex<Shared>,
    pub(crate) status: watch::Sender<Status>,
    closing: watch::Sender<bool>,
    /// Something may wait, and no worker be there.
    waits: Notify,
    /// The zygote that has this endpoint's modules; `None` inside when forking it is not safe.
    project: tokio::sync::Mutex<Option<Option<Zygote>>>,
    importer: Importer,
    imported: Mutex<Imported>,
    /// What the routes of those modules take and return, once somebody has asked.
    pub(crate) description: Description,
}

/// The workers of one endpoint. Cloneable handle.
#[derive(Clone)]
pub struct Pool {
    inner: Arc<Inner>,
    tasks: Arc<tokio::sync::Mutex<JoinSet<()>>>,
}

impl Pool {
    /// Starts the endpoint's workers in the background. `config` goes to them as it is.
    pub fn start(name: &str, base: Arc<Base>, config: serde_json::Value, settings: Settings) -> Self {
        let shared = Shared {
            dispatcher: Dispatcher::new(settings.limits.clone()),
            links: Vec::new(),
            next_worker: 0,
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
            waits: Notify::new(),
            project: tokio::sync::Mutex::new(None),
            importer: Importer::new(),
            imported: Mutex::default(),
            description: Description::default(),
            settings,
        });
        let mut tasks = JoinSet::new();
        for _ in 0..inner.settings.workers {
            tasks.spawn(keep(inner.clone()));
        }
        tasks.spawn({
            let inner = inner.clone();
            let mut closing = inner.closing();
            async move {
                tokio::select! {
                    () = inner.expire_without_workers() => {}
                    () = link::closed(&mut closing) => {}
                }
            }
        });
        Self { inner, tasks: Arc::new(tokio::sync::Mutex::new(tasks)) }
    }

    /// The endpoint's name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// How long a request may take.
    pub fn timeout(&self) -> Duration {
        self.inner.settings.timeout
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
        let deadline = Instant::now() + self.inner.settings.timeout;
        match self.submit(Job { work, body, deadline, cancel }, Reply::Request { answer, tag }) {
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
        let mut shared = self.inner.lock();
        if std::mem::take(&mut shared.state_lost) {
            drop(sender.send(Event::StateLost)); // the receiver is here
        }
        for (stream, text) in shared.unheard.take() {
            drop(sender.send(Event::Output(stream, text)));
        }
        drop(shared);
        let deadline = Instant::now() + call.timeout.unwrap_or(self.inner.settings.timeout);
        let job = Job { work: Work::Call, body: call.body, deadline, cancel: call.cancel };
        let submission = match self.submit(job, Reply::Call(sender.clone())) {
            Ok(submission) => Some(submission),
            Err(outcome) => {
                drop(sender.send(Event::End(outcome)));
                None
            }
        };
        Events { receiver, submission }
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

    /// Lets requests in flight finish for at most `grace`, then ends the workers. Requests that come later are refused.
    pub async fn close(&self, grace: Duration) {
        let deadline = Instant::now() + grace;
        while self.inner.lock().dispatcher.pending() > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.inner.closing.send_replace(true);
        let mut tasks = self.tasks.lock().await;
        while tasks.join_next().await.is_some() {}
        self.inner.project.lock().await.take();
    }

    fn submit(&self, job: Job, reply: Reply) -> Result<Submission, Outcome> {
        let mut shared = self.inner.lock();
        let ticket = match shared.dispatcher.submit(job, reply) {
            Submitted::Sent(ticket, worker) => {
                shared.wake(&[worker]);
                ticket
            }
            Submitted::Waiting(ticket) => {
                // A link that has nothing to do looks after no deadlines.
                let workers = shared.dispatcher.workers();
                shared.wake(&workers);
                self.inner.waits.notify_one();
                if let Status::Failed(error) = &*self.inner.status.borrow() {
                    let _ = shared.dispatcher.abandoned(ticket); // it waits: no worker is to be told
                    return Err(Outcome::Failed(error.clone()));
                }
                ticket
            }
            Submitted::Refused(_) => return Err(Outcome::Refused),
        };
        drop(shared);
        Ok(Submission { inner: self.inner.clone(), ticket: Some(ticket) })
    }
}

/// The events of a live call.
pub struct Events {
    receiver: mpsc::UnboundedReceiver<Event>,
    submission: Option<Submission>,
}

impl Events {
    /// The next event; after [`Event::End`] none.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let event = std::task::ready!(Pin::new(&mut self.receiver).poll_recv(context));
        if matches!(event, Some(Event::End(_)) | None)
            && let Some(submission) = &mut self.submission
        {
            submission.ticket = None;
        }
        Poll::Ready(event)
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
        if let Some(Reply::Call(events)) = shared.dispatcher.oldest(id) {
            drop(events.send(Event::Output(stream, Bytes::copy_from_slice(text.as_bytes())))); // unheard is fine
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
    fn joined(&self, id: WorkerId, notify: Arc<Notify>, ready: Ready) {
        let mut shared = self.lock();
        shared.ready = Some(Arc::new(ready));
        shared.links.push((id, notify.clone()));
        let context = shared.context.clone();
        let waiting = shared.dispatcher.joined(id, context.as_deref());
        if waiting || context.is_some() {
            notify.notify_one();
        }
        drop(shared);
        self.status.send_replace(Status::Ready);
    }

    /// A worker is gone: what it had begun is lost, the rest goes on elsewhere.
    fn left(&self, id: WorkerId, status: Option<ExitStatus>, begun: impl Fn(u32) -> bool) {
        let mut shared = self.lock();
        shared.links.retain(|(other, _)| *other != id);
        let (lost, told) = shared.dispatcher.lost(id, begun);
        shared.wake(&told);
        self.waits.notify_one(); // this may have been the last one there was
        // Of the calls that another worker gets, one is told, in its turn the first; else the next to come.
        shared.state_lost = !*self.closing.borrow();
        if shared.state_lost
            && let Some(Reply::Call(events)) = shared.dispatcher.first_waiting()
        {
            drop(events.send(Event::StateLost)); // unheard is fine
            shared.state_lost = false;
        }
        let shows = self.settings.unheard == 0 && !*self.closing.borrow();
        drop(shared);
        if shows {
            let lost = match lost.len() {
                0 => String::new(),
                1 => " while it ran a request, which is answered with 502".into(),
                count => format!(" while it ran {count} requests, which are answered with 502"),
            };
            let (name, how) = (&self.name, error::shown(status));
            let text =
                format!("flash: a worker of {name} died{how}{lost}; another takes its place, without what the module kept in globals\n");
            self.print(None, 2, &text);
        }
        for reply in lost {
            reply.give(Outcome::Lost(status));
        }
    }

    /// Looks after the deadlines of what waits while no worker is there, whose link does it else. Never returns.
    async fn expire_without_workers(&self) {
        loop {
            self.waits.notified().await;
            while let Some(expired) = self.sweep_without_workers() {
                for reply in expired {
                    reply.give(Outcome::Expired);
                }
                tokio::time::sleep(link::SWEEP).await;
            }
        }
    }

    /// Whose time is over; `None` when nothing waits, or a worker is there.
    fn sweep_without_workers(&self) -> Option<Vec<Reply>> {
        let mut shared = self.lock();
        let alone = shared.links.is_empty() && shared.dispatcher.pending() > 0;
        alone.then(|| shared.dispatcher.sweep(Instant::now()).expired)
    }

    /// Forks a worker and waits until it is ready.
    async fn start_worker(&self) -> Result<(Link, Ready), Error> {
        let (link, descriptors) = Link::new()?;
        let forked = self.fork("worker", descriptors).await?;
        link.until_ready(self, forked).await
    }

    /// Forks a process that has this endpoint's modules, or imports them first where they do not bear forking.
    pub(crate) async fn fork(&self, role: &str, descriptors: Vec<OwnedFd>) -> Result<Process, Error> {
        let base = self.base.zygote().await?;
        let order = serde_json::json!({ "role": role, "config": self.config });
        let imports_ahead = self.config["functions"].as_array().is_some_and(|functions| !functions.is_empty());
        let zygote = if imports_ahead { self.project_zygote(&base).await?.unwrap_or(base) } else { base };
        zygote.fork(&order, descriptors).await
    }

    /// Has a zygote forked by `maker` that imports this endpoint's modules.
    async fn import_in(&self, maker: &Zygote) -> Result<Adopted, Error> {
        let (ours, theirs) = control_pair().map_err(Error::System)?;
        let (pipes, [out, err]) = Pipes::new()?;
        self.base.print_all(pipes, Some(self.name.clone()));
        let order = serde_json::json!({ "role": "zygote", "config": self.config });
        let forked = maker.fork(&order, vec![theirs, out, err]).await?;
        let adopted = tokio::time::timeout(self.settings.start_timeout, maker.adopt(forked, ours)).await;
        adopted.map_err(|_| Error::NotReady { limit: self.settings.start_timeout })?
    }

    /// The zygote with this endpoint's modules, made when first needed or when it died; `None` where forking it is not safe.
    async fn project_zygote(&self, base: &Zygote) -> Result<Option<Zygote>, Error> {
        let mut project = self.project.lock().await;
        match &*project {
            Some(None) => return Ok(None),
            Some(Some(zygote)) if !zygote.is_gone() => return Ok(Some(zygote.clone())),
            _ => {}
        }
        let ahead = self.base.libraries().zygote(&self.name);
        let mut adopted = self.import_in(ahead.as_ref().unwrap_or(base)).await?;
        if ahead.is_some() && adopted.ready.libraries.is_none() {
            // Its modules have come to set the environment, which libraries that are imported afterwards may read.
            adopted = self.import_in(base).await?;
        }
        let Adopted { zygote, ready } = adopted;
        self.base.libraries().note(&self.name, self.importer, ready.libraries);
        self.description.outdate();
        let changes = ready.unsafe_because;
        if !changes.is_empty() {
            let text = format!(
                "flash: importing the modules of {} left {}, so its workers are not forked but import afresh\n",
                self.name,
                changes.join(" and ")
            );
            self.print(None, 2, &text);
            *project = Some(None);
            return Ok(None);
        }
        *project = Some(Some(zygote.clone()));
        Ok(Some(zygote))
    }
}

/// Keeps one worker running until the pool closes.
async fn keep(inner: Arc<Inner>) {
    let mut closing = inner.closing();
    let mut failures: u32 = 0;
    while !*closing.borrow() {
        let started = tokio::select! {
            started = inner.start_worker() => started,
            () = link::closed(&mut closing) => break,
        };
        match started {
            Ok((link, ready)) => {
                failures = 0;
                let id = {
                    let mut shared = inner.lock();
                    shared.next_worker += 1;
                    WorkerId(shared.next_worker)
                };
                let notify = Arc::new(Notify::new());
                inner.joined(id, notify.clone(), ready);
                let (status, page) = link.carry(&inner, id, &notify).await;
                inner.left(id, status, |request| page.as_ref().is_some_and(|cells| cells.begun(request)));
            }
            Err(error) => {
                failures += 1;
                let wait = Duration::from_millis(100) * 2u32.pow(failures.min(8));
                tracing::debug!(endpoint = inner.name, %error, ?wait, "no worker could be started");
                // A worker that died while it started may do better next time; modules that cannot be imported stay so.
                if failures >= 3 || !matches!(error, Error::EndedEarly { .. } | Error::ZygoteGone) {
                    inner.fail(Arc::new(error));
                }
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = link::closed(&mut closing) => break,
                }
            }
        }
    }
}

impl Inner {
    /// Nobody need wait for a worker any more.
    fn fail(&self, error: Arc<Error>) {
        let mut shared = self.lock();
        self.status.send_replace(Status::Failed(error.clone()));
        let waiting = shared.dispatcher.give_up_waiting();
        drop(shared);
        for reply in waiting {
            reply.give(Outcome::Failed(error.clone()));
        }
    }
}
