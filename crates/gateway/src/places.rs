//! The places of open connections: what each waits for, since when, and which of them must go.
//!
//! ```text
//!            first byte          head whole            answer written
//!  New ──────────────▶ Head ──────────────▶ (requests) ─────────────▶ Idle ──▶ Head ...
//!   │ head limit        │ head limit: 408     │ the request's own limits  │ idle limit
//!   ▼                   ▼                     │ writes stop: write limit  ▼
//!  closed              closed                 ▼                          closed
//! ```
//!
//! A connection notes what it does in its place: a store or two, no clock, no timer. One sweep, some ten times within the shortest
//! limit, looks at all places and tells those that are overdue. Time is counted in sweeps.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

/// Sweeps are no further apart than this, and no closer than that.
const SWEEP: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(250));

/// What a connection waits for, as far as its caller's bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// The first byte.
    New,
    /// The next request, if there is none to be answered.
    Idle,
    /// The rest of a head.
    Head,
    /// The rest of a body.
    Body,
}

/// What a connection is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// The server stops: end when there is nothing to answer.
    Finish,
    /// The limit on the wait for a request has passed.
    Expire,
    /// Others wait for the place.
    MakeWay,
    /// Its caller takes nothing of what is written: end at once.
    Drop,
}

/// Limits on waits, in sweeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    head: u32,
    idle: u32,
    write: u32,
    /// From one sweep to the next.
    pub(crate) sweep: Duration,
}

impl Limits {
    pub(crate) fn new(head: Duration, idle: Duration, write: Duration) -> Self {
        let sweep = (head.min(idle).min(write) / 10).clamp(SWEEP.0, SWEEP.1);
        // One more, for the part of the first that had passed already.
        let sweeps =
            |limit: Duration| u32::try_from(limit.as_nanos().div_ceil(sweep.as_nanos())).map_or(u32::MAX, |count| count.saturating_add(1));
        Self { head: sweeps(head), idle: sweeps(idle), write: sweeps(write), sweep }
    }
}

/// One connection's, shared with whoever looks after all.
pub(crate) struct Place {
    sweeps: Arc<AtomicU32>,
    phase: AtomicU8,
    /// The sweep in which it began to wait.
    since: AtomicU32,
    /// Requests whose answers are not written, in the lowest 16 bits; then those that have no answer yet ([`UNANSWERED`]), and those
    /// whose answers come in pieces ([`STREAMED`]).
    requests: AtomicU64,
    /// Requests that were taken at all, as they are counted around.
    taken: AtomicU32,
    /// An answer was given that may not be written yet.
    owed: AtomicBool,
    /// The sweep in which its caller ceased to take what is written, and one; 0 where it takes it.
    blocked: AtomicU32,
    told: Mutex<Told>,
}

/// What a connection is to hear next.
struct Told {
    order: Option<Order>,
    /// Its task, which looks whenever it is polled.
    task: Waker,
}

const UNANSWERED: u64 = 1 << 16;
const STREAMED: u64 = 1 << 32;

