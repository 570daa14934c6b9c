//! When what failed is tried again.

use std::time::{Duration, Instant};

/// The wait after the first failure.
const FIRST: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(30);
/// So many failures in a row are a loop, and no accident.
const LOOP: u32 = 3;

/// Failures in a row. Each doubles the wait before the next try.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    failures: u32,
    last: Option<Failure>,
}

#[derive(Clone, Copy, Debug)]
struct Failure {
    at: Instant,
    next_try: Instant,
}

impl Backoff {
    /// What was begun then has failed now. Of several that ran side by side, all fail for one reason, and count once. `dice` is any number:
    /// it spreads those who failed at one moment over a quarter of the wait.
    pub fn failed(&mut self, begun: Instant, now: Instant, dice: u32) {
        if self.last.is_some_and(|last| begun < last.at) {
            return;
        }
        let wait = LONGEST.min(FIRST * 2_u32.saturating_pow(self.failures.min(16)));
        let spread = wait / 4 * (dice % 1024) / 1024;
        self.failures += 1;
        self.last = Some(Failure { at: now, next_try: now + wait - spread });
    }

    /// It works.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// How often in a row it has failed.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether it fails again and again.
    pub fn is_loop(&self) -> bool {
        self.failures >= LOOP
    }

    /// Before this nothing is to be tried; `None` while nothing has failed.
    pub fn next_try(&self) -> Option<Instant> {
        self.last.map(|last| last.next_try)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is waited after each of so many failures in a row.
    fn waits(count: usize, dice: u32) -> Vec<u128> {
        let (mut backoff, mut now) = (Backoff::default(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..count {
            backoff.failed(now, now, dice);
            let next = backoff.next_try().expect("it has failed");
            waits.push((next - now).as_millis());
            now = next;
        }
        waits
    }

    #[test]
    fn each_failure_in_a_row_doubles_the_wait_up_to_its_bound() {
        assert_eq!(waits(11, 0), [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000]);
        assert_eq!(waits(100, 0)[99], 30000);
    }

    #[test]
    fn those_who_fail_together_are_tried_again_at_moments_of_their_own() {
        assert_eq!(waits(9, 512)[8], 22400);
        assert!(waits(9, 1023)[8] > 19200 && waits(9, u32::MAX)[0] >= 75);
    }

    #[test]
    fn what_fails_side_by_side_has_failed_once() {
        let (mut backoff, begun) = (Backoff::default(), Instant::now());
        for milliseconds in [1, 2, 3, 4] {
            backoff.failed(begun, begun + Duration::from_millis(milliseconds), 0);
        }
        assert_eq!((backoff.failures(), backoff.next_try()), (1, Some(begun + Duration::from_millis(101))));
        backoff.failed(begun + Duration::from_millis(101), begun + Duration::from_millis(102), 0);
        assert_eq!((backoff.failures(), backoff.next_try()), (2, Some(begun + Duration::from_millis(302))));
    }

    #[test]
    fn three_failures_are_a_loop_and_one_success_ends_it() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        for expected in [false, false, true, true] {
            backoff.failed(now, now, 0);
            assert_eq!(backoff.is_loop(), expected);
        }
        backoff.reset();
        assert_eq!((backoff.is_loop(), backoff.failures(), backoff.next_try()), (false, 0, None));
    }
}
