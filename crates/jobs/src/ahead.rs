//! How many jobs are claimed before a slot is free for them.
//!
//! A job may begin once its lease is on the disk. Where jobs are shorter than a commit, a worker would wait for the disk between two of them;
//! so as many are leased ahead as the slots get through meanwhile. Where jobs take long nothing is: what comes with a higher priority goes
//! first, and what waits is not held by a server that may end.

use std::time::Duration;

/// Never more than this ahead, whatever was measured.
pub(crate) const MOST: usize = 512;

/// What was seen of an endpoint and of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// What one job takes of a slot; `None` where none has ended yet.
    pub(crate) job: Option<Duration>,
    /// From asking for a lease to having it.
    pub(crate) claim: Duration,
}

/// How many jobs are to be claimed now.
///
/// `slots`: what the workers that are there can run at a time; `held`: jobs that are leased and have not ended.
pub(crate) fn wanted(slots: usize, held: usize, pace: Pace) -> usize {
    // Without a worker one job is: it is what has one started.
    (slots.max(1) + ahead(slots, pace)).saturating_sub(held)
}

/// How many are held on top of those that run: twice what the slots get through during a claim, so that the next claim begins in time.
pub(crate) fn ahead(slots: usize, pace: Pace) -> usize {
    let Some(job) = pace.job else { return 0 };
    let through = pace.claim.as_nanos() / job.as_nanos().max(1);
    usize::try_from(through).unwrap_or(usize::MAX).saturating_mul(2 * slots).min(MOST)
}

/// An average that follows what comes: the newest counts for an eighth.
pub(crate) fn follow(average: Option<Duration>, newest: Duration) -> Duration {
    average.map_or(newest, |average| average - average / 8 + newest / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_claimed_as_slots_get_through_until_the_next_claim() {
        let us = Duration::from_micros;
        for (slots, held, job, claim, expected) in [
            (0, 0, None, us(1000), 1),
            (0, 1, None, us(1000), 0),
            (1, 0, None, us(1000), 1),
            (1, 1, None, us(1000), 0),
            // Longer than a claim: none ahead.
            (1, 0, Some(us(1001)), us(1000), 1),
            (1, 1, Some(us(60_000_000)), us(1000), 0),
            (8, 3, Some(us(60_000_000)), us(1000), 5),
            // Shorter: two claims' worth.
            (1, 1, Some(us(1000)), us(1000), 2),
            (1, 0, Some(us(100)), us(1000), 21),
            (1, 21, Some(us(100)), us(1000), 0),
            (1, 40, Some(us(100)), us(1000), 0),
            (4, 4, Some(us(100)), us(1000), 80),
            // Whatever was measured.
            (1, 0, Some(us(0)), us(1_000_000), 1 + MOST),
            (128, 0, Some(us(1)), us(1_000_000), 128 + MOST),
            // No worker: what was quick once says nothing of the start of one.
            (0, 0, Some(us(1)), us(1000), 1),
        ] {
            assert_eq!(wanted(slots, held, Pace { job, claim }), expected, "{slots} {held} {job:?} {claim:?}");
        }
    }

    #[test]
    fn an_average_follows_what_comes() {
        let ms = Duration::from_millis;
        assert_eq!(follow(None, ms(5)), ms(5));
        assert_eq!(follow(Some(ms(8)), ms(16)), ms(9));
        let settled = (0..100).fold(ms(1000), |average, _| follow(Some(average), ms(1)));
        assert!(settled < ms(2), "{settled:?}");
    }
}
