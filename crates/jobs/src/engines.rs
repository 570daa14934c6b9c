//! All endpoints that take jobs, and what they share.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use flash_queue::{Policy, Timestamp};
use flash_store::jobs::{Jobs, Lease, Outcome, Ran};
use flash_workers::Pool;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::engine::{Engine, MOMENT, Serving};
use crate::id::Ids;
use crate::object::Object;
use crate::running::Running;
use crate::settings::Settings;
use crate::streams::Streams;
use crate::tags::Tags;
use crate::waiters::Waiters;
use crate::webhook::{self, Secret};

/// How often it is looked whether the workers of running jobs run.
const ROUND: Duration = Duration::from_secs(1);
/// Jobs that are kept no longer are removed so often.
const RETAIN: Duration = Duration::from_secs(60);

/// Hears what is to be told of an endpoint, by its id.
pub type Note = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// What everything here shares.
pub(crate) struct Shared {
    pub(crate) jobs: Jobs,
    pub(crate) settings: Settings,
    pub(crate) running: Arc<Running>,
    pub(crate) streams: Streams,
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) ids: Ids,
    pub(crate) tags: Tags,
    pub(crate) note: Note,
    /// What webhooks are signed with.
    pub(crate) secret: Secret,
    /// A job with a webhook may have ended.
    pub(crate) webhooks: Notify,
    pub(crate) stopping: watch::Sender<bool>,
}

impl Shared {
    /// The time on the queue's clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.jobs.now()
    }

    /// When it was, so long ago.
    pub(crate) fn ago(&self, elapsed: Duration) -> Timestamp {
        let Timestamp(now) = self.now();
        Timestamp(now - i64::try_from(elapsed.as_millis()).unwrap_or(0))
    }
}

/// All endpoints that take jobs. Cloneable handle.
#[derive(Clone)]
pub struct Engines {
    pub(crate) shared: Arc<Shared>,
    engines: Arc<RwLock<HashMap<String, Arc<Engine>>>>,
    /// Endpoints that have routes, and take no jobs.
    routed: Arc<RwLock<BTreeSet<String>>>,
    tasks: Arc<Mutex<JoinSet<()>>>,
}

/// A function that runs jobs.
#[derive(Clone, Debug)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// How often a job is tried in all where it raises; `None` where the endpoint's policy says.
    pub attempts: Option<u32>,
}

/// An endpoint that is to take jobs.
pub struct Queue {
    /// Its id.
    pub id: String,
    /// Its workers.
    pub pool: Pool,
    /// Its functions, in the order of its configuration.
    pub functions: Vec<Function>,
    /// How its jobs are run, where nothing else is asked for.
    pub policy: Policy,
    /// Whether anybody may call it, from anywhere.
    pub public: bool,
}

/// Workers that get no more jobs.
pub struct Leaving(Arc<Serving>);

impl Leaving {
    /// The workers.
    pub fn pool(&self) -> &Pool {
        &self.0.pool
    }

    /// Waits until they have ended all jobs that they were given.
    pub async fn unused(&self) {
        self.0.unused().await;
    }
}

impl Engines {
    /// Runs no jobs yet. Must be called on the runtime that is to run them.
    pub fn start(jobs: Jobs, settings: Settings, secret: Secret, note: Note) -> Self {
        let streams = Streams::new(settings.stream_bytes);
        let shared = Shared {
            jobs,
            settings,
            streams,
            note,
            secret,
            running: Arc::default(),
            waiters: Arc::default(),
            ids: Ids::default(),
            tags: Tags::default(),
            webhooks: Notify::new(),
            stopping: watch::Sender::new(false),
        };
        let engines = Self { shared: Arc::new(shared), engines: Arc::default(), routed: Arc::default(), tasks: Arc::default() };
        let mut tasks = engines.tasks();
        tasks.spawn(engines.clone().sweep());
        tasks.spawn(engines.clone().watch());
        tasks.spawn(engines.clone().retain());
        tasks.spawn(webhook::deliver(engines.clone()));
        drop(tasks);
        engines
    }

    /// The queue itself.
    pub fn jobs(&self) -> &Jobs {
        &self.shared.jobs
    }

    /// The limits.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// The id of the job whose prints have this tag.
    pub fn tagged(&self, tag: u64) -> Option<String> {
        self.shared.tags.job(tag)
    }

    /// These endpoints take jobs from now on, in the place of those of their ids, and those that are `routed` or `gone` no longer: what of these
    /// waits stays in the queue. Gives the workers that served before; they end the jobs that they have.
    pub fn switch(&self, queues: Vec<Queue>, routed: &[String], gone: &[String]) -> Vec<Leaving> {
        let mut known = self.routed.write().unwrap_or_else(PoisonError::into_inner);
        known.retain(|id| !gone.contains(id) && queues.iter().all(|queue| queue.id != *id));
        known.extend(routed.iter().cloned());
        drop(known);
        let mut leaving = Vec::new();
        for id in routed.iter().chain(gone) {
            leaving.extend(self.engine(id).and_then(|engine| engine.serve(None)));
        }
        for queue in queues {
            let Queue { id, pool, functions, policy, public } = queue;
            let engine = self.engine_of(&id);
            leaving.extend(engine.serve(Some(Serving::new(pool, functions, policy, public))));
        }
        leaving.into_iter().map(Leaving).collect()
    }

