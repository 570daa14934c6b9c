//! What an endpoint is served with: what its code declares, and what is set beside it.

use std::time::Duration;

use flash_manifest::{Endpoint, Overrides, Workers};
use flash_workers::{Limits, MAX_SLOTS, Settings};

/// Requests that may wait for a slot, an endpoint: about what a full worker gets through within the time that a request has.
const WAITING: usize = 4096;
/// How long after its deadline a function may go on before its worker is replaced.
const GRACE: Duration = Duration::from_secs(5);
/// Modules may take their time to be imported: models are loaded, caches filled.
const START_TIMEOUT: Duration = Duration::from_secs(600);

/// How long a request may take.
pub(crate) fn timeout(endpoint: &Endpoint, overrides: &Overrides, otherwise: Duration) -> Duration {
    let set = overrides.timeout_ms.map(|timeout| Duration::from_millis(timeout.into()));
    set.or(endpoint.timeout).unwrap_or(otherwise)
}

/// How many workers, at least and at most.
pub(crate) fn workers(endpoint: &Endpoint, overrides: &Overrides) -> (u32, u32) {
    let declared = endpoint.workers.unwrap_or_default();
    let [least, most] = overrides.workers.unwrap_or([declared.least(), declared.most()]);
    (least, most.max(1))
}

/// How its workers are kept.
pub(crate) fn settings(endpoint: &Endpoint, overrides: &Overrides, otherwise: Duration) -> Settings {
    let slots = overrides.max_concurrency.map_or(MAX_SLOTS, |slots| usize::from(slots).clamp(1, MAX_SLOTS));
    Settings {
        limits: Limits { slots, waiting: WAITING, grace: GRACE },
        workers: workers(endpoint, overrides).0.clamp(1, Workers::MOST) as usize,
        timeout: timeout(endpoint, overrides, otherwise),
        start_timeout: START_TIMEOUT,
        replace_stuck: true,
        unheard: 0,
    }
}
