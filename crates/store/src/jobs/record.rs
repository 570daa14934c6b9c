//! What the queue is given and what it tells, as values.

use std::time::Duration;

use bytes::Bytes;
use flash_queue::{Life, Policy, State, Timestamp};

/// A job to be accepted.
#[derive(Clone, Debug)]
pub struct New {
    /// The endpoint's id.
    pub endpoint: String,
    /// Which of its functions is to run, as the caller of this names it.
    pub function: String,
    /// The job's id: unique, of letters, digits, `-` and `_`, at most [`ID_LENGTH`] bytes. Ids that grow with time keep the index small.
    pub id: String,
    /// The input's JSON, as it came.
    pub input: Bytes,
    /// How it is run.
    pub policy: Policy,
    /// Where its end is told.
    pub webhook: Option<String>,
    /// A second submission with this key is the same job.
    pub idempotency: Option<Idempotency>,
}

/// The longest id.
pub const ID_LENGTH: usize = 64;

/// What tells a repeated submission from another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The caller's key; it holds within an endpoint, for as long as the job is kept.
    pub key: String,
    /// A digest of the whole request: the same key with another one is refused.
    pub digest: [u8; 32],
}

/// A job is on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// Its id; that of the first submission, where the idempotency key was known.
    pub id: String,
    /// Where it is.
    pub state: State,
    /// It was there before: nothing was written.
    pub existing: bool,
}

/// The right to run one attempt of a job. It ends with the attempt, and is never given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    pub(super) sequence: i64,
    pub(super) attempt: u32,
}

impl Lease {
    /// The attempt's number: 1 and up. Numbers are left out where a lease was not used.
    pub fn attempt(self) -> u32 {
        self.attempt
    }
}

/// A job that may run, and its lease, which is on the disk.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// Its id.
    pub id: String,
    /// What [`Jobs::finish`](super::Jobs::finish) is to be told.
    pub lease: Lease,
    /// Which function.
    pub function: String,
    /// The input's JSON.
    pub input: Bytes,
    /// How it is run.
    pub policy: Policy,
    /// When it came.
    pub arrived: Timestamp,
    /// When its time to live is over.
    pub deadline: Timestamp,
    /// How often it has failed before.
    pub failures: u32,
}

/// What became of an attempt.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Its result as JSON.
    Completed(Bytes),
    /// It failed by itself. Where it raised, it is tried again as its policy says.
    Failed {
        /// In what way.
        kind: Failure,
        /// One line.
        error: String,
        /// What Python says, where it says something.
        traceback: String,
    },
    /// The worker died, was stopped, or is not seen to run any more: tried again, whatever the policy says.
    Lost {
        /// One line.
        why: String,
    },
    /// Its execution time was over.
    TimedOut,
    /// The lease was not used: no worker has begun. It is no attempt, and the job is ready again, at its old place.
    Returned,
}

/// How an attempt failed by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The function raised.
    Raised,
    /// The input does not bind to its parameters: not tried again.
    Unbound,
    /// The result is no JSON, or too large: not tried again.
    Unserialisable,
}

/// How an attempt ended that did not complete its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself.
    Failed(Failure),
    /// Its worker died.
    Lost,
    /// Its time was over.
    TimedOut,
    /// The server ended meanwhile.
    Void,
}

impl Ended {
    const ALL: [Self; 6] = [
        Self::Failed(Failure::Raised),
        Self::Failed(Failure::Unbound),
        Self::Failed(Failure::Unserialisable),
        Self::Lost,
        Self::TimedOut,
        Self::Void,
    ];

    /// Its name, in the database and for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed(Failure::Raised) => "raised",
            Self::Failed(Failure::Unbound) => "unbound",
            Self::Failed(Failure::Unserialisable) => "unserialisable",
            Self::Lost => "lost",
            Self::TimedOut => "timed-out",
            Self::Void => "server-ended",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ended| ended.as_str() == name)
    }
}

/// Where an attempt ran.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// The worker, as callers are told.
    pub worker: Option<String>,
    /// When the worker began, by [`Jobs::now`](super::Jobs::now).
    pub begun: Option<Timestamp>,
}

/// What has become of a job with the end of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Where it is now: ended, [`State::Delayed`] where it is tried again, [`State::Ready`] where the lease was returned.
    pub state: State,
    /// When it is tried again.
    pub due: Option<Timestamp>,
    /// When that was.
    pub now: Timestamp,
    /// Whether somebody is to be told of its end, which it has come to.
    pub webhook: bool,
}

/// What was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It waited; nobody needs to be told.
    Waiting,
    /// It was leased: what this lease stands for is to be stopped. Its answer will be refused.
    Leased(Lease),
    /// It had ended like that before; nothing was done.
    Ended(State),
    /// There is no such job.
    Unknown,
}

