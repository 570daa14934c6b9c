//! How one endpoint's workers are kept.

use std::time::Duration;

use crate::dispatch::Limits;

/// How one endpoint's workers are kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Slots, and how many may wait.
    pub limits: Limits,
    /// How many workers there are, and when they come and go.
    pub workers: Workers,
    /// A request is given up this long after it came.
    pub timeout: Duration,
    /// A worker that is not ready after this is given up.
    pub start_timeout: Duration,
    /// Whether a worker that goes on with a given-up request is replaced. A live endpoint's is not: its state would be lost.
    pub replace_stuck: bool,
    /// How much of what is printed while no live call is in flight is kept for the next one, in bytes; 0 prints it at once.
    pub unheard: usize,
}

/// How many workers there are, and when they come and go.
#[derive(Clone, Debug)]
pub struct Workers {
    /// Kept even when nothing is asked of them. One more than none is started at first, to see that it can be.
    pub min: usize,
    /// Never more than these, but for those that are stopping.
    pub max: usize,
    /// A worker that had nothing to do for so long is stopped, where there are more than are kept.
    pub idle: Duration,
    /// More requests in flight than this, a worker, ask for another one.
    pub scaler_value: usize,
    /// So long after the last worker has gone, the zygote with the endpoint's modules goes too. The next start imports them again.
    pub zygote_idle: Duration,
    /// A worker that is ready and says nothing when asked is given up after this.
    pub probe_timeout: Duration,
    /// Whether the next worker waits, each time longer, where one has ended right after it was ready and had answered nothing. Where a user looks
    /// on, the next call gets the next worker at once. One that ends before it is ready always has the next wait.
    pub backs_off: bool,
}

impl Workers {
    /// How long a zygote stays without workers, unless more is said.
    pub const ZYGOTE_IDLE: Duration = Duration::from_secs(10 * 60);
    /// How long the answer to a probe may take, unless more is said. A loaded machine has answered long before.
    pub const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

    /// As many as are asked for, for as long as the pool is there.
    pub fn fixed(count: usize) -> Self {
        Self { backs_off: false, ..Self::scaled(count, count, Duration::MAX, usize::MAX) }
    }

    /// As many as there is work for, within these bounds.
    pub fn scaled(min: usize, max: usize, idle: Duration, scaler_value: usize) -> Self {
        let (zygote_idle, probe_timeout) = (Self::ZYGOTE_IDLE, Self::PROBE_TIMEOUT);
        Self { min, max, idle, scaler_value, zygote_idle, probe_timeout, backs_off: true }
    }
}
