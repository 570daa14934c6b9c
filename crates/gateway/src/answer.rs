//! Responses: their body, and those that the gateway makes by itself.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use flash_workers::{Answer, Call, Error, Event, Events, Outcome, how_it_ended};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use hyper::body::{Body, Frame, SizeHint};

use crate::endpoint::Endpoint;
use crate::gateway::Settings;
use crate::mount::MountedBody;
use crate::preparation::{Preparing, Step, Unprepared};
use crate::request_id::RequestId;

/// A response's body: bytes that are there, or the records of a live call as they come.
pub enum Payload {
    /// All of it.
    Whole(Option<Bytes>),
    /// The records of a live call on this endpoint.
    Records {
        /// What comes.
        events: Events,
        /// The endpoint, for messages.
        endpoint: String,
        /// What a call may take, for messages.
        timeout: Duration,
        /// Whether the last record was sent.
        ended: bool,
    },
    /// What a mounted service says.
    Mounted(MountedBody),
    /// A live call for which something is to be done first.
    Preparing(Preparing),
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(Some(bytes))
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        if let Self::Preparing(preparing) = this {
            match std::task::ready!(preparing.poll(context)) {
                Step::Note(text) => return Poll::Ready(Some(Ok(Frame::data(encoded(NOTE, text.into()))))),
                Step::Call(endpoint, call) => *this = Self::call(&endpoint, call),
                Step::Failed(Unprepared { what, why, remedy }) => {
                    *this = Self::Whole(None);
                    let failure = serde_json::json!({ "kind": "unprepared", "error": what, "why": why, "try": remedy });
                    return Poll::Ready(Some(Ok(Frame::data(encoded(FAILURE, failure.to_string().into())))));
                }
            }
        }
        match this {
            Self::Preparing(_) => unreachable!("it has become something else"),
            Self::Whole(bytes) => Poll::Ready(bytes.take().filter(|bytes| !bytes.is_empty()).map(|bytes| Ok(Frame::data(bytes)))),
            Self::Mounted(body) => Pin::new(body).poll_frame(context),
            Self::Records { ended: true, .. } => Poll::Ready(None),
            Self::Records { events, endpoint, timeout, ended } => {
                let Some(event) = std::task::ready!(events.poll_next(context)) else { return Poll::Ready(None) };
                *ended = matches!(event, Event::End(_));
                Poll::Ready(Some(Ok(Frame::data(record(endpoint, *timeout, event)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Records { ended, .. } => *ended,
            Self::Mounted(body) => body.is_end_stream(),
            Self::Preparing(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Mounted(body) => body.size_hint(),
            Self::Records { .. } | Self::Preparing(_) => SizeHint::default(),
        }
    }
}

impl Payload {
    /// The records of a live call, which is given to the endpoint's worker.
    pub(crate) fn call(endpoint: &Endpoint, call: Call) -> Self {
        let timeout = call.timeout.unwrap_or(endpoint.pool.timeout());
        Self::Records { events: endpoint.pool.call(call), endpoint: endpoint.name.clone(), timeout, ended: false }
    }
}

/// Kinds of the records of a live call (`docs/wire.md`); 1 and 2 are the output streams.
const NOTE: u8 = 5;
const FAILURE: u8 = 6;
const PART: u8 = 7;

/// `u32 length · u8 kind · payload`.
fn record(endpoint: &str, timeout: Duration, event: Event) -> Bytes {
    let (kind, payload) = match event {
        Event::Output(stream, text) => (stream, text),
        Event::Part(part) => (PART, part),
        Event::Begun(_) | Event::Progress(_) => return Bytes::new(), // of jobs alone
        Event::StateLost => {
            let note =
                format!("flash: the worker of `{endpoint}` died and was replaced; what its functions kept in module globals is lost\n");
            (NOTE, note.into())
        }
        Event::End(Outcome::Answered(Answer { status, body, .. })) => (status as u8, body),
        Event::End(outcome) => (FAILURE, explain(endpoint, timeout, &outcome).to_string().into()),
    };
    encoded(kind, payload)
}

fn encoded(kind: u8, payload: Bytes) -> Bytes {
    let mut out = BytesMut::with_capacity(5 + payload.len());
    out.put_u32_le(payload.len() as u32);
    out.put_u8(kind);
    out.put(payload);
    out.freeze()
}

/// What happened, why, and how to mend it, where a live call got no answer; `kind` is what the SDK chooses an exception by.
fn explain(endpoint: &str, timeout: Duration, outcome: &Outcome) -> serde_json::Value {
    let (kind, what, why, remedy) = match outcome {
        Outcome::Answered(_) => unreachable!("an answer needs no explanation"),
        Outcome::Expired => (
            "expired",
            expired(endpoint, timeout),
            "the function had not returned by then".into(),
            "make it faster, or split the work".into(),
        ),
        Outcome::Unserved => (
            "expired",
            expired(endpoint, timeout),
            "it had not begun, for no worker had a free slot".into(),
            "make fewer calls at a time, make those before it faster, or raise `executionTimeoutMs`".into(),
        ),
        Outcome::Lost(status) => (
            "lost",
            format!("the worker of `{endpoint}` died while it ran this call"),
            format!("the process ended{}", how_it_ended(*status)),
            "see what it printed; the next call gets a new worker, without the state of this one".into(),
        ),
        Outcome::Refused => (
            "refused",
            format!("`{endpoint}` has too many calls waiting"),
            "its worker is busy with others".into(),
            "await some of the calls before making more".into(),
        ),
        Outcome::Failed { error, .. } => ("failed", error.to_string(), error.why(), error.remedy()),
    };
    serde_json::json!({ "kind": kind, "error": what, "why": why, "try": remedy })
}

/// What callers hear where no worker can be started.
pub(crate) fn cannot_run(endpoint: &str, error: &Error) -> String {
    format!("{endpoint} cannot run: {}; see its log", error.gist())
}

/// As the guide words it.
fn expired(endpoint: &str, timeout: Duration) -> String {
    format!("Execution timeout on {endpoint} after {}s", timeout.as_secs_f64())
}

/// Where no function has been called. It begins as where one was: callers tell time limits by that.
fn unserved(endpoint: &str, timeout: Duration) -> String {
    let late = expired(endpoint, timeout);
    format!("{late}: the request had not begun, for no worker had a free slot; raise workersMax, max_concurrency or executionTimeoutMs")
}

/// A response with a JSON body that the gateway makes by itself.
pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<Payload> {
    let mut response = Response::new(Payload::Whole(Some(body.into())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// `{"detail": ...}`, as FastAPI says things.
pub(crate) fn detail(status: StatusCode, text: &str) -> Response<Payload> {
    json(status, serde_json::json!({ "detail": text }).to_string())
}

/// What callers hear whose request's head is too long.
pub(crate) fn head_too_long(settings: &Settings) -> String {
    format!("the request's head is longer than the {} bytes that are allowed", settings.head_bytes)
}

/// As [`detail`], as the bytes of the last answer on a connection of HTTP/1.1.
pub(crate) fn closing(status: StatusCode, text: &str, id: &RequestId) -> Vec<u8> {
    let body = serde_json::json!({ "detail": text }).to_string();
    let retry = if status == StatusCode::SERVICE_UNAVAILABLE { "retry-after: 1\r\n" } else { "" };
    let (length, id) = (body.len(), id.as_str());
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n{retry}x-request-id: {id}\r\n\r\n"
    );
    (head + &body).into_bytes()
}

/// As [`detail`], for a failure that somebody may want to look up in the log.
fn failure(status: StatusCode, text: &str, id: &RequestId) -> Response<Payload> {
    json(status, serde_json::json!({ "detail": text, "request_id": id.as_str() }).to_string())
}

/// The response for what became of a request.
pub(crate) fn outcome(endpoint: &str, outcome: Outcome, timeout: Duration, id: &RequestId) -> Response<Payload> {
    match outcome {
        Outcome::Answered(answer) => answered(answer, id),
        Outcome::Expired => failure(StatusCode::GATEWAY_TIMEOUT, &expired(endpoint, timeout), id),
        Outcome::Unserved => failure(StatusCode::GATEWAY_TIMEOUT, &unserved(endpoint, timeout), id),
        Outcome::Lost(_) => failure(StatusCode::BAD_GATEWAY, "the worker that ran this request died", id),
        Outcome::Refused => {
            let mut response = failure(StatusCode::SERVICE_UNAVAILABLE, "too many requests are waiting", id);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            response
        }
        Outcome::Failed { error, retry_in } => {
            let mut response = failure(StatusCode::SERVICE_UNAVAILABLE, &cannot_run(endpoint, &error), id);
            let seconds = retry_in.as_secs() + 1; // rounded up: before that it is of no use
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            response
        }
    }
}

fn answered(answer: Answer, id: &RequestId) -> Response<Payload> {
    // An informational status ends nothing: the caller would wait on.
    let chosen = StatusCode::from_u16(answer.status).ok().filter(|status| !status.is_informational());
    let unexplained = answer.headers.is_empty() && answer.body.is_empty() && chosen == Some(StatusCode::INTERNAL_SERVER_ERROR);
    let Some(status) = chosen.filter(|_| !unexplained) else {
        return failure(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error", id);
    };
    let Some(headers) = headers(&answer.headers) else { return json(status, answer.body) };
    let mut response = Response::new(Payload::Whole(Some(answer.body)));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// The headers that a function asked for; `None` where it asked for none. One that HTTP does not allow, or that is the gateway's own, is
/// left out, as the worker has told. A value is latin-1, as it is for ASGI.
fn headers(json: &[u8]) -> Option<HeaderMap> {
    if json.is_empty() {
        return None;
    }
    let pairs: Vec<(String, String)> = serde_json::from_slice(json).ok()?;
    let mut headers = HeaderMap::with_capacity(pairs.len() + 1);
    for (name, value) in pairs {
        let Ok(value) = value.chars().map(u8::try_from).collect::<Result<Vec<_>, _>>() else { continue };
        let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) else { continue };
        let ours = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION, header::UPGRADE];
        if !ours.contains(&name) {
            headers.append(name, value);
        }
    }
    Some(headers)
}

/// The response to a HEAD, made of that to the GET: all but the body.
pub(crate) fn without_body(response: Response<Payload>) -> Response<Payload> {
    let (mut head, body) = response.into_parts();
    let may_have_length = !matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    // A mounted service may have answered without a body already.
    if let Some(length) = body.size_hint().exact().filter(|_| may_have_length && !head.headers.contains_key(header::CONTENT_LENGTH)) {
        head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(head, Payload::Whole(None))
}
