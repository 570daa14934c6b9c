//! What runs one endpoint's jobs: claims them for workers that have slots, and gives them to these.

use std::collections::{HashMap, VecDeque};
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use flash_queue::{Policy, State};
use flash_store::jobs::{Claimed, Lease};
use flash_workers::{Pool, Snapshot};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::ahead::{self, Pace};
use crate::attempt;
use crate::engines::{Function, Shared};

/// After something went wrong that may be over in a moment.
pub(crate) const MOMENT: Duration = Duration::from_millis(200);
/// Jobs of low priority that are leased and wait for a slot, at most.
const MOST_PARKED: usize = 64;
/// So often it is looked whether there are more workers, if nothing happens.
const GLANCE: Duration = Duration::from_millis(50);

/// Workers that run an endpoint's jobs, and what they are told.
pub(crate) struct Serving {
    pub(crate) pool: Pool,
    /// The endpoint's functions, in the order of its configuration.
    functions: Vec<Function>,
    policy: Policy,
    pub(crate) public: bool,
    /// The most workers that there may be.
    most_workers: usize,
    /// Jobs that were given to the pool and have not ended.
    held: watch::Sender<usize>,
    pace: Mutex<Measured>,
}

#[derive(Default)]
struct Measured {
    job: Option<Duration>,
    claim: Duration,
    /// When each worker ended its last job.
    last: HashMap<u64, Instant>,
}

/// An endpoint that takes jobs.
pub(crate) struct Engine {
    pub(crate) id: Arc<str>,
    pub(crate) shared: Arc<Shared>,
    serving: watch::Sender<Option<Arc<Serving>>>,
    pub(crate) look: Notify,
    /// Nothing is claimed before.
    paused: Mutex<Option<Instant>>,
    /// Leases that were asked for and have not come.
    asked: AtomicUsize,
    attempts: Mutex<JoinSet<()>>,
    /// Leased jobs of low priority that wait until a slot is free: given to the pool they would have a worker started.
    parked: Mutex<VecDeque<Claimed>>,
    /// How often something became ready that is to have workers started.
    wishes: AtomicU64,
    /// What they were when what was claimed had a low priority: unless there were more since, what is ready has one too, and nothing is claimed
    /// to have workers started.
    only_low: AtomicU64,
}

/// What serves, while a job is given to it.
pub(crate) struct Held(Arc<Serving>);

impl Deref for Held {
    type Target = Serving;

    fn deref(&self) -> &Serving {
        &self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.held.send_modify(|held| *held -= 1);
    }
}

impl Serving {
    pub(crate) fn new(pool: Pool, functions: Vec<Function>, policy: Policy, public: bool) -> Self {
        let most_workers = pool.snapshot().max;
        Self { pool, functions, policy, public, most_workers, held: watch::Sender::new(0), pace: Mutex::default() }
    }

    /// The place of a function, or why there is none. Without a name it is the only one.
    pub(crate) fn function(&self, name: &str) -> Result<u16, String> {
        let place = match (name, self.functions.len()) {
            ("", 1) => Some(0),
            ("", _) => None,
            _ => self.functions.iter().position(|function| function.name == name),
        };
        place.and_then(|place| u16::try_from(place).ok()).ok_or_else(|| {
            let known = self.functions.iter().map(|function| format!("`{}`", function.name)).collect::<Vec<_>>().join(", ");
            match name {
                "" => format!("the endpoint has several functions: say which with \"function\" beside \"input\": {known}"),
                name => format!("the endpoint has no function `{name}`; it has {known}"),
            }
        })
    }

    /// How a function's jobs are run, where nothing else is asked for.
    pub(crate) fn policy(&self, function: u16) -> Policy {
        let own = self.functions.get(usize::from(function)).and_then(|function| function.attempts);
        Policy { attempts: own.unwrap_or(self.policy.attempts), ..self.policy.clone() }
    }

    /// A job is given to it.
    fn hold(self: &Arc<Self>) -> Held {
        self.held.send_modify(|held| *held += 1);
        Held(self.clone())
    }

    /// Waits until no job is left that was given to it.
    pub(crate) async fn unused(&self) {
        // It is not dropped while it is borrowed.
        let _ = self.held.subscribe().wait_for(|held| *held == 0).await;
    }

