//! A job as callers see it: JSON with the fields that the official clients read.

use std::time::Duration;

use bytes::Bytes;
use flash_queue::State;
use flash_store::jobs::{Failure, Job};

/// Who waits for a job with a longer output reads it from the disk.
pub(crate) const LARGE: usize = 64 << 10;

/// States as callers know them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It waits, or is about to begin.
    InQueue,
    /// A worker has begun it.
    InProgress,
    /// It has a result.
    Completed,
    /// It has failed for good.
    Failed,
    /// Somebody took it back.
    Cancelled,
    /// Its time was over.
    TimedOut,
}

impl Status {
    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InQueue => "IN_QUEUE",
            Self::InProgress => "IN_PROGRESS",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
            Self::TimedOut => "TIMED_OUT",
        }
    }

    /// `begun`: whether a worker has begun it, which the disk does not know.
    pub const fn of(state: State, begun: bool) -> Self {
        match state {
            State::Leased if begun => Self::InProgress,
            State::Ready | State::Delayed | State::Leased => Self::InQueue,
            State::Completed => Self::Completed,
            State::Failed => Self::Failed,
            State::Cancelled => Self::Cancelled,
            State::TimedOut => Self::TimedOut,
        }
    }

    /// Whether it stays so.
    pub const fn is_final(self) -> bool {
        match self {
            Self::InQueue | Self::InProgress => false,
            Self::Completed | Self::Failed | Self::Cancelled | Self::TimedOut => true,
        }
    }
}

/// Before the output.
const OUTPUT: &[u8] = b",\"output\":";

/// What there is to tell of a job.
#[derive(Clone, Debug)]
pub(crate) struct Object<'job> {
    pub(crate) id: &'job str,
    pub(crate) status: Status,
    /// JSON: its result, or how far it is.
    pub(crate) output: Option<&'job [u8]>,
    pub(crate) error: Option<&'job str>,
    pub(crate) traceback: Option<&'job str>,
    pub(crate) delay: Option<Duration>,
    pub(crate) execution: Option<Duration>,
    pub(crate) worker: Option<&'job str>,
    pub(crate) retries: u32,
}

impl<'job> Object<'job> {
    /// A job that has only just been accepted, or of which no more is asked.
    pub(crate) fn bare(id: &'job str, status: Status) -> Self {
        Self { id, status, output: None, error: None, traceback: None, delay: None, execution: None, worker: None, retries: 0 }
    }

    /// A job as the disk has it.
    pub(crate) fn stored(job: &'job Job) -> Self {
        let failed = job.attempts.last().filter(|_| job.life.state == State::Failed);
        Self {
            id: &job.id,
            // Who takes it for completed would take no output for its result.
            status: if job.lost.is_some() { Status::Failed } else { Status::of(job.life.state, false) },
            output: job.output.as_deref(),
            error: job.error(),
            traceback: failed.map(|attempt| &*attempt.traceback).filter(|text| !text.is_empty()),
            delay: job.delay(),
            execution: job.execution(),
            worker: job.worker.as_deref(),
            retries: job.life.retries(),
        }
    }

    /// As JSON.
    pub(crate) fn json(&self) -> Bytes {
        let mut out = Vec::with_capacity(192 + self.output.map_or(0, <[u8]>::len));
        self.write_head(&mut out);
        if let Some(output) = self.output {
            out.extend_from_slice(OUTPUT);
            out.extend_from_slice(output);
        }
        self.write_tail(&mut out);
        out.into()
    }

    /// As JSON, but for its output: what is before that, and what is after it.
    pub(crate) fn json_around(&self) -> (Bytes, Bytes) {
        let (mut head, mut tail) = (Vec::new(), Vec::new());
        self.write_head(&mut head);
        head.extend_from_slice(OUTPUT);
        self.write_tail(&mut tail);
        (head.into(), tail.into())
    }

    fn write_head(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"id\":");
        text(out, self.id);
        out.extend_from_slice(b",\"status\":\"");
        out.extend_from_slice(self.status.as_str().as_bytes());
        out.push(b'"');
    }

    fn write_tail(&self, out: &mut Vec<u8>) {
        if let Some(error) = self.error {
            out.extend_from_slice(b",\"error\":");
            text(out, error);
        }
        if let Some(traceback) = self.traceback {
            out.extend_from_slice(b",\"traceback\":");
            text(out, traceback);
        }
        // The clients of the reference fail where one of these is missing of a job that has ended.
        let always = self.status.is_final();
        for (name, time) in [("delayTime", self.delay), ("executionTime", self.execution)] {
            if let Some(time) = time.or(always.then_some(Duration::ZERO)) {
                out.extend_from_slice(format!(",\"{name}\":{}", time.as_millis()).as_bytes());
            }
        }
        if let Some(worker) = self.worker.or(always.then_some("")) {
            out.extend_from_slice(b",\"workerId\":");
            text(out, worker);
        }
        if self.retries > 0 {
            out.extend_from_slice(format!(",\"retries\":{}", self.retries).as_bytes());
        }
        out.push(b'}');
    }
}

/// One line on how an attempt failed.
pub(crate) fn named(kind: Failure, name: &str, error: &str) -> String {
    match (kind, name) {
        (Failure::Raised, name) if !name.is_empty() => format!("{name}: {error}"),
        (Failure::Raised | Failure::Unbound | Failure::Unserialisable, _) => error.to_owned(),
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("memory takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_has_ended_says_always_when_and_where() {
        let object = Object::bare("a-u1", Status::Cancelled);
        let expected = r#"{"id":"a-u1","status":"CANCELLED","delayTime":0,"executionTime":0,"workerId":""}"#;
        assert_eq!(object.json(), expected);
        assert_eq!(Object::bare("a-u1", Status::InQueue).json(), r#"{"id":"a-u1","status":"IN_QUEUE"}"#);
    }

    #[test]
    fn an_output_is_written_as_it_came() {
        let ms = Duration::from_millis;
        let object = Object {
            output: Some(b"[97, 98]"),
            delay: Some(ms(3)),
            execution: Some(ms(1)),
            worker: Some("w1-77"),
            retries: 2,
            ..Object::bare("sync-a", Status::Completed)
        };
        let expected =
            r#"{"id":"sync-a","status":"COMPLETED","output":[97, 98],"delayTime":3,"executionTime":1,"workerId":"w1-77","retries":2}"#;
        assert_eq!(object.json(), expected);
    }

    #[test]
    fn an_error_is_escaped() {
        let object = Object { error: Some("ValueError: \"x\"\n"), traceback: Some("a\tb"), ..Object::bare("a", Status::Failed) };
        let read: serde_json::Value = serde_json::from_slice(&object.json()).unwrap();
        assert_eq!((read["error"].as_str(), read["traceback"].as_str()), (Some("ValueError: \"x\"\n"), Some("a\tb")));
    }
}
