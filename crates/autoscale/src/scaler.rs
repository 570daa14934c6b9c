//! How many workers there are to be.
//!
//! ```text
//!  fewer than are to be kept, or none that has failed to be verified yet ─▶ start what is missing
//!  something waits, and no worker is there or coming                     ─▶ start one
//!  pressure that lasts                                                   ─▶ start more: at most as many again as there are
//!  a worker that had nothing to do for `idle`                            ─▶ stop it, the newest first
//! ```
//!
//! *Pressure*: something waits, or every worker has `per_worker` requests in flight and one has more. It must last for [`PATIENCE`] while
//! nobody is starting: a burst that the worker that has just come takes in a moment starts no others. Each further wave waits for the one
//! before, and for as long again, so the number doubles at most, and only for what the workers before could not take.
//!
//! It does not flap: a worker that was started stays for `idle` at least, and where one has nothing to do there is no pressure.

use std::time::{Duration, Instant};

/// How long pressure lasts before it is answered. A worker takes thousands of quick requests in it.
pub const PATIENCE: Duration = Duration::from_millis(50);
/// How often pressure is looked at meanwhile.
const GLANCE: Duration = Duration::from_millis(10);
/// Workers that take longer than this to start are not waited for by those that could be started beside them.
const SLOW_START: Duration = Duration::from_secs(5);
/// How often busy workers are looked at, of which one may become idle.
const ROUND: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Longer than this nobody waits to be idle; more would not fit into a moment in time.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// What is set for an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Kept even when nothing is asked of them.
    pub min: usize,
    /// Never more than these.
    pub max: usize,
    /// A worker that had nothing to do for so long is stopped.
    pub idle: Duration,
    /// More requests in flight than this, a worker, ask for another one.
    pub per_worker: usize,
}

/// A worker that is ready for requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worker {
    /// Never used twice.
    pub id: u64,
    /// Requests that it has.
    pub in_flight: usize,
    /// Requests that it has answered since it came.
    pub answered: u64,
    /// Whether it takes more now.
    pub open: bool,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// Those that are ready, the oldest first. Those that are stopping are not among them.
    pub workers: Vec<Worker>,
    /// How many are being started.
    pub starting: usize,
    /// Requests that wait for a worker.
    pub waiting: usize,
    /// Whether there was pressure since the last look, if only for a moment.
    pub pressed: bool,
    /// Whether it is known that workers can be started. Until then one is, though nobody asks for it.
    pub verified: bool,
    /// Nothing is to be started before.
    pub not_before: Option<Instant>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// How many to start.
    pub start: usize,
    /// Which to stop: they have nothing to do.
    pub stop: Vec<u64>,
    /// When to look again, if nothing happens before.
    pub look: Option<Instant>,
    /// Whether whoever sees pressure is to say so. Else it is looked at anyway, or nothing could be done about it.
    pub tell: bool,
    /// Why.
    pub reason: Reason,
}

/// Why something is done, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There are as many as there should be.
    Enough,
    /// Fewer than are to be kept.
    BelowMin,
    /// Something waits, and there is none.
    FirstRequest,
    /// More was asked of them than they could take, for a while.
    Pressure,
    /// More is asked of them than they take: not for long yet, or others are coming.
    Patience,
    /// More are wanted, and the last ones failed a moment ago.
    Failing,
    /// Some had nothing to do for long.
    Idle,
}

/// The rule, and what it remembers.
#[derive(Clone, Debug)]
pub struct Scaler {
    policy: Policy,
    /// Since when there has been pressure while nobody was starting.
    pressed_since: Option<Instant>,
    /// When the last ones were started.
    started: Option<Instant>,
    seen: Vec<Seen>,
}

/// What was seen of a worker the last time.
#[derive(Clone, Copy, Debug)]
struct Seen {
    id: u64,
    answered: u64,
    /// Since when it has had nothing to do.
    idle_since: Option<Instant>,
}

impl Scaler {
    /// What is kept is no more than the most, and one request in flight is no pressure.
    pub fn new(policy: Policy) -> Self {
        let (min, per_worker, idle) = (policy.min.min(policy.max), policy.per_worker.max(1), policy.idle.min(FOREVER));
        let policy = Policy { min, per_worker, idle, ..policy };
        Self { policy, pressed_since: None, started: None, seen: Vec::new() }
    }

