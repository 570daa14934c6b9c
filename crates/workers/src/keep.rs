//! The task that has a pool's workers come and go: it sees what is asked of them, asks the rule (`flash-autoscale`), and does what that says.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flash_autoscale::{Backoff, Load, Policy, Scaler};
use rustix::rand::{GetRandomFlags, getrandom};
use tokio::sync::{self, Notify, mpsc, oneshot};
use tokio::task::JoinSet;

use crate::description;
use crate::dispatch::WorkerId;
use crate::error::Error;
use crate::link;
use crate::pool::{Handle, Inner, Shared, Status};
use crate::reply::{Outcome, Reply};
use crate::snapshot::Trouble;
use crate::watch;

/// A worker that ends before it has been ready for so long, and has answered nothing, was no good one.
const YOUNG: Duration = Duration::from_secs(5);
/// A wish to have the zygote end, and whom to tell whether it did.
pub(crate) type Evict = oneshot::Sender<bool>;

/// How a worker's life went.
struct Life {
    begun: Instant,
    ended: Ended,
}

enum Ended {
    /// Before it was ready.
    NotReady(Error),
    /// Right after that, and it had answered nothing.
    Young(Error),
    /// Unasked, and it had answered something, had been there for a while, or was running a job.
    Died,
    /// When it was told to.
    Stopped,
}

pub(crate) struct Keeper {
    inner: Arc<Inner>,
    scaler: Scaler,
    backoff: Backoff,
    workers: JoinSet<Life>,
    wishes: mpsc::Receiver<Evict>,
    /// Those whose wish is being seen to.
    evicting: VecDeque<Evict>,
    /// Has the routes described, which must be done before the zygote goes.
    describing: JoinSet<()>,
    /// Since when there is a zygote without workers.
    deserted: Option<Instant>,
}

impl Keeper {
    pub(crate) fn new(inner: Arc<Inner>, wishes: mpsc::Receiver<Evict>) -> Self {
        let workers = &inner.settings.workers;
        let slots = inner.settings.limits.slots;
        let per_worker = workers.scaler_value.min(slots);
        let scaler = Scaler::new(Policy { min: workers.min, max: workers.max, idle: workers.idle, per_worker });
        let (evicting, describing, deserted) = (VecDeque::new(), JoinSet::new(), None);
        Self { inner, scaler, backoff: Backoff::default(), workers: JoinSet::new(), wishes, evicting, describing, deserted }
    }

