//! Limits on jobs, and how long things take.

use std::time::Duration;

use flash_queue::Limits;

/// Limits on jobs, and how long things take.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The longest body of `run` and `runsync`, in bytes.
    pub input_bytes: usize,
    /// The longest output of a job, in bytes; of a generator's, all parts together.
    pub output_bytes: usize,
    /// Parts of generators that nobody has fetched yet, of all jobs together, in bytes. Beyond it those are forgotten first whose job has ended
    /// first; `output` has them.
    pub stream_bytes: usize,
    /// On what a client may ask for in a `policy`.
    pub policy: Limits,
    /// A worker that is not seen to run for so long has lost its jobs.
    pub lease: Duration,
    /// How long `runsync` waits unless its caller says.
    pub wait: Duration,
    /// The longest wait of `runsync` and `status-sync`.
    pub longest_wait: Duration,
    /// Callers that may wait for jobs at one time.
    pub waiting: usize,
    /// Whether webhooks may go to addresses of this machine and of private networks.
    pub private_webhooks: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            input_bytes: 32 << 20,
            output_bytes: 32 << 20,
            stream_bytes: 64 << 20,
            policy: Limits::default(),
            lease: Duration::from_secs(30),
            wait: Duration::from_secs(90),
            longest_wait: Duration::from_secs(300),
            waiting: 20_000,
            private_webhooks: false,
        }
    }
}
