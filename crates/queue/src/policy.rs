//! What may be set for a job, and within which limits.

use std::time::Duration;

/// How often a worker may die with a job before the job fails: whatever its policy says, what kills each worker that takes it is not to go
/// round for ever.
pub const MOST_LOSSES: u32 = 10;

/// How a job is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How long one attempt may run.
    pub execution_timeout: Duration,
    /// How long the job has in all, from its arrival: waiting, attempts and the waits between them.
    pub ttl: Duration,
    /// Among the jobs that wait, higher ones are first.
    pub priority: i8,
    /// It starts no worker: it runs when there is one.
    pub low_priority: bool,
    /// How often it is tried in all where the function raises; 1 is once. Attempts that a worker's death took are not counted, nor those
    /// that the server's end took.
    pub attempts: u32,
    /// How long after its arrival it may begin.
    pub delay: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            execution_timeout: Duration::from_secs(600),
            ttl: Duration::from_secs(24 * 3600),
            priority: 0,
            low_priority: false,
            attempts: 3,
            delay: Duration::ZERO,
        }
    }
}

/// What a client asks for in a job's `policy`; milliseconds, as they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// `executionTimeout`.
    pub execution_timeout_ms: Option<i64>,
    /// `ttl`.
    pub ttl_ms: Option<i64>,
    /// `priority`.
    pub priority: Option<i64>,
    /// `lowPriority`.
    pub low_priority: Option<bool>,
    /// `attempts`.
    pub attempts: Option<i64>,
    /// `delay`.
    pub delay_ms: Option<i64>,
}

/// What a client may ask for; each bound is itself allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of `executionTimeout`, in milliseconds.
    pub execution_timeout_ms: (i64, i64),
    /// Of `ttl`, in milliseconds.
    pub ttl_ms: (i64, i64),
    /// Of `priority`.
    pub priority: (i8, i8),
    /// Of `attempts`.
    pub attempts: (u32, u32),
    /// Of `delay`, in milliseconds.
    pub delay_ms: (i64, i64),
}

const SECOND: i64 = 1000;
const WEEK: i64 = 7 * 24 * 3600 * SECOND;

impl Default for Limits {
    fn default() -> Self {
        Self {
            execution_timeout_ms: (SECOND, WEEK),
            ttl_ms: (SECOND, WEEK),
            priority: (-100, 100),
            // Each attempt's error is kept.
            attempts: (1, 100),
            delay_ms: (0, WEEK),
        }
    }
}

/// A value that is not within its limits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`policy.{field}` is {value}; it is from {least} to {most}")]
pub struct Breach {
    /// Its name in the request.
    pub field: &'static str,
    /// What was asked for.
    pub value: i64,
    /// The least that may be.
    pub least: i64,
    /// The most that may be.
    pub most: i64,
}

impl Limits {
    /// An endpoint's policy with what a client asks for in place of it.
    ///
    /// # Errors
    /// Every value that is not within its limits. What the endpoint's own policy says is not held against them.
    pub fn apply(&self, policy: &Policy, asked: &Asked) -> Result<Policy, Vec<Breach>> {
        let mut breaches = Vec::new();
        let mut within = |field, value: Option<i64>, (least, most): (i64, i64)| {
            let value = value?;
            if (least..=most).contains(&value) {
                return Some(value);
            }
            breaches.push(Breach { field, value, least, most });
            None
        };
        let execution_timeout = within("executionTimeout", asked.execution_timeout_ms, self.execution_timeout_ms);
        let ttl = within("ttl", asked.ttl_ms, self.ttl_ms);
        let priority = within("priority", asked.priority, (self.priority.0.into(), self.priority.1.into()));
        let attempts = within("attempts", asked.attempts, (self.attempts.0.into(), self.attempts.1.into()));
        let delay = within("delay", asked.delay_ms, self.delay_ms);
        let applied = Policy {
            execution_timeout: execution_timeout.map_or(policy.execution_timeout, milliseconds),
            ttl: ttl.map_or(policy.ttl, milliseconds),
            priority: priority.and_then(|value| i8::try_from(value).ok()).unwrap_or(policy.priority),
            low_priority: asked.low_priority.unwrap_or(policy.low_priority),
            attempts: attempts.and_then(|value| u32::try_from(value).ok()).unwrap_or(policy.attempts),
            delay: delay.map_or(policy.delay, milliseconds),
        };
        if breaches.is_empty() && applied.delay >= applied.ttl {
            // It could only expire. The limit is the other value, so the message says what to change.
            let most = i64::try_from(applied.ttl.as_millis()).unwrap_or(i64::MAX) - 1;
            breaches.push(Breach { field: "delay", value: i64::try_from(applied.delay.as_millis()).unwrap_or(i64::MAX), least: 0, most });
        }
        if breaches.is_empty() { Ok(applied) } else { Err(breaches) }
    }
}

fn milliseconds(value: i64) -> Duration {
    Duration::from_millis(value.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(asked: &Asked, expected: Result<Policy, Vec<&str>>) {
        let found = Limits::default().apply(&Policy::default(), asked);
        let found = found.map_err(|breaches| breaches.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(found, expected.map_err(|texts| texts.into_iter().map(str::to_owned).collect()));
    }

    #[test]
    fn what_is_not_asked_for_is_as_the_endpoint_says() {
        check(&Asked::default(), Ok(Policy::default()));
    }

    #[test]
    fn what_is_asked_for_takes_its_place() {
        let asked = Asked {
            execution_timeout_ms: Some(5000),
            ttl_ms: Some(604_800_000),
            priority: Some(-100),
            low_priority: Some(true),
            attempts: Some(1),
            delay_ms: Some(1),
        };
        let expected = Policy {
            execution_timeout: Duration::from_secs(5),
            ttl: Duration::from_secs(604_800),
            priority: -100,
            low_priority: true,
            attempts: 1,
            delay: Duration::from_millis(1),
        };
        check(&asked, Ok(expected));
    }

    #[test]
    fn every_value_that_is_out_of_its_limits_is_told() {
        let asked = Asked {
            execution_timeout_ms: Some(999),
            ttl_ms: Some(604_800_001),
            priority: Some(101),
            low_priority: None,
            attempts: Some(0),
            delay_ms: Some(-1),
        };
        let expected = [
            "`policy.executionTimeout` is 999; it is from 1000 to 604800000",
            "`policy.ttl` is 604800001; it is from 1000 to 604800000",
            "`policy.priority` is 101; it is from -100 to 100",
            "`policy.attempts` is 0; it is from 1 to 100",
            "`policy.delay` is -1; it is from 0 to 604800000",
        ];
        check(&asked, Err(expected.into()));
    }

    #[test]
    fn a_job_is_not_delayed_past_its_time_to_live() {
        let asked = Asked { ttl_ms: Some(2000), delay_ms: Some(2000), ..Asked::default() };
        check(&asked, Err(vec!["`policy.delay` is 2000; it is from 0 to 1999"]));
        let asked = Asked { ttl_ms: Some(2000), delay_ms: Some(1999), ..Asked::default() };
        assert!(Limits::default().apply(&Policy::default(), &asked).is_ok());
    }
}
