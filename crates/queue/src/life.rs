//! The life of one job.

use crate::backoff::wait;
use crate::policy::{MOST_LOSSES, Policy};
use crate::time::Timestamp;

/// Where a job is.
///
/// ```text
///              submit
///       ┌────────┴───────┐
///       ▼                ▼          Returned, Void
///    Delayed ──Due──▶ Ready ◀───────────────────────┐
///       ▲                └──────────Lease──────▶ Leased ──▶ Completed
///       └────── Failed, Lost, to be tried again ────┘ └───▶ Failed
///
///    Delayed, Ready, Leased ──Cancel──▶ Cancelled         Delayed, Ready, Leased ──Expire──▶ TimedOut
///    Ready, Delayed ──Purge──▶ Cancelled                  Leased ──OutOfTime──▶ TimedOut
///    Failed, TimedOut ──Retry──▶ Ready
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// It may begin.
    Ready,
    /// It may begin later: it was asked for so, or it is to be tried again.
    Delayed,
    /// One worker has the right to run it.
    Leased,
    /// It has a result.
    Completed,
    /// Its last attempt failed.
    Failed,
    /// Somebody took it back.
    Cancelled,
    /// Its time to live was over, or an attempt's time.
    TimedOut,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::Ready, Self::Delayed, Self::Leased, Self::Completed, Self::Failed, Self::Cancelled, Self::TimedOut];

    /// Whether nothing happens to it any more, unless it is sent again.
    pub const fn has_ended(self) -> bool {
        match self {
            Self::Ready | Self::Delayed | Self::Leased => false,
            Self::Completed | Self::Failed | Self::Cancelled | Self::TimedOut => true,
        }
    }
}

/// What is known of a job, as far as rules need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// Where it is.
    pub state: State,
    /// When a delayed job is due.
    pub due: Timestamp,
    /// When its time to live is over.
    pub deadline: Timestamp,
    /// The number of its last lease; 0 before the first. It only grows, so a lease is never mistaken for another.
    pub attempt: u32,
    /// Attempts that began, or may have, and came to no end of the job.
    pub failures: u32,
    /// Those of them in which the function raised: what counts towards the policy's attempts.
    pub raised: u32,
    /// Those in which the worker died.
    pub losses: u32,
}

impl Life {
    /// The life of a job that arrives now.
    pub fn begin(policy: &Policy, now: Timestamp) -> Self {
        let state = if policy.delay.is_zero() { State::Ready } else { State::Delayed };
        let (due, deadline) = (now + policy.delay, now + policy.ttl);
        Self { state, due, deadline, attempt: 0, failures: 0, raised: 0, losses: 0 }
    }

    /// How often it was tried again.
    pub fn retries(&self) -> u32 {
        match self.state {
            // The last of them was no try of what failed, but the failure itself.
            State::Failed => self.failures.saturating_sub(1),
            State::Ready | State::Delayed | State::Leased | State::Completed | State::Cancelled | State::TimedOut => self.failures,
        }
    }
}

/// What happens to a job. Those with an attempt's number come from whoever held that lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A delayed job's time has come.
    Due,
    /// A worker is to run it.
    Lease,
    /// The function has returned, or all parts of a generator are there.
    Completed(u32),
    /// The function raised.
    Raised(u32),
    /// The input does not bind to the function's parameters, or its result is no JSON: it would be so again.
    Refused(u32),
    /// The worker died, or was stopped for a reason that is not the job's.
    Lost(u32),
    /// The lease was not used: nothing has begun.
    Returned(u32),
    /// The attempt's time was over.
    OutOfTime(u32),
    /// A server that starts finds the lease of one before it.
    Void,
    /// Somebody takes it back.
    Cancel,
    /// The endpoint's waiting jobs are taken back.
    Purge,
    /// Its time to live is over.
    Expire,
    /// Somebody sends it again.
    Retry,
}

/// What follows from an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The job from now on.
    pub life: Life,
    /// The attempt that is to be stopped: its lease is not in force any more, and its worker does not know.
    pub stop: Option<u32>,
    /// The attempt that has ended, to be kept with its error.
    pub noted: Option<Noted>,
    /// Where it stands from now on among those of its priority.
    pub place: Place,
}

/// Where a job stands among those of its priority that may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Where it was: that of its arrival, unless it was sent behind others since.
    Kept,
    /// Behind all that wait, as one that has just arrived: what is tried again, so that what kills each worker does not keep all others waiting.
    Last,
}

/// How an attempt ended that did not complete its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noted {
    /// Its number.
    pub attempt: u32,
    /// The job is tried again.
    pub again: bool,
}

