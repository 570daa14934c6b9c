//! Bodies of requests: read whole, within limits on each and on all together.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::answer::{self, Payload};
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

#[derive(Debug, thiserror::Error)]
#[error("there is no room for the body")]
struct NoRoom;

/// A body that counts what comes of it.
struct Counted<'room, 'bodies> {
    body: Incoming,
    room: &'room mut Room<'bodies>,
}

impl Body for Counted<'_, '_> {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && !self.room.grow(data.len())
        {
            return Poll::Ready(Some(Err(NoRoom.into())));
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Gateway {
    /// The whole body, within its limit, its time, and the room that there is.
    pub(crate) async fn read(&self, body: Incoming, limit: usize, room: &mut Room<'_>) -> Result<Bytes, Response<Payload>> {
        if body.is_end_stream() {
            return Ok(Bytes::new());
        }
        let too_large = || {
            let text = format!("the body is longer than the {limit} bytes that are allowed");
            closing(answer::detail(StatusCode::PAYLOAD_TOO_LARGE, &text))
        };
        if body.size_hint().lower() > limit as u64 {
            return Err(too_large());
        }
        let collected = Limited::new(Counted { body, room }, limit).collect();
        // Small bodies are there with the head: no timer for them.
        let mut collected = std::pin::pin!(collected);
        let first = std::future::poll_fn(|context| Poll::Ready(collected.as_mut().poll(context))).await;
        let done = match first {
            Poll::Ready(done) => done,
            Poll::Pending => match tokio::time::timeout(self.settings.timeout, collected).await {
                Ok(done) => done,
                Err(_) => return Err(answer::detail(StatusCode::REQUEST_TIMEOUT, "the body did not come in time")),
            },
        };
        match done {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
            Err(error) if error.is::<NoRoom>() => {
                let text = "too many large bodies are being read or worked on";
                let mut response = closing(answer::detail(StatusCode::SERVICE_UNAVAILABLE, text));
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
                Err(response)
            }
            Err(error) => Err(answer::detail(StatusCode::BAD_REQUEST, &why_unreadable(&*error))),
        }
    }
}

/// What [`crate::framing`] says of it, if that is the reason.
fn why_unreadable(error: &(dyn std::error::Error + 'static)) -> String {
    let sources = std::iter::successors(Some(error), |error| error.source());
    let mut doubts = sources.filter_map(|error| error.downcast_ref::<std::io::Error>()?.get_ref()?.downcast_ref::<Doubt>());
    doubts.next().map_or_else(|| "the body could not be read".into(), Doubt::to_string)
}
