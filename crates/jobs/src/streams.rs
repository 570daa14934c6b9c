//! Parts of generators' outputs, until somebody has fetched them: each is given out once. A reader that says how far it is has its last answer
//! kept until it asks for more: what was on its way when a connection broke comes again.

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

/// Those of the attempt in force.
#[derive(Debug, Default)]
struct Parts {
    attempt: u32,
    /// How many came before those that are kept.
    first: u64,
    parts: VecDeque<Bytes>,
    bytes: usize,
    has_ended: bool,
}

/// How far a reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// In the parts of which attempt.
    pub(crate) attempt: u32,
    /// So many of them it has.
    pub(crate) from: u64,
}

/// Parts of one attempt, from one of them on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) place: Place,
    pub(crate) parts: Vec<Bytes>,
}

impl Streams {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, kept: Mutex::default() }
    }

    /// A job's attempt has yielded this. False where there is no room for it, though all are forgotten of jobs that have ended.
    pub(crate) fn push(&self, job: &str, attempt: u32, part: Bytes) -> bool {
        let mut kept = self.lock();
        let size = part.len() + PART;
        while kept.bytes + size > self.most {
            let Some(oldest) = kept.ended.pop_front() else { return false };
            kept.forget(&oldest);
        }
        kept.bytes += size;
        let parts = match kept.by_job.get_mut(job) {
            Some(parts) => parts,
            None => kept.by_job.entry(job.to_owned()).or_insert_with(|| Parts { attempt, ..Parts::default() }),
        };
        parts.bytes += size;
        parts.parts.push_back(part);
        true
    }

    /// The parts of a job that were not given out yet, or the first of them.
    pub(crate) fn take(&self, job: &str) -> Vec<Bytes> {
        let mut kept = self.lock();
        let Some(parts) = kept.by_job.get_mut(job) else { return Vec::new() };
        let taken: Vec<Bytes> = some(parts.parts.iter());
        kept.drop_first(job, taken.len());
        taken
    }

    /// What [`Self::take`] would give: it stays.
    pub(crate) fn look(&self, job: &str) -> Vec<Bytes> {
        self.lock().by_job.get(job).map_or_else(Vec::new, |parts| some(parts.parts.iter()))
    }

    /// What a reader does not have, or the first of it, which is kept; what it has is not. Where the attempt in force is another one than the
    /// reader knows, from its first part on. `None` where nothing is known of the job's parts.
    pub(crate) fn follow(&self, job: &str, reader: Option<Place>) -> Option<Run> {
        let mut kept = self.lock();
        let parts = kept.by_job.get(job)?;
        let (attempt, first) = (parts.attempt, parts.first);
        let has = reader.filter(|reader| reader.attempt == attempt).map_or(0, |reader| reader.from);
        let had = usize::try_from(has.saturating_sub(first)).unwrap_or(usize::MAX).min(parts.parts.len());
        let next = some(parts.parts.range(had..));
        kept.drop_first(job, had);
        Some(Run { place: Place { attempt, from: first + had as u64 }, parts: next })
    }

    /// A job begins anew: its parts come again.
    pub(crate) fn forget(&self, job: &str) {
        self.lock().forget(job);
    }

    /// A job has ended: its parts stay while there is room.
    pub(crate) fn ended(&self, job: &str) {
        let mut kept = self.lock();
        if let Some(parts) = kept.by_job.get_mut(job) {
            parts.has_ended = true;
            if parts.parts.is_empty() {
                kept.forget(job);
            } else {
                kept.ended.push_back(job.to_owned());
            }
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

    /// So many of a job's parts are not needed any more.
    fn drop_first(&mut self, job: &str, count: usize) {
        let Some(parts) = self.by_job.get_mut(job) else { return };
        let bytes: usize = parts.parts.drain(..count).map(|part| part.len() + PART).sum();
        parts.first += count as u64;
        parts.bytes -= bytes;
        self.bytes -= bytes;
        if parts.has_ended && parts.parts.is_empty() {
            self.by_job.remove(job);
        }
    }
}

/// As many as one answer has.
fn some<'parts>(parts: impl Iterator<Item = &'parts Bytes>) -> Vec<Bytes> {
    let mut bytes = 0;
    let fits = |part: &&Bytes| {
        let fits = bytes < ANSWER;
        bytes += part.len() + PART;
        fits
    };
    parts.take_while(fits).cloned().collect()
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
        assert!(streams.push("a", 1, part(1)) && streams.push("a", 1, part(2)) && streams.push("b", 1, part(3)));
        assert_eq!(streams.take("a"), [part(1), part(2)]);
        assert!(streams.push("a", 1, part(4)));
        assert_eq!(streams.take("a"), [part(4)]);
        assert!(streams.take("a").is_empty());
        assert_eq!(streams.take("b"), [part(3)]);
        assert_eq!(streams.lock().bytes, 0);
        streams.ended("a");
        streams.ended("b");
        assert!(streams.lock().by_job.is_empty());
    }

    #[test]
    fn who_looks_takes_nothing() {
        let streams = Streams::new(1 << 20);
        assert!(streams.push("a", 1, part(1)));
        assert_eq!([streams.look("a").len(), streams.look("a").len(), streams.look("b").len()], [1, 1, 0]);
        assert_eq!(streams.take("a"), [part(1)]);
    }

    #[test]
    fn a_reader_that_says_how_far_it_is_loses_no_answer_on_its_way() {
        let run = |attempt, from, parts: &[Bytes]| Some(Run { place: Place { attempt, from }, parts: parts.to_vec() });
        let at = |attempt, from| Some(Place { attempt, from });
        let streams = Streams::new(1 << 20);
        assert_eq!(streams.follow("a", None), None);
        assert!(streams.push("a", 4, part(1)) && streams.push("a", 4, part(2)));
        for _ in 0..2 {
            assert_eq!(streams.follow("a", None), run(4, 0, &[part(1), part(2)]));
        }
        assert!(streams.push("a", 4, part(3)));
        for _ in 0..2 {
            assert_eq!(streams.follow("a", at(4, 1)), run(4, 1, &[part(2), part(3)]));
        }
        assert_eq!(streams.follow("a", at(4, 3)), run(4, 3, &[]));
        assert_eq!(streams.follow("a", at(4, 0)), run(4, 3, &[]), "what it has said to have is gone");
        assert!(streams.push("a", 4, part(4)));
        assert_eq!(streams.follow("a", at(4, 99)), run(4, 4, &[]), "it has no more than there are");
        streams.forget("a");
        assert!(streams.push("a", 5, part(1)));
        assert_eq!(streams.follow("a", at(4, 3)), run(5, 0, &[part(1)]), "another attempt's begin anew");
        streams.ended("a");
        assert_eq!(streams.follow("a", at(5, 1)), run(5, 1, &[]));
        assert_eq!(streams.follow("a", at(5, 1)), None, "all was fetched");
        assert_eq!(streams.lock().bytes, 0);
    }

    #[test]
    fn an_answer_has_a_bound() {
        let streams = Streams::new(100 << 20);
        for _ in 0..3 {
            assert!(streams.push("a", 1, part(5 << 20)));
        }
        assert_eq!([streams.take("a").len(), streams.take("a").len(), streams.take("a").len()], [2, 1, 0]);
    }

    #[test]
    fn those_that_ended_first_are_forgotten_first_and_those_that_run_never() {
        let streams = Streams::new(3000);
        assert!(streams.push("runs", 1, part(1000)) && streams.push("first", 1, part(500)) && streams.push("second", 1, part(500)));
        streams.ended("first");
        streams.ended("second");
        assert!(streams.push("runs", 1, part(1000)));
        assert_eq!([streams.take("first").len(), streams.take("second").len()], [0, 1]);
        assert!(!streams.push("runs", 1, part(1000)), "there is nothing left to be forgotten");
        assert_eq!(streams.take("runs").len(), 2);
        assert_eq!(streams.lock().bytes, 0);
    }
}
