//! How an endpoint is: its jobs and its workers, with all the fields that clients of the reference demand.

use bytes::Bytes;
use flash_queue::State;
use flash_store::jobs::Counts;
use flash_workers::{Snapshot, State as PoolState};
use serde_json::{Value, json};

use crate::engine::Engine;
use crate::engines::Engines;

/// An endpoint's jobs, as callers count them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobCounts {
    /// They wait, or are about to begin.
    pub in_queue: u64,
    /// Workers have begun them.
    pub in_progress: u64,
    /// They have a result.
    pub completed: u64,
    /// They have failed, or their time was over.
    pub failed: u64,
    /// How often those that are kept were tried again.
    pub retried: u64,
}

impl JobCounts {
    fn new(counts: &Counts, begun: u64) -> Self {
        let leased = counts.of(State::Leased);
        // The two are not of one moment.
        let in_progress = begun.min(leased);
        Self {
            in_queue: counts.of(State::Ready) + counts.of(State::Delayed) + leased - in_progress,
            in_progress,
            completed: counts.of(State::Completed),
            failed: counts.of(State::Failed) + counts.of(State::TimedOut),
            retried: counts.retried,
        }
    }
}

impl Engines {
    /// An endpoint's jobs, by its id.
    pub fn counts(&self, endpoint: &str) -> JobCounts {
        let counts = self.shared.jobs.counts(endpoint);
        JobCounts::new(&counts, self.shared.running.count_begun(endpoint))
    }
}

pub(crate) fn health(engines: &Engines, engine: &Engine) -> Bytes {
    let jobs = engines.counts(&engine.id);
    let health = json!({
        "jobs": {
            "completed": jobs.completed,
            "failed": jobs.failed,
            "inProgress": jobs.in_progress,
            "inQueue": jobs.in_queue,
            "retried": jobs.retried,
        },
        "workers": workers(engine),
    });
    health.to_string().into()
}

pub(crate) fn metrics(engines: &Engines, engine: &Engine) -> Bytes {
    let shared = &engines.shared;
    let names = engine.serving().map(|serving| serving.pool.workers()).unwrap_or_default();
    let names: Vec<String> = names.into_iter().map(|(worker, pid)| crate::running::name(worker, pid)).collect();
    let queue = shared.jobs.metrics();
    let metrics = json!({
        "workers": workers(engine),
        "readyWorkers": names,
        "answersRefused": queue.refused,
        // Of the server, not of the endpoint alone.
        "queue": {
            "commits": queue.commits,
            "written": queue.commands,
            "batches": queue.batches,
            "failures": queue.failures,
            "failing": queue.failing.map(|error| format!("{error}: {}", error.why())),
            "busyMs": queue.busy.as_millis(),
        },
    });
    metrics.to_string().into()
}

fn workers(engine: &Engine) -> Value {
    let snapshot = engine.serving().map(|serving| serving.pool.snapshot());
    let (ready, starting, in_flight, failing) = snapshot.as_ref().map_or((0, 0, 0, false), |seen: &Snapshot| {
        (seen.ready, seen.starting, seen.in_flight, matches!(seen.state, PoolState::CrashLoop { .. } | PoolState::Failed(_)))
    });
    let slots = engine.serving().map_or(1, |serving| serving.pool.slots().max(1));
    let running = in_flight.div_ceil(slots).min(ready);
    json!({
        "idle": ready - running,
        "initializing": starting,
        "ready": ready,
        "running": running,
        "throttled": 0,
        "unhealthy": usize::from(failing),
    })
}
