//! The queue's time.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use flash_queue::Timestamp;

/// Tells the time. It never goes back while it is used, and what the machine's clock is set to meanwhile does not matter to it: a day more on
/// the clock must not let a day's jobs expire.
#[derive(Clone)]
pub struct Clock {
    tell: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// How long one may wait by the machine's time for a time of this clock.
    step: Duration,
}

impl Clock {
    /// The machine's time of day now, and from then on what has passed.
    pub fn steady() -> Self {
        let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let begun = Instant::now();
        Self { step: Duration::from_secs(3600), ..Self::of(move || Timestamp(0) + start + begun.elapsed()) }
    }

    /// Whatever this says.
    pub fn of(tell: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { tell: Arc::new(tell), step: Duration::from_millis(50) }
    }

    /// This clock, set forward where it is behind that time: the one that the queue was last opened by has shown it.
    pub(super) fn not_before(self, last: Timestamp) -> Self {
        let behind = last.since(self.now());
        if behind.is_zero() {
            return self;
        }
        let tell = self.tell;
        Self { tell: Arc::new(move || tell() + behind), ..self }
    }

    pub(super) fn step(&self) -> Duration {
        self.step
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        (self.tell)()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Clock({})", self.now().0)
    }
}
