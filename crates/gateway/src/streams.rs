//! Requests of an HTTP/2 connection, each a task; and the bodies of answers, as HTTP/2 takes them.
//!
//! What is handed to HTTP/2 is in memory until the caller opens its window for it. So a large answer is handed over in pieces, each
//! when there is room for it, and a caller that takes none for too long loses its answer.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::rt::Executor;
use tokio::time::{Instant, Sleep};

use crate::answer::Payload;
use crate::places::Taken;

/// An answer's piece.
const PIECE: usize = 64 << 10;

tokio::task_local! {
    /// Since when it is the caller's turn to take what it is given, in the task of its request.
    static OFFERED: Cell<Option<Instant>>;
}

/// A response's body; until its end the connection is not idle.
pub(crate) struct Answering {
    payload: Payload,
    rest: Bytes,
    piece: usize,
    _taken: Taken,
}

impl Answering {
    /// HTTP/1.1 takes it as it is.
    pub(crate) fn http1(payload: Payload, taken: Taken) -> Self {
        Self { payload, rest: Bytes::new(), piece: usize::MAX, _taken: taken }
    }

    /// HTTP/2 takes pieces.
    pub(crate) fn http2(payload: Payload, taken: Taken) -> Self {
        OFFERED.with(|offered| offered.set(Some(Instant::now())));
        Self { payload, rest: Bytes::new(), piece: PIECE, _taken: taken }
    }

    fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.payload).poll_frame(context)) {
                Some(Ok(frame)) if frame.data_ref().is_some_and(|data| data.len() > self.piece) => {
                    self.rest = frame.into_data().unwrap_or_default();
                }
                other => return Poll::Ready(other),
            }
        }
        let piece = self.piece.min(self.rest.len());
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(piece)))))
    }
}

impl Body for Answering {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.next(context);
        if self.piece != usize::MAX {
            OFFERED.with(|offered| offered.set(next.is_ready().then(Instant::now)));
        }
        next
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.payload.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.rest.is_empty() { self.payload.size_hint() } else { SizeHint::default() }
    }
}

/// Starts the tasks of one connection's requests.
#[derive(Clone)]
pub(crate) struct Streams {
    /// Longest wait for a caller to take more of its answer.
    pub(crate) patience: Duration,
}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let patience = self.patience;
        // It ends with its answer, or with the connection, which resets it.
        tokio::spawn(OFFERED.scope(Cell::new(None), async move {
            let mut stream = std::pin::pin!(stream);
            let mut timer: Option<Pin<Box<Sleep>>> = None;
            std::future::poll_fn(|context| {
                if stream.as_mut().poll(context).is_ready() {
                    return Poll::Ready(());
                }
                let Some(since) = OFFERED.with(Cell::get) else { return Poll::Pending };
                // Set anew only when it fires: most answers are taken long before.
                let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(since + patience)));
                while timer.as_mut().poll(context).is_ready() {
                    if since.elapsed() >= patience {
                        return Poll::Ready(());
                    }
                    timer.as_mut().reset(since + patience);
                }
                Poll::Pending
            })
            .await;
        }));
    }
}
