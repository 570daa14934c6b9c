//! `/execute`: live calls, for the script that owns the session and for workers of the same host; in the reference's format, for its
//! programs.
//!
//! Whoever gets here runs code of their own as this user. So it exists only where live calls are on, on a loopback listener, for
//! requests with the session's token; never for one that a browser sends (`Origin`).

use std::net::IpAddr;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use flash_workers::{Call, Cancel};
use http::{HeaderValue, Method, Response, StatusCode, header, request::Parts};
use hyper::body::Incoming;
use tokio::sync::mpsc::unbounded_channel;

use crate::answer::{self, Payload, detail};
use crate::body::Bodies;
use crate::endpoint::Endpoint;
use crate::gateway::Gateway;
use crate::preparation::Preparing;
use crate::request_id::RequestId;

/// How long the call may take, in milliseconds.
const TIMEOUT: &str = "x-flash-timeout-ms";
/// Given where the endpoint is queue-based: how many calls may be in flight on one worker. The others wait, and their time has not begun.
const SLOTS: &str = "x-flash-slots";
/// Given where the endpoint's resource says so.
const CANCEL_ON_DISCONNECT: &str = "x-flash-cancel-on-disconnect";

/// How long a call of a queue-based endpoint may take, unless it says so.
const QUEUED_TIMEOUT: Duration = Duration::from_secs(600);

/// How a live call is written (`docs/wire.md`).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    /// The SDK's: bytes, answered with records as they come.
    Records,
    /// The reference's: JSON, answered once.
    Json,
}

/// The number of a request, for the log, and its id, for the caller.
pub(crate) type Tag<'a> = (u64, &'a RequestId);

pub(crate) async fn answer(gateway: &Gateway, name: &str, head: &Parts, body: Incoming, local: IpAddr, tag: Tag<'_>) -> Response<Payload> {
    let Some(token) = gateway.token().filter(|_| local.is_loopback()) else {
        return detail(StatusCode::NOT_FOUND, "Not Found");
    };
    if head.headers.contains_key(header::ORIGIN) {
        return detail(StatusCode::FORBIDDEN, "live calls are not for browsers");
    }
    if !has_token(head, token) {
        return detail(StatusCode::UNAUTHORIZED, "live calls take the session's token");
    }
    let slots = slots(head);
    let Some(endpoint) = gateway.live_endpoint(name, slots).filter(|endpoint| endpoint.is_live()) else {
        return detail(StatusCode::NOT_FOUND, &format!("no live endpoint is called `{name}`"));
    };
    if head.method != Method::POST {
        let mut response = detail(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    let Some(format) = format(head) else {
        return detail(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "a live call is `application/x-flash-call`, as the SDK of openflash sends it, or `application/json`",
        );
    };
    let limit = match format {
        Format::Records => gateway.settings.call_bytes,
        Format::Json => gateway.settings.body_bytes,
    };
    let calls = Bodies::new(usize::MAX);
    let body = match gateway.read(body, limit, &mut calls.room()).await {
        Ok(body) => body,
        Err(unread) => return unread.response(limit, detail),
    };
    match format {
        Format::Records => records(gateway, &endpoint, head, body),
        Format::Json => json(&endpoint, &body, tag).await,
    }
}

fn slots(head: &Parts) -> Option<usize> {
    head.headers.get(SLOTS).and_then(|value| value.to_str().ok()?.parse().ok())
}

fn format(head: &Parts) -> Option<Format> {
    let named = head.headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let essence = named.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/x-flash-call") {
        Some(Format::Records)
    } else if essence.eq_ignore_ascii_case("application/json") {
        Some(Format::Json)
    } else {
        None
    }
}

fn records(gateway: &Gateway, endpoint: &Endpoint, head: &Parts, mut body: Bytes) -> Response<Payload> {
    if body.len() < 4 {
        return detail(StatusCode::BAD_REQUEST, "the body of a live call begins with its context");
    }
    let length = body.get_u32_le() as usize;
    if body.len() < length {
        return detail(StatusCode::BAD_REQUEST, "the body of a live call ends within its context");
    }
    let context = body.split_to(length);
    if context.len() > flash_wire::MAX_PAYLOAD {
        return detail(StatusCode::PAYLOAD_TOO_LARGE, "the caller's environment and paths are longer than the 1 MiB that a worker takes");
    }
    if context.is_empty() && !endpoint.pool.has_context() {
        return detail(StatusCode::PRECONDITION_REQUIRED, "this endpoint's first call brings the caller's context");
    }
    let timeout = head.headers.get(TIMEOUT).and_then(|value| value.to_str().ok()?.parse().ok()).map(Duration::from_millis);
    let cancel = if head.headers.contains_key(CANCEL_ON_DISCONNECT) { Cancel::Anyway } else { Cancel::UnlessBegun };
    let queued = slots(head).is_some();
    let timeout = timeout.or(queued.then_some(QUEUED_TIMEOUT));
    let call = Call { body, timeout, queued, cancel };
    let mut response = Response::new(begin(gateway, endpoint, context, call));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-flash-records"));
    response
}

/// Gives the call to the endpoint's worker, or has it prepared first.
fn begin(gateway: &Gateway, endpoint: &Endpoint, context: Bytes, call: Call) -> Payload {
    if context.is_empty() {
        return Payload::call(endpoint, call);
    }
    if let Some(prepare) = &gateway.prepare {
        let (sender, notes) = unbounded_channel();
        if let Some(prepared) = prepare(&endpoint.name, &context, sender) {
            return Payload::Preparing(Preparing::new(prepared, notes, call));
        }
    }
    endpoint.pool.set_context(context);
    Payload::call(endpoint, call)
}

/// Its caller has no context to bring: it sends the function's source, and what that imports.
async fn json(endpoint: &Endpoint, body: &Bytes, (tag, id): Tag<'_>) -> Response<Payload> {
    let mut call = BytesMut::with_capacity(size_of::<u32>() + body.len());
    call.put_u32_le(0); // no head, which tells the worker
    call.put_slice(body);
    let outcome = endpoint.pool.call_once(call.freeze(), tag).await;
    answer::outcome(&endpoint.name, outcome, endpoint.pool.timeout(), id)
}

/// Compares in a time that does not depend on where the two differ.
fn has_token(head: &Parts, token: &str) -> bool {
    let given = head.headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    given.is_some_and(|given| {
        given.len() == token.len() && given.iter().zip(token.as_bytes()).fold(0, |differs, (left, right)| differs | (left ^ right)) == 0
    })
}
