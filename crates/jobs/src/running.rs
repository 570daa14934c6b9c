//! Jobs that are leased: what is known of them beside what the disk knows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flash_queue::Timestamp;
use flash_store::jobs::{Lease, Ran};
use flash_workers::Pool;
use tokio::sync::oneshot;

/// A worker that has lost its lease may come back for so long, if a lease is no longer: then it is killed, and another takes its place.
const STOPPED: Duration = Duration::from_secs(30);

/// All attempts that have not ended.
#[derive(Default)]
pub(crate) struct Running {
    table: Mutex<Table>,
}

/// A worker that is stopped keeps an attempt whose job another one may have by then.
#[derive(Default)]
struct Table {
    attempts: HashMap<Lease, Entry>,
    /// The last lease of each job.
    last: HashMap<String, Lease>,
}

struct Entry {
    id: String,
    endpoint: Arc<str>,
    pool: Pool,
    /// Has the attempt stop: its end is on the disk already.
    stop: Option<oneshot::Sender<()>>,
    begun: Option<Began>,
    progress: Option<Bytes>,
    /// Since when its worker is not seen to run.
    unseen: Option<Instant>,
    /// Its lease was given up for that.
    lapsed: bool,
}

/// Where and when a worker has begun a job.
#[derive(Clone, Debug)]
pub(crate) struct Began {
    /// The worker in its pool.
    pub(crate) worker: u64,
    /// The worker, as callers are told.
    pub(crate) name: String,
    /// When.
    pub(crate) at: Timestamp,
}

/// A job that a worker has begun, as callers are told of it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) began: Began,
    pub(crate) progress: Option<Bytes>,
}

/// A job whose worker was not seen to run for as long as a lease lasts.
pub(crate) struct Lapsed {
    pub(crate) id: String,
    pub(crate) lease: Lease,
    pub(crate) began: Began,
}

/// What a look at all workers has shown.
#[derive(Default)]
pub(crate) struct Looked {
    pub(crate) lapsed: Vec<Lapsed>,
    /// Workers that have held a lapsed lease for as long again.
    pub(crate) to_kill: Vec<(Pool, u64)>,
}

/// A worker, as callers are told: its number in its pool, and its process.
pub(crate) fn name(worker: u64, pid: u32) -> String {
    format!("w{worker}-{pid}")
}

impl Running {
    /// A job was leased. What is given back says when it is to be stopped.
    pub(crate) fn add(&self, id: &str, endpoint: Arc<str>, lease: Lease, pool: Pool) -> oneshot::Receiver<()> {
        let (stop, stopped) = oneshot::channel();
        let id = id.to_owned();
        let mut table = self.lock();
        table.last.insert(id.clone(), lease);
        table
            .attempts
            .insert(lease, Entry { id, endpoint, pool, stop: Some(stop), begun: None, progress: None, unseen: None, lapsed: false });
        stopped
    }

    /// An attempt is over. True where its lease was given up before.
    pub(crate) fn remove(&self, lease: Lease) -> bool {
        let mut table = self.lock();
        let Some(entry) = table.attempts.remove(&lease) else { return false };
        if table.last.get(&entry.id) == Some(&lease) {
            table.last.remove(&entry.id);
        }
        entry.lapsed
    }

    /// A worker has begun it.
    pub(crate) fn begun(&self, lease: Lease, began: Began) {
        self.change(lease, |entry| entry.begun = Some(began));
    }

    /// It says how far it is.
    pub(crate) fn progress(&self, lease: Lease, progress: Bytes) {
        self.change(lease, |entry| entry.progress = Some(progress));
    }

    /// What callers are told of a job that has begun.
    pub(crate) fn seen(&self, id: &str) -> Option<Seen> {
        let table = self.lock();
        let entry = table.attempts.get(table.last.get(id)?).filter(|entry| !entry.lapsed)?;
        Some(Seen { began: entry.begun.clone()?, progress: entry.progress.clone() })
    }

    /// By whom a job is run, and since when, as far as a worker has begun it.
    pub(crate) fn ran(&self, id: &str) -> Ran {
        self.seen(id).map_or_else(Ran::default, |seen| Ran { worker: Some(seen.began.name), begun: Some(seen.began.at) })
    }

    /// Has an attempt stop whose job has ended.
    pub(crate) fn stop(&self, lease: Lease) {
        self.change(lease, |entry| {
            if let Some(stop) = entry.stop.take() {
                let _ = stop.send(()); // it may have come to its end by itself
            }
        });
    }

    /// How many of an endpoint's jobs workers have begun.
    pub(crate) fn count_begun(&self, endpoint: &str) -> u64 {
        let table = self.lock();
        table.attempts.values().filter(|entry| &*entry.endpoint == endpoint && entry.begun.is_some() && !entry.lapsed).count() as u64
    }

    /// Looks whether the workers of all begun jobs run.
    pub(crate) fn look(&self, lease: Duration, now: Instant) -> Looked {
        let mut looked = Looked::default();
        for (lease_held, entry) in &mut self.lock().attempts {
            let Some(began) = &entry.begun else { continue };
            if entry.pool.runs(began.worker) {
                // A lease that was given up stays so.
                entry.unseen = None;
                continue;
            }
            let since = *entry.unseen.get_or_insert(now);
            if now < since + lease {
                continue;
            }
            if !entry.lapsed {
                entry.lapsed = true;
                looked.lapsed.push(Lapsed { id: entry.id.clone(), lease: *lease_held, began: began.clone() });
            } else if now >= since + lease + STOPPED.max(lease) {
                looked.to_kill.push((entry.pool.clone(), began.worker));
            }
        }
        looked
    }

    /// Has attempts stop whose leases have lapsed: whatever they say is refused.
    pub(crate) fn stop_lapsed(&self) {
        for entry in self.lock().attempts.values_mut().filter(|entry| entry.lapsed) {
            if let Some(stop) = entry.stop.take() {
                let _ = stop.send(()); // it may have come to its end by itself
            }
        }
    }

    fn change(&self, lease: Lease, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.lock().attempts.get_mut(&lease) {
            change(entry);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner) // it is changed by whole steps
    }
}