/// Why an event does not happen; the job is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The lease is not in force: the job was taken back, has ended, or is another worker's.
    #[error("the lease is not in force any more")]
    Stale,
    /// It has ended.
    #[error("the job has ended")]
    Ended,
    /// It has not ended, or has completed.
    #[error("the job has not failed")]
    NotFailed,
    /// It is not in the state that this happens in, or its time has not come.
    #[error("it is not the time for that")]
    NotYet,
}

/// What becomes of a job. `jitter` is any number.
///
/// # Errors
/// Where this does not happen to a job in this state.
pub fn step(life: &Life, policy: &Policy, event: Event, now: Timestamp, jitter: u32) -> Result<Step, Refused> {
    match event {
        Event::Due => match life.state {
            State::Delayed if life.due <= now => {
                let place = if life.failures > 0 { Place::Last } else { Place::Kept };
                Ok(Step { place, ..to(life, State::Ready) })
            }
            _ => Err(Refused::NotYet),
        },
        Event::Lease => match life.state {
            State::Ready => Ok(plain(Life { state: State::Leased, attempt: life.attempt + 1, ..life.clone() })),
            _ => Err(Refused::NotYet),
        },
        Event::Completed(attempt) => held(life, attempt).map(|()| to(life, State::Completed)),
        Event::Returned(attempt) => held(life, attempt).map(|()| to(life, State::Ready)),
        Event::Raised(attempt) => {
            held(life, attempt)?;
            let raised = life.raised + 1;
            Ok(failed(Life { raised, ..life.clone() }, raised < policy.attempts, now, jitter))
        }
        Event::Lost(attempt) => {
            held(life, attempt)?;
            let losses = life.losses + 1;
            Ok(failed(Life { losses, ..life.clone() }, losses < MOST_LOSSES, now, jitter))
        }
        Event::Refused(attempt) => held(life, attempt).map(|()| failed(life.clone(), false, now, jitter)),
        Event::OutOfTime(attempt) => {
            held(life, attempt)?;
            let noted = Some(Noted { attempt, again: false });
            Ok(Step { noted, ..to(life, State::TimedOut) })
        }
        Event::Void => {
            held(life, life.attempt)?;
            let noted = Some(Noted { attempt: life.attempt, again: true });
            Ok(Step { noted, ..plain(Life { state: State::Ready, failures: life.failures + 1, ..life.clone() }) })
        }
        Event::Cancel => taken(life, State::Cancelled),
        Event::Purge => match life.state {
            State::Ready | State::Delayed => Ok(to(life, State::Cancelled)),
            State::Leased => Err(Refused::NotYet),
            State::Completed | State::Failed | State::Cancelled | State::TimedOut => Err(Refused::Ended),
        },
        Event::Expire if life.deadline > now && !life.state.has_ended() => Err(Refused::NotYet),
        Event::Expire => taken(life, State::TimedOut),
        Event::Retry => match life.state {
            State::Failed | State::TimedOut => {
                // It starts anew, but for the number of the lease.
                let (state, due, deadline) = (State::Ready, now, now + policy.ttl);
                let life = Life { state, due, deadline, attempt: life.attempt, failures: 0, raised: 0, losses: 0 };
                Ok(Step { place: Place::Last, ..plain(life) })
            }
            State::Ready | State::Delayed | State::Leased | State::Completed | State::Cancelled => Err(Refused::NotFailed),
        },
    }
}

fn held(life: &Life, attempt: u32) -> Result<(), Refused> {
    if life.state == State::Leased && life.attempt == attempt { Ok(()) } else { Err(Refused::Stale) }
}

fn plain(life: Life) -> Step {
    Step { life, stop: None, noted: None, place: Place::Kept }
}

fn to(life: &Life, state: State) -> Step {
    plain(Life { state, ..life.clone() })
}

/// An attempt that failed; the counters are up to date but for that of all failures.
fn failed(life: Life, again: bool, now: Timestamp, jitter: u32) -> Step {
    let failures = life.failures + 1;
    let due = now + wait(failures, jitter);
    // A try for which no time is left is not waited for: FAILED tells what went wrong, TIMED_OUT would hide it.
    let again = again && due < life.deadline;
    let noted = Some(Noted { attempt: life.attempt, again });
    let (state, due) = if again { (State::Delayed, due) } else { (State::Failed, life.due) };
    Step { noted, ..plain(Life { state, due, failures, ..life }) }
}

/// Somebody else than its worker ends it.
fn taken(life: &Life, state: State) -> Result<Step, Refused> {
    match life.state {
        State::Ready | State::Delayed => Ok(to(life, state)),
        State::Leased => Ok(Step { stop: Some(life.attempt), ..to(life, state) }),
        State::Completed | State::Failed | State::Cancelled | State::TimedOut => Err(Refused::Ended),
    }
}

#[cfg(test)]
mod tests;
