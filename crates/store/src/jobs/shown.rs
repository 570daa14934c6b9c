//! What others see of the writer: counts, when something is due, and how it does.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flash_queue::Timestamp;
use tokio::sync::watch;

use super::error::Error;
use super::memory::Memory;
use super::record::Counts;

/// How the queue has done since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Transactions that came to the disk.
    pub commits: u64,
    /// What was written with them.
    pub commands: u64,
    /// How many transactions had 1, 2 to 3, 4 to 7, ... commands.
    pub batches: [u64; 10],
    /// How many transactions took less than 250 µs, 500 µs, 1 ms, 2 ms, ... with their sync; the last has all others.
    pub times: [u64; 12],
    /// The time of all of them.
    pub busy: Duration,
    /// Answers that were refused because their lease was not in force any more.
    pub refused: u64,
    /// Transactions that the disk did not take.
    pub failures: u64,
    /// What went wrong last, until something works again.
    pub failing: Option<Error>,
}

pub(super) struct Shown {
    state: Mutex<State>,
    due: watch::Sender<Option<Timestamp>>,
}

struct State {
    counts: HashMap<String, Counts>,
    metrics: Metrics,
}

impl Shown {
    pub(super) fn new(memory: &Memory) -> Self {
        let state = State { counts: memory.all_counts(), metrics: Metrics::default() };
        Self { state: Mutex::new(state), due: watch::Sender::new(memory.due) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn committed(&self, changed: &[(String, Counts)], commands: usize, took: Duration, memory: &Memory) {
        let mut state = self.lock();
        for (name, counts) in changed {
            match state.counts.get_mut(name) {
                Some(known) => *known = *counts,
                None => drop(state.counts.insert(name.clone(), *counts)),
            }
        }
        let metrics = &mut state.metrics;
        metrics.commits += 1;
        metrics.commands += commands as u64;
        metrics.busy += took;
        metrics.refused = memory.refused;
        metrics.failing = None;
        let batch = commands.max(1).ilog2() as usize;
        metrics.batches[batch.min(metrics.batches.len() - 1)] += 1;
        let time = (took.as_micros() / 250).checked_ilog2().map_or(0, |log| log as usize + 1);
        metrics.times[time.min(metrics.times.len() - 1)] += 1;
        drop(state);
        self.due.send_if_modified(|due| std::mem::replace(due, memory.due) != memory.due);
    }

    pub(super) fn disk_failed(&self, error: &Error) {
        let mut state = self.lock();
        if state.metrics.failing.is_none() {
            tracing::error!("{error}: {}", error.why());
        }
        state.metrics.failures += 1;
        state.metrics.failing = Some(error.clone());
    }

    pub(super) fn counts(&self, endpoint: &str) -> Counts {
        self.lock().counts.get(endpoint).copied().unwrap_or_default()
    }

    pub(super) fn endpoints(&self) -> Vec<String> {
        self.lock().counts.iter().filter(|(_, counts)| counts.all() > 0).map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn metrics(&self) -> Metrics {
        self.lock().metrics.clone()
    }

    pub(super) fn due(&self) -> watch::Receiver<Option<Timestamp>> {
        self.due.subscribe()
    }
}