    /// How many jobs it has.
    pub(crate) fn held(&self) -> usize {
        *self.held.borrow()
    }

    /// A worker has answered a job that it was given then.
    pub(crate) fn took(&self, worker: u64, given: Instant) {
        let now = Instant::now();
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        // One that was given ahead waited for the one before it.
        let since = pace.last.insert(worker, now).map_or(given, |last| last.max(given));
        pace.job = Some(ahead::follow(pace.job, now.duration_since(since)));
    }

    fn claim_took(&self, time: Duration) {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        pace.claim = ahead::follow(Some(pace.claim).filter(|claim| !claim.is_zero()), time);
    }

    fn pace(&self) -> Pace {
        let pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        Pace { job: pace.job, claim: pace.claim }
    }

    /// Whether a further job would wait, and have a worker started beside those that there are.
    fn is_full(&self) -> bool {
        let seen = self.pool.snapshot();
        seen.ready + seen.starting > 0 && self.claiming(&seen) >= (seen.ready * self.pool.slots()).max(1)
    }

    /// How many jobs have slots, or are to have them. What a worker has that is stopped, or past its time, takes none of the next one's.
    fn claiming(&self, seen: &Snapshot) -> usize {
        self.held().saturating_sub(seen.on_stopping)
    }

    /// How many jobs are to be claimed on top of those that are held or asked for.
    /// What is `parked` takes the next slots, and none of what has workers started.
    fn wanted(&self, asked: usize, parked: usize, starts: bool) -> usize {
        let seen = self.pool.snapshot();
        let (slots, there) = (seen.ready * self.pool.slots(), seen.ready + seen.starting);
        // What waits on top of what workers can take has more of them started: as many again at a time.
        let more = if starts { self.most_workers.saturating_sub(there).min(there) } else { 0 };
        let held = self.claiming(&seen) + asked;
        let starting = if more > 0 { (slots + more).saturating_sub(held) } else { 0 };
        ahead::wanted(slots, held + parked, self.pace()).max(starting)
    }
}

impl Engine {
    pub(crate) fn new(id: &str, shared: Arc<Shared>) -> Self {
        let (serving, paused) = (watch::Sender::new(None), Mutex::default());
        let (parked, wishes, only_low) = (Mutex::default(), AtomicU64::new(1), AtomicU64::new(0));
        let (asked, attempts) = (AtomicUsize::new(0), Mutex::default());
        Self { id: id.into(), shared, serving, look: Notify::new(), paused, asked, attempts, parked, wishes, only_low }
    }

    /// What serves it; `None` where it was removed.
    pub(crate) fn serving(&self) -> Option<Arc<Serving>> {
        self.serving.borrow().clone()
    }

    /// From now on jobs go there. Gives what served before.
    pub(crate) fn serve(&self, serving: Option<Serving>) -> Option<Arc<Serving>> {
        *self.paused.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let before = self.serving.send_replace(serving.map(Arc::new));
        self.look.notify_one();
        before
    }