    /// Decides. To be asked when something has happened, and when it said to be; more often does no harm.
    pub fn decide(&mut self, load: &Load, now: Instant) -> Decision {
        self.remember(&load.workers, now);
        let Policy { min, max, .. } = self.policy;
        let floor = if load.verified { min } else { min.max(1).min(max) };
        let have = load.workers.len() + load.starting;
        let pressure = self.pressure(load, have);
        let (wanted, reason) = if have < floor {
            (floor - have, Reason::BelowMin)
        } else if have == 0 && load.waiting > 0 && max > 0 {
            (1, Reason::FirstRequest)
        } else if self.lasts(load, pressure, now) {
            (pressure.min(have.max(1)), Reason::Pressure)
        } else {
            (0, if self.pressed_since.is_some() || pressure > 0 { Reason::Patience } else { Reason::Enough })
        };
        if wanted > 0 {
            if let Some(not_before) = load.not_before.filter(|not_before| now < *not_before) {
                return self.rest(load, floor, Reason::Failing, Some(not_before), now);
            }
            (self.started, self.pressed_since) = (Some(now), None);
            return Decision { start: wanted, tell: false, ..self.rest(load, floor, reason, Some(now + SLOW_START), now) };
        }
        let look = self.pressed_since.map(|_| now + GLANCE).or(self.coming(load, now));
        self.rest(load, floor, reason, look, now)
    }

    /// How many more are wanted, now, within the most.
    fn pressure(&self, load: &Load, have: usize) -> usize {
        let per_worker = self.policy.per_worker;
        let open = || load.workers.iter().filter(|worker| worker.open);
        let full = open().all(|worker| worker.in_flight >= per_worker) && open().any(|worker| worker.in_flight > per_worker);
        if load.waiting == 0 && !full {
            return 0;
        }
        let all = load.waiting + load.workers.iter().map(|worker| worker.in_flight).sum::<usize>();
        // Who waits though there should be room waits behind workers that are held up.
        let wanted = all.div_ceil(per_worker).max(have + 1);
        wanted.min(self.policy.max).saturating_sub(have)
    }

    /// Whether pressure has lasted.
    fn lasts(&mut self, load: &Load, pressure: usize, now: Instant) -> bool {
        let could_start = load.workers.len() + load.starting < self.policy.max;
        if self.coming(load, now).is_some() || !could_start || (pressure == 0 && !load.pressed) {
            self.pressed_since = None;
            return false;
        }
        let since = *self.pressed_since.get_or_insert(now);
        pressure > 0 && now.saturating_duration_since(since) >= PATIENCE
    }

    /// Until when those that are starting are waited for, where some are.
    fn coming(&self, load: &Load, now: Instant) -> Option<Instant> {
        self.started.map(|started| started + SLOW_START).filter(|until| load.starting > 0 && now < *until)
    }

    /// What is decided where nothing is started: who is stopped, and when to look again.
    fn rest(&self, load: &Load, floor: usize, reason: Reason, look: Option<Instant>, now: Instant) -> Decision {
        let surplus = load.workers.len().saturating_sub(floor);
        let spare = if load.waiting > 0 { 0 } else { surplus };
        let idle = |seen: &&Seen| seen.idle_since.is_some_and(|since| now.saturating_duration_since(since) >= self.policy.idle);
        let stop: Vec<u64> = self.seen.iter().rev().filter(idle).take(spare).map(|seen| seen.id).collect();
        let round = (self.policy.idle / 8).clamp(ROUND.0, ROUND.1);
        let due = self.seen.iter().filter(|seen| !stop.contains(&seen.id));
        let due = due.map(|seen| seen.idle_since.map_or(now + round, |since| (since + self.policy.idle).max(now + ROUND.0)));
        let due = if surplus > stop.len() { due.min() } else { None };
        let look = look.into_iter().chain(due).min();
        let tell = self.pressed_since.is_none() && self.coming(load, now).is_none() && load.workers.len() + load.starting < self.policy.max;
        let reason = if stop.is_empty() { reason } else { Reason::Idle };
        Decision { start: 0, stop, look, tell, reason }
    }

    fn remember(&mut self, workers: &[Worker], now: Instant) {
        let seen = workers.iter().map(|worker| {
            let before = self.seen.iter().find(|seen| seen.id == worker.id && seen.answered == worker.answered);
            let idle_since = (worker.in_flight == 0).then(|| before.and_then(|seen| seen.idle_since).unwrap_or(now));
            Seen { id: worker.id, answered: worker.answered, idle_since }
        });
        self.seen = seen.collect();
    }
}

#[cfg(test)]
mod tests;