    /// The endpoint of this id, where it has taken jobs.
    pub(crate) fn engine(&self, id: &str) -> Option<Arc<Engine>> {
        self.engines.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Whether an endpoint has routes, and takes no jobs.
    pub(crate) fn is_routed(&self, id: &str) -> bool {
        self.routed.read().unwrap_or_else(PoisonError::into_inner).contains(id)
    }

    /// Lets jobs that run come to their end for at most `grace`. What has not is tried again by the next server.
    pub async fn close(&self, grace: Duration) {
        self.shared.stopping.send_replace(true);
        let mut tasks = std::mem::take(&mut *self.tasks());
        let ended = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, ended).await.is_err() {
            tracing::info!("jobs that have not come to their end begin anew with the next start");
        }
        tasks.shutdown().await;
        // Their workers are about to be ended: that is no failure of theirs. The next start voids their leases, which costs them no attempt.
        let engines: Vec<_> = self.engines.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for engine in engines {
            engine.abandon().await;
        }
    }

    fn engine_of(&self, id: &str) -> Arc<Engine> {
        let mut engines = self.engines.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = engines.get(id) {
            return engine.clone();
        }
        let engine = Arc::new(Engine::new(id, self.shared.clone()));
        engines.insert(id.to_owned(), engine.clone());
        self.tasks().spawn(engine.clone().run());
        engine
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) async fn stopped(&self) {
        // An error would mean that nobody is left to ask.
        let _ = self.shared.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// Has jobs become ready and expire when it is their time.
    async fn sweep(self) {
        let shared = &self.shared;
        loop {
            tokio::select! {
                () = self.stopped() => return,
                () = shared.jobs.due() => {}
            }
            if let Err(error) = self.sweep_once().await {
                tracing::debug!(%error, "what is due cannot be moved");
                tokio::time::sleep(MOMENT).await;
            }
        }
    }

    async fn sweep_once(&self) -> flash_store::jobs::Result<()> {
        let shared = &self.shared;
        loop {
            let running = shared.running.clone();
            let swept = shared.jobs.expire_of(move |id| running.ran(id)).await?;
            for endpoint in &swept.ready {
                if let Some(engine) = self.engine(endpoint) {
                    engine.is_wanted();
                    engine.look.notify_one();
                }
            }
            for expired in &swept.expired {
                if let Some(lease) = expired.lease {
                    self.stop_lease(lease);
                }
                self.tell_end(&expired.id).await;
            }
            if !swept.more {
                return Ok(());
            }
        }
    }

    /// Stops what a lease stands for, which is not in force any more.
    pub(crate) fn stop_lease(&self, lease: Lease) {
        let parked = self.engines.read().unwrap_or_else(PoisonError::into_inner).values().any(|engine| engine.forget(lease));
        if !parked {
            self.shared.running.stop(lease);
        }
    }

    /// Tells who waits for a job that has ended by no worker's doing.
    pub(crate) async fn tell_end(&self, id: &str) {
        let shared = &self.shared;
        shared.streams.ended(id);
        shared.webhooks.notify_one();
        if shared.waiters.has(id)
            && let Ok(Some((job, large))) = shared.jobs.look(id).await
        {
            shared.waiters.tell(id, large.is_none().then(|| Object::stored(&job).json()).as_ref());
        }
    }

    /// Looks after workers that do not run: theirs are tried again elsewhere.
    async fn watch(self) {
        let shared = &self.shared;
        let mut rounds = tokio::time::interval(ROUND.min(shared.settings.lease / 4));
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.stopped() => return shared.running.stop_lapsed(), // they are not waited for
                _ = rounds.tick() => {}
            }
            let looked = shared.running.look(shared.settings.lease, Instant::now());
            for lapsed in looked.lapsed {
                let why = format!("its worker did not run for {} s", shared.settings.lease.as_secs_f64());
                let ran = Ran { worker: Some(lapsed.began.name), begun: Some(lapsed.began.at) };
                // Where its lease was over already, its own end has come meanwhile.
                match shared.jobs.finish(lapsed.lease, Outcome::Lost { why }, ran).await {
                    Ok(finished) if finished.state.has_ended() => self.tell_end(&lapsed.id).await,
                    Ok(_) => {}
                    Err(error) => tracing::debug!(job = lapsed.id, %error, "a lease that lapsed was over already"),
                }
            }
            for (pool, worker) in looked.to_kill {
                pool.kill(worker);
            }
        }
    }

    /// Removes jobs that are kept no longer.
    async fn retain(self) {
        loop {
            tokio::select! {
                () = self.stopped() => return,
                () = tokio::time::sleep(RETAIN) => {}
            }
            while self.shared.jobs.retain().await.is_ok_and(|retained| retained.more) {
                tokio::time::sleep(Duration::from_millis(20)).await; // others write meanwhile
            }
        }
    }
}
