//! When a job that failed is tried again.

use std::time::Duration;

/// The wait after the first failure.
const FIRST: Duration = Duration::from_secs(1);
/// The longest wait: what failed for so long needs somebody to look at it, and is to go on soon after that.
const LONGEST: Duration = Duration::from_secs(300);

/// How long to wait after so many failures: doubled with each, less up to a half by `jitter`, which is any number: jobs that failed at one
/// moment, because of one thing, are spread over the time in which it may have come back.
pub fn wait(failures: u32, jitter: u32) -> Duration {
    let whole = LONGEST.min(FIRST * 2_u32.saturating_pow(failures.saturating_sub(1).min(16)));
    whole - whole / 2 * (jitter % 1024) / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_doubles_the_wait_up_to_the_longest() {
        let seconds: Vec<u64> = [1, 2, 3, 4, 9, 10, 11, 1000, u32::MAX].map(|failures| wait(failures, 0).as_secs()).into();
        assert_eq!(seconds, [1, 2, 4, 8, 256, 300, 300, 300, 300]);
    }

    #[test]
    fn jitter_takes_up_to_a_half_away() {
        assert_eq!(wait(3, 512), Duration::from_secs(3));
        assert!(wait(3, 1023) > Duration::from_secs(2));
        assert!((0..5000).all(|jitter| wait(1, jitter) > FIRST / 2 && wait(1, jitter) <= FIRST));
    }
}
