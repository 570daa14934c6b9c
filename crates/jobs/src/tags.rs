//! Numbers that name jobs in what they print.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// So many of the last jobs can be told by their numbers.
const KEPT: usize = 8192;
/// Set in the numbers of jobs, and in none of requests.
const JOB: u64 = 1 << 63;

/// Numbers that name jobs in what they print.
#[derive(Debug, Default)]
pub(crate) struct Tags(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    first: u64,
    jobs: VecDeque<String>,
}

impl Tags {
    /// A number for a job that is about to run.
    pub(crate) fn tag(&self, job: &str) -> u64 {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.jobs.len() == KEPT {
            kept.jobs.pop_front();
            kept.first += 1;
        }
        kept.jobs.push_back(job.to_owned());
        JOB | (kept.first + kept.jobs.len() as u64 - 1)
    }

    /// The job of a number; `None` where it is a request's, or many others came since.
    pub(crate) fn job(&self, tag: u64) -> Option<String> {
        if tag & JOB == 0 {
            return None;
        }
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (tag & !JOB).checked_sub(kept.first)?;
        kept.jobs.get(usize::try_from(place).ok()?).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_jobs_are_known_by_their_numbers() {
        let tags = Tags::default();
        let first = tags.tag("first");
        let others: Vec<u64> = (0..KEPT - 1).map(|count| tags.tag(&count.to_string())).collect();
        assert_eq!((tags.job(first).as_deref(), tags.job(others[17]).as_deref()), (Some("first"), Some("17")));
        tags.tag("last");
        assert_eq!((tags.job(first), tags.job(others[17]).as_deref()), (None, Some("17")));
        assert_eq!(tags.job(17), None, "that is a request's");
    }
}