/// What became of a job that somebody sends again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resent {
    /// It is ready; its former result is gone, the errors of its attempts are kept.
    Ready,
    /// It has neither failed nor run out of time; nothing was done.
    NotFailed(State),
    /// There is no such job.
    Unknown,
}

/// What time has done.
#[derive(Clone, Debug, Default)]
pub struct Swept {
    /// Endpoints that have more jobs ready than before.
    pub ready: Vec<String>,
    /// Jobs whose time to live is over; they are [`State::TimedOut`] now.
    pub expired: Vec<Expired>,
    /// There is more to be done at once.
    pub more: bool,
}

/// A job whose time to live is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// Its id.
    pub id: String,
    /// Its endpoint.
    pub endpoint: String,
    /// What is to be stopped, where it was leased.
    pub lease: Option<Lease>,
}

/// What [`Jobs::retain`](super::Jobs::retain) has deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// So many jobs.
    pub removed: usize,
    /// There are more that are old enough.
    pub more: bool,
}

/// A job, as it is on the disk.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its id.
    pub id: String,
    /// Its endpoint.
    pub endpoint: String,
    /// Which function.
    pub function: String,
    /// How it is run.
    pub policy: Policy,
    /// Where it is, and what was.
    pub life: Life,
    /// The lease in force.
    pub lease: Option<Lease>,
    /// When it came.
    pub arrived: Timestamp,
    /// When its last attempt was leased, or has begun, where that is known.
    pub begun: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// The last worker.
    pub worker: Option<String>,
    /// Its result, where it has completed.
    pub output: Option<Bytes>,
    /// Why its result is not there, where it has completed: that does not change.
    pub lost: Option<String>,
    /// How long its input is.
    pub input_bytes: u64,
    /// The attempts that failed, the oldest first.
    pub attempts: Vec<Attempt>,
}

impl Job {
    /// From its arrival to the begin of its last attempt; to its end, where there was none.
    pub fn delay(&self) -> Option<Duration> {
        self.begun.or(self.ended).map(|then| then.since(self.arrived))
    }

    /// From the begin of the last attempt to the job's end.
    pub fn execution(&self) -> Option<Duration> {
        self.ended.map(|end| self.begun.map_or(Duration::ZERO, |begun| end.since(begun)))
    }

    /// Why it has failed, ran out of time, or has no result though it has completed.
    pub fn error(&self) -> Option<&str> {
        match self.life.state {
            State::Failed => self.attempts.last().map(|attempt| &*attempt.error),
            State::TimedOut => Some(match self.attempts.last() {
                // An earlier one may have been over before the job was sent again.
                Some(attempt) if attempt.ended == Ended::TimedOut && Some(attempt.at) == self.ended => &attempt.error,
                _ => "the job's time to live was over before it completed",
            }),
            State::Completed => self.lost.as_deref(),
            State::Ready | State::Delayed | State::Leased | State::Cancelled => None,
        }
    }
}

/// An attempt that did not complete its job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Which of those that are kept it is: 1 and up.
    pub number: u32,
    /// In what way it ended.
    pub ended: Ended,
    /// One line.
    pub error: String,
    /// What Python said.
    pub traceback: String,
    /// Where it ran.
    pub ran: Ran,
    /// When it ended.
    pub at: Timestamp,
}

/// Which jobs to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this endpoint alone.
    pub endpoint: Option<String>,
    /// In these states; all, where there is none.
    pub states: Vec<State>,
    /// Where the page before ended.
    pub after: Option<Cursor>,
    /// At most so many; 0 is [`PAGE`].
    pub limit: usize,
}

/// How many jobs a page has unless said, and the most that it may have.
pub const PAGE: usize = 100;

/// Where a page ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(pub i64);

/// Jobs, the newest first.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Without inputs, outputs and attempts.
    pub jobs: Vec<Listed>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<Cursor>,
}

/// A job in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// Its endpoint.
    pub endpoint: String,
    /// Which function.
    pub function: String,
    /// Where it is.
    pub life: Life,
    /// Its priority.
    pub priority: i8,
    /// When it came.
    pub arrived: Timestamp,
    /// When its last attempt was leased, or has begun, where that is known.
    pub begun: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// The last worker.
    pub worker: Option<String>,
}

/// How many jobs an endpoint has in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub(super) of: [u64; State::ALL.len()],
    /// How often those that are kept were tried again, all together.
    pub retried: u64,
}

impl Counts {
    /// How many are in this state.
    pub fn of(&self, state: State) -> u64 {
        self.of[state as usize]
    }

    /// All of them.
    pub fn all(&self) -> u64 {
        self.of.iter().sum()
    }

    /// Those that have not ended.
    pub fn open(&self) -> u64 {
        State::ALL.into_iter().filter(|state| !state.has_ended()).map(|state| self.of(state)).sum()
    }
}

/// A job's end that somebody is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// The job.
    pub id: String,
    /// Where.
    pub url: String,
    /// How often that was tried.
    pub tries: u32,
}
