//! What can be seen of a pool at one moment.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::dispatch::Deadline;
use crate::error::Error;
use crate::pool::Status;

/// How an endpoint does.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Workers that are kept even when nothing is asked of them.
    pub min: usize,
    /// The most there may be.
    pub max: usize,
    /// Those that are ready for requests.
    pub ready: usize,
    /// Those that are being started.
    pub starting: usize,
    /// Those that take no more requests, and are about to end.
    pub stopping: usize,
    /// Requests in flight on all of them.
    pub in_flight: usize,
    /// Those of them that are in flight on workers which take no more.
    pub on_stopping: usize,
    /// Requests that wait for a slot.
    pub waiting: usize,
    /// Workers that have ended unasked since the pool was started, ready ones.
    pub restarts: u64,
    /// Whether it works.
    pub state: State,
}

/// Whether an endpoint works.
#[derive(Clone, Debug)]
pub enum State {
    /// Its first worker is being started.
    Starting,
    /// It answers, with workers or with none: those start with the next request.
    Ready,
    /// Workers end as they start, or right after that. They are tried again, each time later.
    CrashLoop {
        /// How often in a row.
        failures: u32,
        /// When the next one is started; zero while one is.
        next_try_in: Duration,
        /// How the last one failed.
        last_error: Arc<Error>,
    },
    /// Its modules cannot be served, and never could be. It is tried again all the same.
    Failed(Arc<Error>),
}

/// Why the last worker that was started did not come, and what follows from it.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    pub(crate) error: Arc<Error>,
    /// How often in a row.
    pub(crate) failures: u32,
    pub(crate) at: Instant,
    pub(crate) next_try: Instant,
    /// It fails again and again, or for a reason that stays: who waits for it need not.
    pub(crate) lasts: bool,
    /// Whether this was told to who watches the status.
    pub(crate) told: bool,
}

impl Trouble {
    /// When a request with this deadline should come again, where waiting is of no use.
    pub(crate) fn refuses(&self, deadline: Deadline, now: Instant) -> Option<Duration> {
        let wait = self.next_try.checked_duration_since(now).filter(|wait| !wait.is_zero())?;
        (self.lasts || deadline.is_before(self.next_try)).then_some(wait)
    }

    /// How an endpoint does that has it.
    pub(crate) fn state(&self, worked_before: bool, status: &Status, now: Instant) -> State {
        if !self.lasts {
            return State::of(status);
        }
        if worked_before || self.error.may_pass() {
            let (failures, next_try_in) = (self.failures, self.next_try.saturating_duration_since(now));
            return State::CrashLoop { failures, next_try_in, last_error: self.error.clone() };
        }
        State::Failed(self.error.clone())
    }
}

impl State {
    /// How one does that has no trouble.
    pub(crate) fn of(status: &Status) -> Self {
        match status {
            Status::Ready => Self::Ready,
            Status::Starting | Status::Failed(_) => Self::Starting,
        }
    }
}
