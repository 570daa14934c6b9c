//! Who waits for a job: told of its end through memory, once that is on the disk.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;

/// The job as it has ended; nothing, where that is to be read.
type Told = Option<Bytes>;

/// All who wait, by job.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    by_job: HashMap<String, Vec<(u64, oneshot::Sender<Told>)>>,
    count: usize,
    next: u64,
}

/// Somebody who waits, until this is dropped.
pub(crate) struct Waiter {
    waiters: Arc<Waiters>,
    job: String,
    number: u64,
    pub(crate) told: oneshot::Receiver<Told>,
}

impl Waiters {
    /// Waits for a job from now on; `None` where `most` wait already.
    pub(crate) fn wait(self: &Arc<Self>, job: &str, most: usize) -> Option<Waiter> {
        let mut waiting = self.lock();
        if waiting.count >= most {
            return None;
        }
        let (sender, told) = oneshot::channel();
        let number = waiting.next;
        waiting.next += 1;
        waiting.count += 1;
        waiting.by_job.entry(job.to_owned()).or_default().push((number, sender));
        Some(Waiter { waiters: self.clone(), job: job.to_owned(), number, told })
    }

    /// Whether somebody waits for this job.
    pub(crate) fn has(&self, job: &str) -> bool {
        self.lock().by_job.contains_key(job)
    }

    /// All jobs that somebody waits for.
    pub(crate) fn jobs(&self) -> Vec<String> {
        self.lock().by_job.keys().cloned().collect()
    }

    /// A job has ended as this object says. Without one, who waits is to read it: a large one would be kept for the slowest of them.
    pub(crate) fn tell(&self, job: &str, object: Option<&Bytes>) {
        let told = {
            let mut waiting = self.lock();
            let told = waiting.by_job.remove(job).unwrap_or_default();
            waiting.count -= told.len();
            told
        };
        for (_, sender) in told {
            let _ = sender.send(object.cloned()); // who waited may just have left
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner) // it is changed by whole steps
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiting = self.waiters.lock();
        let waiting = &mut *waiting;
        let Some(those) = waiting.by_job.get_mut(&self.job) else { return };
        let before = those.len();
        those.retain(|(number, _)| *number != self.number);
        waiting.count -= before - those.len();
        if those.is_empty() {
            waiting.by_job.remove(&self.job);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_wait_are_told_once_and_those_who_left_are_forgotten() {
        let waiters = Arc::new(Waiters::default());
        let (mut first, second) = (waiters.wait("a", 9).unwrap(), waiters.wait("a", 9).unwrap());
        let mut other = waiters.wait("b", 9).unwrap();
        drop(second);
        waiters.tell("a", Some(&Bytes::from_static(b"{}")));
        assert_eq!(first.told.try_recv().unwrap().unwrap(), "{}");
        assert!(other.told.try_recv().is_err(), "that is another job");
        assert!(!waiters.has("a") && waiters.has("b"));
        drop((first, other));
        assert!(!waiters.has("b"));
        assert_eq!(waiters.lock().count, 0);
    }

    #[test]
    fn no_more_wait_than_may() {
        let waiters = Arc::new(Waiters::default());
        let first = waiters.wait("a", 1).unwrap();
        assert!(waiters.wait("a", 1).is_none());
        drop(first);
        assert!(waiters.wait("a", 1).is_some());
    }
}
