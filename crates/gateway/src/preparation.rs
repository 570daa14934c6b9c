//! What must be done before a live call can be given to a worker: its endpoint's packages may have to be installed.
//!
//! The gateway does nothing of it. It shows the caller what is said meanwhile, and then gives the call to the endpoint that comes of it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use flash_workers::Call;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::endpoint::Endpoint;

/// Lines for the caller of a live call.
pub type Notes = UnboundedSender<String>;

/// The endpoint to which the call goes, which has the call's context. Dropped when the caller leaves.
pub type Prepared = Pin<Box<dyn Future<Output = Result<Arc<Endpoint>, Unprepared>> + Send>>;

/// Looks at the context of a call of this endpoint. `None` where nothing is to be done: the gateway then sets the context as it came.
pub type Prepare = Arc<dyn Fn(&str, &Bytes, Notes) -> Option<Prepared> + Send + Sync>;

/// Why a call could not be prepared.
#[derive(Clone, Debug)]
pub struct Unprepared {
    /// What happened.
    pub what: String,
    /// Why.
    pub why: String,
    /// How to mend it.
    pub remedy: String,
}

/// A call that waits for its preparation.
pub struct Preparing {
    prepared: Prepared,
    notes: UnboundedReceiver<String>,
    call: Option<Call>,
    outcome: Option<Result<Arc<Endpoint>, Unprepared>>,
}

/// What becomes of it.
pub(crate) enum Step {
    /// A line for the caller.
    Note(String),
    /// The call can be given to the endpoint's worker.
    Call(Arc<Endpoint>, Call),
    /// It cannot.
    Failed(Unprepared),
}

impl Preparing {
    pub(crate) fn new(prepared: Prepared, notes: UnboundedReceiver<String>, call: Call) -> Self {
        Self { prepared, notes, call: Some(call), outcome: None }
    }

    /// After the call or the failure nothing comes any more, and nothing is asked for.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        if self.outcome.is_none()
            && let Poll::Ready(outcome) = self.prepared.as_mut().poll(context)
        {
            self.outcome = Some(outcome);
        }
        // All of it was said before.
        if let Poll::Ready(Some(note)) = self.notes.poll_recv(context) {
            return Poll::Ready(Step::Note(note));
        }
        match self.outcome.take() {
            Some(Ok(endpoint)) => Poll::Ready(Step::Call(endpoint, self.call.take().expect("it is given away once"))),
            Some(Err(unprepared)) => Poll::Ready(Step::Failed(unprepared)),
            None => Poll::Pending,
        }
    }
}
