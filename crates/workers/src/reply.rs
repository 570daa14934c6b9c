//! Who waits for what a worker does, and what they are told.

use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use flash_wire::{YieldKind, Yielded};
use tokio::sync::{mpsc, oneshot};

use crate::dispatch::{Answer, Answered, WorkerId};
use crate::error::Error;
use crate::flow::{Flow, Kept};
use crate::room::Backlog;

/// What became of a request.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The worker answered.
    Answered(Answer),
    /// It took longer than the endpoint's timeout.
    Expired,
    /// That passed while it waited for a slot of a worker: no function was called.
    Unserved,
    /// The worker died after it had begun, in this way where that is known.
    Lost(Option<ExitStatus>),
    /// Too many requests wait already.
    Refused,
    /// No worker can be started.
    Failed {
        /// Why.
        error: Arc<Error>,
        /// When it is tried again.
        retry_in: Duration,
    },
}

/// A piece of the answer of a live call or a job.
#[derive(Clone, Debug)]
pub enum Event {
    /// A worker has begun the job. It comes once, and before all others of the job; without it, no function was called.
    Begun(Begun),
    /// Text that a call printed: the stream (1 or 2), and UTF-8. What a job prints goes to the log.
    Output(u8, Bytes),
    /// A part of a generator's output: of a job JSON, of a call what its SDK makes of it.
    Part(Bytes),
    /// The job says how far it is, in JSON.
    Progress(Bytes),
    /// The worker that runs it is not the one that ran the calls before: state was lost. Comes before what the call prints.
    StateLost,
    /// The last one.
    End(Outcome),
}

/// Where a job runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// The worker, as [`crate::Pool::runs`] and [`crate::Pool::kill`] take it; no two workers of a pool have one number.
    pub worker: u64,
    /// Its process, for people.
    pub pid: u32,
    /// When the worker had a slot for it. One that has nothing else to do begins it then.
    pub at: Instant,
}

/// Whom to answer.
pub(crate) enum Reply {
    Request { answer: oneshot::Sender<Outcome>, tag: u64 },
    Call(Hearer),
    Job { hearer: Hearer, tag: u64, given: Option<Begun>, begun: bool },
}

/// Who hears the events of a call or a job.
pub(crate) struct Hearer {
    events: mpsc::UnboundedSender<Heard>,
    /// What it has printed, and nobody has taken yet.
    pub(crate) backlog: Arc<Backlog>,
    /// The beginning of what is yielded in several frames.
    partial: BytesMut,
}

/// An event, and what it weighs until somebody has it.
pub(crate) struct Heard {
    pub(crate) event: Event,
    _kept: Option<Kept>,
}

impl From<Event> for Heard {
    fn from(event: Event) -> Self {
        Self { event, _kept: None }
    }
}

impl Hearer {
    pub(crate) fn new(events: mpsc::UnboundedSender<Heard>) -> Self {
        Self { events, backlog: Arc::default(), partial: BytesMut::new() }
    }

    /// Unheard is fine: nobody waits for it then.
    pub(crate) fn hear(&self, event: Event) {
        drop(self.events.send(event.into()));
    }

    pub(crate) fn print(&self, stream: u8, text: Bytes) {
        self.backlog.add(text.len());
        self.hear(Event::Output(stream, text));
    }

    fn yielded(&mut self, Yielded { kind, more, bytes }: Yielded, flow: &Arc<Flow>) {
        if more || !self.partial.is_empty() {
            self.partial.extend_from_slice(&bytes);
        }
        if more {
            return;
        }
        let whole = if self.partial.is_empty() { bytes } else { std::mem::take(&mut self.partial).freeze() };
        let kept = Some(flow.hold(whole.len()));
        let event = match kind {
            YieldKind::Part => Event::Part(whole),
            YieldKind::Progress => Event::Progress(whole),
        };
        drop(self.events.send(Heard { event, _kept: kept })); // unheard is fine
    }
}

impl Answered for Reply {
    fn given(&mut self, worker: WorkerId, pid: u32) {
        if let Self::Job { given, .. } = self {
            *given = Some(Begun { worker: worker.0, pid, at: Instant::now() });
        }
    }

    fn tag(&self) -> Option<u64> {
        match self {
            Self::Request { tag, .. } | Self::Job { tag, .. } => Some(*tag),
            Self::Call(_) => None,
        }
    }

    fn begun(&mut self) {
        if let Self::Job { hearer, given: Some(given), begun, .. } = self
            && !std::mem::replace(begun, true)
        {
            hearer.hear(Event::Begun(*given));
        }
    }
}

impl Reply {
    pub(crate) fn give(mut self, outcome: Outcome) {
        if matches!(outcome, Outcome::Answered(_)) {
            self.begun();
        }
        match self {
            Self::Request { answer, .. } => drop(answer.send(outcome)), // when the receiver is gone, nobody waits for the answer
            Self::Call(hearer) | Self::Job { hearer, .. } => hearer.hear(Event::End(outcome)),
        }
    }

    /// Whether somebody is to be told when it begins.
    pub(crate) fn is_to_begin(&self) -> bool {
        matches!(self, Self::Job { begun: false, .. })
    }

    /// It yields something before its answer. Errs where it cannot: only calls and jobs do.
    pub(crate) fn yielded(&mut self, yielded: Yielded, flow: &Arc<Flow>) -> Result<(), Error> {
        self.begun();
        match self {
            Self::Request { .. } => return Err(Error::Protocol),
            Self::Call(hearer) | Self::Job { hearer, .. } => hearer.yielded(yielded, flow),
        }
        Ok(())
    }
}