    /// Claims nothing until then.
    pub(crate) fn pause(&self, until: Instant) {
        *self.paused.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    /// How many jobs to claim now. They are to be given to [`Self::got`], however many come.
    pub(crate) fn ask(&self) -> Asked {
        let paused = *self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        let closed = *self.shared.stopping.borrow() || paused.is_some_and(|until| until > Instant::now());
        let wishes = self.wishes.load(Relaxed);
        let starts = self.only_low.load(Relaxed) < wishes;
        let wanted = match self.serving().filter(|_| !closed) {
            Some(serving) => {
                let parked = self.parked().len();
                serving.wanted(self.asked.load(Relaxed), parked, starts)
            }
            None => 0,
        };
        self.asked.fetch_add(wanted, Relaxed);
        Asked { count: wanted, wishes, starts, at: Instant::now() }
    }

    /// As [`Self::ask`], where something is known to be ready.
    pub(crate) fn ask_of_ready(&self) -> Asked {
        if self.ready() { self.ask() } else { Asked { count: 0, wishes: 0, starts: false, at: Instant::now() } }
    }

    /// Has workers run what was claimed.
    pub(crate) fn got(self: &Arc<Self>, asked: &Asked, claimed: Vec<Claimed>) {
        if asked.count == 0 {
            return;
        }
        self.asked.fetch_sub(asked.count, Relaxed);
        let serving = self.serving();
        if let Some(serving) = serving.as_ref().filter(|_| !claimed.is_empty()) {
            serving.claim_took(asked.at.elapsed());
        }
        let some_low = claimed.iter().any(|job| job.policy.low_priority);
        self.parked().extend(claimed);
        // What was claimed to have workers started is not kept if it is not to: each wish would bring some more.
        self.begin_parked(if asked.starts { MOST_PARKED } else { usize::MAX });
        if some_low && !self.parked().is_empty() {
            self.only_low.fetch_max(asked.wishes, Relaxed);
        }
    }

    /// Has workers run what was leased: all of it but what has a low priority and would have another worker started. Of that, so much is kept.
    fn begin_parked(self: &Arc<Self>, kept: usize) {
        let serving = self.serving();
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut waits = VecDeque::new();
        let leased = std::mem::take(&mut *self.parked());
        for job in leased {
            match &serving {
                Some(serving) if job.policy.low_priority && serving.is_full() && waits.len() < kept => waits.push_back(job),
                Some(serving) if job.policy.low_priority && serving.is_full() => {
                    drop(attempts.spawn(attempt::give_back(self.clone(), job)));
                }
                Some(serving) => drop(attempts.spawn(attempt::run(self.clone(), serving.hold(), job))),
                // It was removed meanwhile.
                None => drop(attempts.spawn(attempt::give_back(self.clone(), job))),
            }
        }
        self.parked().extend(waits);
    }

    /// Something may be ready that is to have workers started.
    pub(crate) fn is_wanted(&self) {
        self.wishes.fetch_add(1, Relaxed);
    }

    /// Forgets a leased job that waits for a slot; true where it was there.
    pub(crate) fn forget(&self, lease: Lease) -> bool {
        let mut parked = self.parked();
        let before = parked.len();
        parked.retain(|job| job.lease != lease);
        parked.len() < before
    }

    fn parked(&self) -> MutexGuard<'_, VecDeque<Claimed>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ready(&self) -> bool {
        self.shared.jobs.counts(&self.id).of(State::Ready) > 0
    }

    /// Claims what becomes ready by itself, until the server stops; then waits for what runs.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut stopping = self.shared.stopping.subscribe();
        loop {
            let stop = async { drop(stopping.wait_for(|stopping| *stopping).await) };
            tokio::select! {
                biased;
                () = stop => break,
                () = self.turn() => {}
            }
            self.reap();
        }
        let parked = std::mem::take(&mut *self.parked());
        for job in parked {
            attempt::give_back(self.clone(), job).await;
        }
        loop {
            self.reap();
            if self.attempts.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
                return;
            }
            self.look.notified().await;
        }
    }

    /// Leaves attempts that have not ended, without a word of what became of them.
    pub(crate) async fn abandon(&self) {
        let mut attempts = std::mem::take(&mut *self.attempts.lock().unwrap_or_else(PoisonError::into_inner));
        attempts.shutdown().await;
    }

    /// Forgets attempts that have ended.
    fn reap(&self) {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(ended) = attempts.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(endpoint = &*self.id, %error, "the task of a job has failed");
            }
        }
    }

    /// Claims what there are slots for, else waits for a change.
    async fn turn(self: &Arc<Self>) {
        if !self.parked().is_empty() {
            self.begin_parked(usize::MAX);
        }
        if !self.ready() {
            return self.look.notified().await;
        }
        let asked = self.ask();
        if asked.count == 0 {
            // Workers come and go without a word, and pauses end.
            let _ = tokio::time::timeout(GLANCE, self.look.notified()).await;
            return;
        }
        match self.shared.jobs.claim(&self.id, asked.count).await {
            Ok(claimed) => self.got(&asked, claimed),
            Err(error) => {
                self.got(&asked, Vec::new());
                tracing::debug!(endpoint = &*self.id, %error, "no jobs can be claimed");
                tokio::time::sleep(MOMENT).await;
            }
        }
    }
}

/// Leases that were asked for.
pub(crate) struct Asked {
    /// How many.
    pub(crate) count: usize,
    /// The engine's wishes by then.
    wishes: u64,
    /// Whether more were asked for than workers can take, so that some are started.
    starts: bool,
    at: Instant,
}
