//! Parts of generators' outputs, until somebody has fetched them: each is given out once.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// One answer has at most about so many bytes of parts.
const ANSWER: usize = 8 << 20;
/// What a part takes beside its bytes.
const PART: usize = 64;

/// All parts that nobody has fetched.
#[derive(Debug)]
pub(crate) struct Streams {
    /// Bytes of all of them, at most.
    most: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    by_job: HashMap<String, Parts>,
    bytes: usize,
    /// Jobs that have ended, the first of them first. Some may have been fetched meanwhile.
    ended: VecDeque<String>,
}

#[derive(Debug, Default)]
struct Parts {
    parts: VecDeque<Bytes>,
    bytes: usize,
}

impl Streams {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, kept: Mutex::default() }
    }

    /// A job has yielded this. False where there is no room for it, though all are forgotten of jobs that have ended.
    pub(crate) fn push(&self, job: &str, part: Bytes) -> bool {
        let mut kept = self.lock();
        let size = part.len() + PART;
        while kept.bytes + size > self.most {
            let Some(oldest) = kept.ended.pop_front() else { return false };
            kept.forget(&oldest);
        }
        kept.bytes += size;
        let parts = match kept.by_job.get_mut(job) {
            Some(parts) => parts,
            None => kept.by_job.entry(job.to_owned()).or_default(),
        };
        parts.bytes += size;
        parts.parts.push_back(part);
        true
    }

    /// The parts of a job that were not given out yet, or the first of them.
    pub(crate) fn take(&self, job: &str) -> Vec<Bytes> {
        let mut kept = self.lock();
        let Some(parts) = kept.by_job.get_mut(job) else { return Vec::new() };
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while bytes < ANSWER
            && let Some(part) = parts.parts.pop_front()
        {
            bytes += part.len() + PART;
            taken.push(part);
        }
        parts.bytes -= bytes;
        if parts.parts.is_empty() {
            kept.by_job.remove(job);
        }
        kept.bytes -= bytes;
        taken
    }

    /// A job begins anew: its parts come again.
    pub(crate) fn forget(&self, job: &str) {
        self.lock().forget(job);
    }

    /// A job has ended: its parts stay while there is room.
    pub(crate) fn ended(&self, job: &str) {
        let mut kept = self.lock();
        if kept.by_job.contains_key(job) {
            kept.ended.push_back(job.to_owned());
        }
        // Those that were fetched need not be remembered.
        let Kept { by_job, ended, .. } = &mut *kept;
        while ended.front().is_some_and(|oldest| !by_job.contains_key(oldest)) {
            ended.pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner) // it is changed by whole steps
    }
}

impl Kept {
    fn forget(&mut self, job: &str) {
        if let Some(parts) = self.by_job.remove(job) {
            self.bytes -= parts.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(length: usize) -> Bytes {
        vec![b'1'; length].into()
    }

    #[test]
    fn each_part_is_given_out_once() {
        let streams = Streams::new(1 << 20);
        assert!(streams.push("a", part(1)) && streams.push("a", part(2)) && streams.push("b", part(3)));
        assert_eq!(streams.take("a"), [part(1), part(2)]);
        assert!(streams.push("a", part(4)));
        assert_eq!(streams.take("a"), [part(4)]);
        assert!(streams.take("a").is_empty());
        assert_eq!(streams.take("b"), [part(3)]);
        assert_eq!(streams.lock().bytes, 0);
        assert!(streams.lock().by_job.is_empty());
    }

    #[test]
    fn an_answer_has_a_bound() {
        let streams = Streams::new(100 << 20);
        for _ in 0..3 {
            assert!(streams.push("a", part(5 << 20)));
        }
        assert_eq!([streams.take("a").len(), streams.take("a").len(), streams.take("a").len()], [2, 1, 0]);
    }

    #[test]
    fn those_that_ended_first_are_forgotten_first_and_those_that_run_never() {
        let streams = Streams::new(3000);
        assert!(streams.push("runs", part(1000)) && streams.push("first", part(500)) && streams.push("second", part(500)));
        streams.ended("first");
        streams.ended("second");
        assert!(streams.push("runs", part(1000)));
        assert_eq!([streams.take("first").len(), streams.take("second").len()], [0, 1]);
        assert!(!streams.push("runs", part(1000)), "there is nothing left to be forgotten");
        assert_eq!(streams.take("runs").len(), 2);
        assert_eq!(streams.lock().bytes, 0);
    }
}
