//! How an endpoint's workers are kept, by what holds for it in the end.

use std::time::Duration;

use flash_manifest::Settings;
use flash_workers::Limits;

/// Requests that may wait for a slot, an endpoint: about what a full worker gets through within the time that a request has.
const WAITING: usize = 4096;
/// How long after its deadline a function may go on before its worker is replaced.
const GRACE: Duration = Duration::from_secs(5);
/// Modules may take their time to be imported: models are loaded, caches filled.
const START_TIMEOUT: Duration = Duration::from_secs(600);

pub(crate) fn pool(settings: &Settings) -> flash_workers::Settings {
    flash_workers::Settings {
        limits: Limits { slots: settings.max_concurrency.into(), waiting: WAITING, grace: GRACE },
        workers: settings.workers.least().max(1) as usize,
        timeout: settings.timeout,
        start_timeout: START_TIMEOUT,
        replace_stuck: true,
        unheard: 0,
    }
}
