//! Bodies of requests: read whole, within limits on each and on all together.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Response, StatusCode, header};
use hyper::body::{Body as _, Incoming};

use crate::answer::Payload;
use crate::framing::Doubt;
use crate::gateway::{Gateway, closing};

/// So much of a body is not counted: there is room for as many small ones as there can be connections.
const FREE: usize = 64 << 10;

/// All large bodies that are in memory.
#[derive(Debug)]
pub(crate) struct Bodies {
    bytes: AtomicUsize,
    limit: usize,
}

impl Bodies {
    pub(crate) fn new(limit: usize) -> Self {
        Self { bytes: AtomicUsize::new(0), limit }
    }

    /// Room for one of them, as it grows.
    pub(crate) fn room(&self) -> Room<'_> {
        Room { bodies: self, read: 0, taken: 0 }
    }
}

/// What one body takes of the room for all, until it is dropped.
pub(crate) struct Room<'bodies> {
    bodies: &'bodies Bodies,
    read: usize,
    taken: usize,
}

impl Room<'_> {
    /// Makes room for more of it; false where there is none.
    fn grow(&mut self, bytes: usize) -> bool {
        self.read += bytes;
        let more = self.read.saturating_sub(FREE) - self.taken;
        if more > 0 {
            self.taken += more;
            let before = self.bodies.bytes.fetch_add(more, Relaxed);
            return before + more <= self.bodies.limit;
        }
        true
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if self.taken > 0 {
            self.bodies.bytes.fetch_sub(self.taken, Relaxed);
        }
    }
}

/// Why a body is not there as a whole.
pub(crate) enum Unread {
    TooLong,
    Late,
    /// There are too many others.
    NoRoom,
    /// So much of it had come, of so much where that was said.
    Broken {
        error: hyper::Error,
        read: usize,
        of: Option<u64>,
    },
}

/// A body of which all is waited for.
struct Whole<'room, 'bodies> {
    body: Incoming,
    limit: usize,
    /// How long it is, where that was said.
    announced: Option<u64>,
    room: &'room mut Room<'bodies>,
    /// What came first: of most bodies, all. It is taken as it is.
    first: Bytes,
    more: BytesMut,
}

impl Whole<'_, '_> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Bytes, Unread>> {
        while !self.body.is_end_stream() {
            let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(context)) else { break };
            // A frame without data has trailers, which nobody reads.
            let read = self.room.read;
            if let Ok(data) = frame.map_err(|error| Unread::Broken { error, read, of: self.announced })?.into_data() {
                self.push(data)?;
            }
        }
        let first = std::mem::take(&mut self.first);
        Poll::Ready(Ok(if self.more.is_empty() { first } else { std::mem::take(&mut self.more).freeze() }))
    }

    fn push(&mut self, data: Bytes) -> Result<(), Unread> {
        let length = self.room.read + data.len();
        if length > self.limit {
            return Err(Unread::TooLong);
        }
        if !self.room.grow(data.len()) {
            return Err(Unread::NoRoom);
        }
        if length == data.len() {
            self.first = data;
        } else {
            if self.more.is_empty() {
                let announced = usize::try_from(self.body.size_hint().lower()).unwrap_or(usize::MAX);
                self.more.reserve(length + announced.min(FREE));
                self.more.extend_from_slice(&self.first);
            }
            self.more.extend_from_slice(&data);
        }
        Ok(())
    }
}

impl Gateway {
    /// The whole body, within its limit, its time, and the room that there is.
    pub(crate) async fn read(&self, body: Incoming, limit: usize, room: &mut Room<'_>) -> Result<Bytes, Unread> {
        if body.is_end_stream() {
            return Ok(Bytes::new());
        }
        if body.size_hint().lower() > limit as u64 {
            return Err(Unread::TooLong);
        }
        let announced = body.size_hint().exact();
        let mut whole = Whole { body, limit, announced, room, first: Bytes::new(), more: BytesMut::new() };
        // Small bodies are there with the head: no timer for them.
        match poll_fn(|context| Poll::Ready(whole.poll(context))).await {
            Poll::Ready(done) => done,
            Poll::Pending => {
                let rest = tokio::time::timeout(self.settings.timeout, poll_fn(|context| whole.poll(context)));
                Box::pin(rest).await.unwrap_or(Err(Unread::Late))
            }
        }
    }
}

impl Unread {
    /// What its sender is told, in the words of `said`.
    pub(crate) fn response(&self, limit: usize, said: impl Fn(StatusCode, &str) -> Response<Payload>) -> Response<Payload> {
        match self {
            Self::TooLong => {
                let text = format!("the body is longer than the {limit} bytes that are allowed");
                closing(said(StatusCode::PAYLOAD_TOO_LARGE, &text))
            }
            Self::Late => said(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
            Self::NoRoom => {
                let text = "too many large bodies are being read or worked on";
                let mut response = closing(said(StatusCode::SERVICE_UNAVAILABLE, text));
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
                response
            }
            Self::Broken { error, read, of } => said(StatusCode::BAD_REQUEST, &why_unreadable(error, *read, *of)),
        }
    }
}

/// What [`crate::framing`] says of it, if that is the reason; else how far it came, if it ended too early.
fn why_unreadable(error: &(dyn std::error::Error + 'static), read: usize, of: Option<u64>) -> String {
    let mut innermost = error;
    for source in std::iter::successors(Some(error), |error| error.source()) {
        innermost = source;
        let Some(error) = source.downcast_ref::<std::io::Error>() else { continue };
        if let Some(doubt) = error.get_ref().and_then(|error| error.downcast_ref::<Doubt>()) {
            return doubt.to_string();
        }
        if error.kind() == std::io::ErrorKind::UnexpectedEof {
            return match of {
                Some(length) => format!("the body broke off after {read} of its {length} bytes"),
                None => format!("the body broke off before its last chunk; {read} of its bytes had come"),
            };
        }
    }
    format!("the body could not be read: {innermost}")
}
