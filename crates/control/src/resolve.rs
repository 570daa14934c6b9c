//! How an endpoint's workers are kept, by what holds for it in the end.

use std::time::Duration;

use flash_manifest::{Kind, Settings};
use flash_queue::Policy;
use flash_workers::{Limits, Workers};

// What may be set is what a worker can have.
const _: () = assert!(flash_manifest::MOST_CONCURRENCY as usize == flash_workers::MAX_SLOTS);

/// Requests that may wait for a slot, an endpoint: about what a full worker gets through within the time that a request has.
pub(crate) const WAITING: usize = 4096;
/// Jobs that a worker is sent before it has a slot for them, where they are short: more would spare little, and nothing more urgent passes them.
const AHEAD: usize = 64;
/// How long after its deadline a function may go on before its worker is replaced.
const GRACE: Duration = Duration::from_secs(5);
/// Modules may take their time to be imported: models are loaded, caches filled.
const START_TIMEOUT: Duration = Duration::from_secs(600);

pub(crate) fn pool(settings: &Settings, kind: Kind) -> flash_workers::Settings {
    let ahead = match kind {
        Kind::LoadBalanced => 0,
        Kind::QueueBased => AHEAD,
    };
    let (least, most) = (settings.workers.least() as usize, settings.workers.most() as usize);
    flash_workers::Settings {
        limits: Limits { slots: settings.max_concurrency.into(), ahead, waiting: WAITING, grace: GRACE },
        workers: Workers::scaled(least, most, settings.idle_timeout, settings.scaler_value as usize),
        timeout: settings.timeout,
        start_timeout: START_TIMEOUT,
        replace_stuck: true,
        unheard: 0,
    }
}

/// How an endpoint's jobs are run, where nothing else is asked for.
pub(crate) fn policy(settings: &Settings) -> Policy {
    Policy { execution_timeout: settings.timeout, ..Policy::default() }
}