    /// Keeps the workers until the pool closes, then ends them.
    pub(crate) async fn run(mut self) {
        let mut closing = self.inner.closing();
        loop {
            let look = self.look(Instant::now());
            let at = async {
                match look {
                    Some(look) => tokio::time::sleep_until(look.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = link::closed(&mut closing) => break,
                Some(life) = self.workers.join_next() => match life {
                    Ok(life) => self.ended(life),
                    Err(error) => tracing::error!(endpoint = self.inner.name, %error, "the task of a worker has failed"),
                },
                Some(wish) = self.wishes.recv() => self.evicting.push_back(wish),
                Some(_) = self.describing.join_next() => self.evict(),
                () = self.inner.look.notified() => {}
                () = at => {}
            }
        }
        for handle in &self.inner.lock().links {
            handle.stop.send_replace(true);
        }
        while self.workers.join_next().await.is_some() {}
    }

    /// Sees how things are, and has done what is to be done. Returns when to look again.
    fn look(&mut self, now: Instant) -> Option<Instant> {
        let inner = self.inner.clone();
        let mut given_up = Vec::new();
        let mut shared = inner.lock();
        let recovers = self.recovered(&mut shared, now);
        let load = Load {
            workers: shared.dispatcher.load().collect(),
            starting: shared.starting,
            waiting: shared.dispatcher.waiting(),
            pressed: shared.dispatcher.is_pressed(),
            verified: matches!(*inner.status.borrow(), Status::Ready),
            not_before: self.backoff.next_try(),
        };
        let decision = self.scaler.decide(&load, now);
        let most_in_flight = if decision.tell { inner.settings.workers.scaler_value } else { usize::MAX };
        shared.dispatcher.tell_pressure(most_in_flight);
        for id in &decision.stop {
            shared.retire(WorkerId(*id));
        }
        shared.starting += decision.start;
        let deserted = shared.desert(&inner, now, &mut given_up);
        let ids: Vec<WorkerId> = (0..decision.start).map(|_| shared.new_worker()).collect();
        drop(shared);
        if decision.start > 0 || !decision.stop.is_empty() {
            let (start, stop) = (decision.start, decision.stop.len());
            tracing::debug!(endpoint = inner.name, start, stop, reason = ?decision.reason, waiting = load.waiting, "workers come and go");
        }
        for (reply, outcome) in given_up {
            reply.give(outcome);
        }
        for id in ids {
            self.workers.spawn(live(inner.clone(), id));
        }
        let zygote = self.zygote(now);
        [decision.look, recovers, deserted, zygote].into_iter().flatten().min()
    }

    /// Forgets failures once a worker that came after them has proved itself. Returns when that may be, where one is there.
    fn recovered(&mut self, shared: &mut Shared, now: Instant) -> Option<Instant> {
        let trouble = shared.trouble.as_ref()?;
        let later = shared.links.iter().filter(|handle| !handle.stopping && handle.since > trouble.at);
        let proved = |handle: &Handle| {
            !self.inner.settings.workers.backs_off || now >= handle.since + YOUNG || shared.dispatcher.answered_by(handle.id) > 0
        };
        let (proved, since) = later.fold((false, None), |(any, since), handle| (any || proved(handle), since.or(Some(handle.since))));
        if proved {
            shared.trouble = None;
            self.backoff.reset();
            return None;
        }
        since.map(|since| since + YOUNG)
    }

    fn ended(&mut self, Life { begun, ended }: Life) {
        let error = match ended {
            Ended::NotReady(error) | Ended::Young(error) => error,
            Ended::Died | Ended::Stopped => {
                // It was good for as long as it was there.
                let mut shared = self.inner.lock();
                if shared.trouble.take_if(|trouble| trouble.at < begun).is_some() {
                    self.backoff.reset();
                }
                return;
            }
        };
        let (now, before) = (Instant::now(), self.backoff.failures());
        self.backoff.failed(begun, now, dice());
        if self.backoff.failures() == before {
            return; // another one that was started beside it has said so
        }
        let (failures, next_try) = (self.backoff.failures(), self.backoff.next_try().unwrap_or(now));
        tracing::debug!(endpoint = self.inner.name, %error, failures, wait = ?next_try.saturating_duration_since(now), "no worker could be started");
        // A worker that died while it started may do better next time; modules that cannot be imported stay so.
        let lasts = self.backoff.is_loop() || !error.may_pass();
        let trouble = Trouble { error: Arc::new(error), failures, at: now, next_try, lasts, told: false };
        self.inner.lock().trouble = Some(trouble);
    }

    /// Sees to the zygote that has no workers. Returns when to look again.
    fn zygote(&mut self, now: Instant) -> Option<Instant> {
        if !self.workers.is_empty() || !self.inner.has_zygote() {
            self.deserted = None;
            for wish in self.evicting.drain(..) {
                let _ = wish.send(false); // who wished it may have gone
            }
            return None;
        }
        let since = *self.deserted.get_or_insert(now);
        let due = since + self.inner.settings.workers.zygote_idle.min(link::FOREVER);
        if self.evicting.is_empty() && now < due {
            return Some(due);
        }
        if self.describing.is_empty() {
            // Afterwards nobody who wants the document need import anything.
            let inner = self.inner.clone();
            self.describing.spawn(async move { drop(description::of(&inner).await) });
        }
        None
    }

    /// Ends the zygote, unless it has got workers meanwhile.
    fn evict(&mut self) {
        let evicted = self.workers.is_empty() && self.inner.evict();
        if evicted {
            tracing::debug!(endpoint = self.inner.name, "the zygote has ended: it had no workers");
        }
        self.deserted = None; // where that could not be, it has as long again
        for wish in self.evicting.drain(..) {
            let _ = wish.send(evicted); // who wished it may have gone
        }
    }
}

impl Shared {
    fn new_worker(&mut self) -> WorkerId {
        self.next_worker += 1;
        WorkerId(self.next_worker)
    }

    /// A worker that has nothing to do gets nothing more, and is told to end.
    fn retire(&mut self, id: WorkerId) {
        self.dispatcher.retire(id);
        self.stop(id);
    }

    /// A worker that gets nothing more is told to end.
    pub(crate) fn stop(&mut self, id: WorkerId) {
        if let Some(handle) = self.links.iter_mut().find(|handle| handle.id == id) {
            handle.stopping = true;
            handle.stop.send_replace(true);
        }
    }

    /// Looks after those that wait while no worker is there, whose link does it else. Returns when to look again.
    fn desert(&mut self, inner: &Inner, now: Instant, given_up: &mut Vec<(Reply, Outcome)>) -> Option<Instant> {
        if self.serves() {
            return None;
        }
        if let Some(trouble) = &mut self.trouble {
            let is_news = trouble.lasts && !std::mem::replace(&mut trouble.told, true);
            if is_news {
                inner.status.send_replace(Status::Failed(trouble.error.clone()));
            }
            if is_news || now < trouble.next_try {
                let before = (!trouble.lasts).then_some(trouble.next_try);
                let (error, retry_in) = (&trouble.error, trouble.next_try.saturating_duration_since(now));
                let refused = self.dispatcher.give_up_waiting(before).into_iter();
                given_up.extend(refused.map(|reply| (reply, Outcome::Failed { error: error.clone(), retry_in })));
            }
        }
        if self.dispatcher.waiting() == 0 {
            return None;
        }
        let swept = self.dispatcher.sweep(now);
        given_up.extend(swept.expired.into_iter().map(|reply| (reply, Outcome::Expired)));
        given_up.extend(swept.unserved.into_iter().map(|reply| (reply, Outcome::Unserved)));
        Some(now + watch::SWEEP)
    }
}

/// One worker, from its start to its end.
async fn live(inner: Arc<Inner>, id: WorkerId) -> Life {
    let begun = Instant::now();
    let mut closing = inner.closing();
    let started = tokio::select! {
        started = inner.start_worker() => Some(started),
        () = link::closed(&mut closing) => None,
    };
    let (link, ready, _share) = match started.transpose() {
        Ok(Some(started)) => started,
        Ok(None) => return Life { begun, ended: Ended::Stopped },
        Err(error) => {
            inner.lock().starting -= 1;
            return Life { begun, ended: Ended::NotReady(error) };
        }
    };
    let (stop, stopped) = sync::watch::channel(false);
    let (notify, since) = (Arc::new(Notify::new()), Instant::now());
    let (pid, kill) = (link.pid(), Arc::new(Notify::new()));
    inner.joined(Handle { id, notify: notify.clone(), since, pid, kill: kill.clone(), stop, stopping: false, given_up: false }, ready);
    inner.look.notify_one();
    let (status, page) = link.carry(&inner, id, &notify, &kill, stopped.clone()).await;
    let asked = *stopped.borrow();
    let left = inner.left(id, status, asked, |request| page.as_ref().is_some_and(|cells| cells.begun(request)));
    // Who sends a job again waits longer each time, and gives it up: other jobs are not to wait for that.
    let young = since.elapsed() < YOUNG && left.answered == 0 && !left.given_up && !left.at_a_job && inner.settings.workers.backs_off;
    let ended = match (asked, young) {
        (true, _) => Ended::Stopped,
        (false, true) if left.at_work => Ended::Young(Error::EndedAtWork { status }),
        (false, true) => Ended::Young(Error::EndedYoung { status }),
        (false, false) => Ended::Died,
    };
    Life { begun, ended }
}

/// Any number. Where the system has none to give, endpoints that failed together are tried again together.
fn dice() -> u32 {
    let mut bytes = [0; 4];
    let _ = getrandom(&mut bytes, GetRandomFlags::NONBLOCK);
    u32::from_ne_bytes(bytes)
}