impl Place {
    pub(crate) fn new(sweeps: &Arc<AtomicU32>) -> Self {
        let now = sweeps.load(Relaxed);
        Self {
            sweeps: sweeps.clone(),
            phase: AtomicU8::new(Phase::New as u8),
            since: AtomicU32::new(now),
            requests: AtomicU64::new(0),
            taken: AtomicU32::new(0),
            owed: AtomicBool::new(false),
            blocked: AtomicU32::new(0),
            told: Mutex::new(Told { order: None, task: Waker::noop().clone() }),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        const PHASES: [Phase; 4] = [Phase::New, Phase::Idle, Phase::Head, Phase::Body];
        PHASES[usize::from(self.phase.load(Relaxed))]
    }

    /// Notes what the caller's bytes have come to.
    pub(crate) fn enter(&self, phase: Phase) {
        if self.phase() != phase {
            self.phase.store(phase as u8, Relaxed);
            self.since.store(self.sweeps.load(Relaxed), Relaxed);
        }
    }

    /// Notes whether the caller takes what is written.
    pub(crate) fn block(&self, blocked: bool) {
        if blocked != (self.blocked.load(Relaxed) != 0) {
            let now = self.sweeps.load(Relaxed);
            self.blocked.store(if blocked { now.wrapping_add(1).max(1) } else { 0 }, Relaxed);
            self.since.store(now, Relaxed);
        }
    }

    /// Nothing of it is being answered, or written.
    pub(crate) fn is_waiting(&self) -> bool {
        self.requests.load(Relaxed) == 0 && self.blocked.load(Relaxed) == 0
    }

    /// No answer of ours is being written.
    pub(crate) fn owes_nothing(&self) -> bool {
        self.requests.load(Relaxed) == 0 && !self.owed.load(Relaxed)
    }

    /// Notes that all is written.
    pub(crate) fn settle(&self) {
        if self.owed.load(Relaxed) {
            self.owed.store(false, Relaxed);
        }
    }

    /// The only request has no answer yet.
    pub(crate) fn awaits_answer(&self) -> bool {
        self.requests.load(Relaxed) == UNANSWERED + 1
    }

    /// How many requests it has had, as they are counted around.
    pub(crate) fn taken(&self) -> u32 {
        self.taken.load(Relaxed)
    }

    /// An answer is being written whose pieces come as they come.
    pub(crate) fn streams(&self) -> bool {
        self.requests.load(Relaxed) >= STREAMED
    }

    pub(crate) fn tell(&self, order: Order) {
        let mut told = self.told();
        told.order = Some(order);
        told.task.wake_by_ref();
    }

    /// Waits for the next order. A connection's task alone may.
    pub(crate) async fn order(&self) -> Order {
        poll_fn(|context| {
            let mut told = self.told();
            told.task.clone_from(context.waker()); // the same one but for the first time
            told.order.take().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What must become of it, if it must end.
    pub(crate) fn overdue(&self, limits: &Limits) -> Option<Order> {
        let now = self.sweeps.load(Relaxed);
        let passed = |since: u32, limit: u32| now.wrapping_sub(since) >= limit;
        let blocked = self.blocked.load(Relaxed);
        if blocked != 0 && passed(blocked.wrapping_sub(1), limits.write) {
            return Some(Order::Drop);
        }
        let limit = match self.phase() {
            Phase::Idle => limits.idle,
            Phase::New | Phase::Head | Phase::Body => limits.head,
        };
        (self.is_waiting() && passed(self.since.load(Relaxed), limit)).then_some(Order::Expire)
    }

    /// The sweep since which it has waited for a request; `None` where it has one.
    pub(crate) fn waits_since(&self) -> Option<u32> {
        self.is_waiting().then(|| self.since.load(Relaxed))
    }
}

/// A request of a connection, from its head to the last byte of its answer.
pub(crate) struct Taken {
    place: Arc<Place>,
    /// Its share of [`Place::requests`].
    share: u64,
}

/// An answer that has begun.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// All of it is there.
    Whole,
    /// It comes in pieces.
    Streamed,
}

impl Taken {
    pub(crate) fn new(place: &Arc<Place>) -> Self {
        place.requests.fetch_add(UNANSWERED + 1, Relaxed);
        place.taken.store(place.taken().wrapping_add(1), Relaxed); // the connection's task alone takes requests
        Self { place: place.clone(), share: UNANSWERED + 1 }
    }

    /// Its answer is being written.
    pub(crate) fn answered(&mut self, answer: Answer) {
        let share = match answer {
            Answer::Whole => 1,
            Answer::Streamed => STREAMED + 1,
        };
        self.place.requests.fetch_add(share.wrapping_sub(self.share), Relaxed); // it wraps around
        self.share = share;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let Self { place, share } = self;
        place.owed.store(true, Relaxed);
        if place.requests.fetch_sub(*share, Relaxed) == *share {
            place.since.store(place.sweeps.load(Relaxed), Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten sweeps for a head, twenty between requests, thirty for what is written; one more each, for the sweep that had begun.
    const LIMITS: Limits = Limits { head: 11, idle: 21, write: 31, sweep: SWEEP.0 };

    struct Trial {
        sweeps: Arc<AtomicU32>,
        place: Arc<Place>,
    }

    impl Trial {
        /// Time is counted in a ring: it begins just before its end.
        fn new() -> Self {
            let sweeps = Arc::new(AtomicU32::new(u32::MAX - 5));
            Self { place: Arc::new(Place::new(&sweeps)), sweeps }
        }

        fn overdue_after(&self, sweeps: u32) -> Option<Order> {
            self.sweeps.fetch_add(sweeps, Relaxed);
            self.place.overdue(&LIMITS)
        }
    }

    #[test]
    fn limits_are_never_passed_early() {
        let limits = Limits::new(Duration::from_millis(100), Duration::from_secs(75), Duration::from_millis(101));
        assert_eq!((limits.sweep, limits.head, limits.idle, limits.write), (Duration::from_millis(10), 11, 7501, 12));
        let limits = Limits::new(Duration::MAX, Duration::from_secs(75), Duration::from_secs(30));
        assert_eq!((limits.sweep, limits.head), (SWEEP.1, u32::MAX));
        assert_eq!(Limits::new(Duration::ZERO, Duration::ZERO, Duration::ZERO).sweep, SWEEP.0);
    }

    #[test]
    fn a_wait_has_the_limit_of_its_phase() {
        for (phase, limit) in
            [(Phase::New, LIMITS.head), (Phase::Idle, LIMITS.idle), (Phase::Head, LIMITS.head), (Phase::Body, LIMITS.head)]
        {
            let trial = Trial::new();
            trial.place.enter(phase);
            assert_eq!(trial.overdue_after(limit - 1), None, "{phase:?}");
            assert_eq!(trial.overdue_after(1), Some(Order::Expire), "{phase:?}");
        }
    }

    #[test]
    fn more_of_a_head_does_not_begin_its_time_anew() {
        let trial = Trial::new();
        trial.place.enter(Phase::Head);
        assert_eq!(trial.overdue_after(10), None);
        trial.place.enter(Phase::Head);
        assert_eq!(trial.overdue_after(1), Some(Order::Expire));
    }

    #[test]
    fn while_a_request_is_there_nothing_is_waited_for_and_then_time_begins() {
        let trial = Trial::new();
        let (mut first, second) = (Taken::new(&trial.place), Taken::new(&trial.place));
        trial.place.enter(Phase::Head); // of the next request
        assert_eq!(trial.overdue_after(100), None);
        first.answered(Answer::Whole);
        drop(second);
        assert_eq!(trial.overdue_after(100), None);
        assert!(!trial.place.is_waiting());
        drop(first);
        assert!(trial.place.is_waiting() && !trial.place.owes_nothing());
        trial.place.settle();
        assert!(trial.place.owes_nothing());
        assert_eq!(trial.overdue_after(10), None);
        assert_eq!(trial.overdue_after(1), Some(Order::Expire));
    }

    #[test]
    fn a_request_awaits_its_answer_until_it_is_there_or_given_up() {
        let trial = Trial::new();
        let mut taken = Taken::new(&trial.place);
        assert!(trial.place.awaits_answer());
        let another = Taken::new(&trial.place);
        assert!(!trial.place.awaits_answer(), "two do");
        drop(another);
        assert!(trial.place.awaits_answer());
        taken.answered(Answer::Whole);
        assert!(!trial.place.awaits_answer() && !trial.place.streams());
        let mut another = Taken::new(&trial.place);
        another.answered(Answer::Streamed);
        assert!(!trial.place.awaits_answer() && trial.place.streams());
        drop(another);
        assert!(!trial.place.streams() && !trial.place.is_waiting());
        drop(taken);
        assert!(!trial.place.awaits_answer() && trial.place.is_waiting());
    }

    #[test]
    fn who_takes_nothing_is_dropped_and_who_takes_some_is_not() {
        let trial = Trial::new();
        let taken = Taken::new(&trial.place);
        trial.place.block(true);
        assert_eq!(trial.overdue_after(30), None);
        trial.place.block(true);
        assert_eq!(trial.overdue_after(1), Some(Order::Drop));
        trial.place.block(false);
        trial.place.block(true);
        drop(taken);
        assert_eq!(trial.overdue_after(30), None);
        assert!(!trial.place.is_waiting(), "its answer is not written yet");
        trial.place.block(false);
        assert_eq!(trial.overdue_after(10), None, "it waits since then");
    }
}
