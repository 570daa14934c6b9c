//! `/execute`: live calls, for the script that owns the session and for workers of the same host.
//!
//! Whoever gets here runs code of their own as this user. So it exists only where live calls are on, on a loopback listener, for
//! requests with the session's token; never for one that a browser sends (`Origin`).

use std::net::IpAddr;
use std::time::Duration;

use bytes::Buf;
use flash_workers::Call;
use http::{HeaderValue, Method, Response, StatusCode, header, request::Parts};
use hyper::body::Incoming;

use crate::answer::{Payload, detail};
use crate::gateway::Gateway;

/// How long the call may take, in milliseconds.
const TIMEOUT: &str = "x-flash-timeout-ms";

pub(crate) async fn answer(gateway: &Gateway, name: &str, head: &Parts, body: Incoming, local: IpAddr) -> Response<Payload> {
    let Some(token) = gateway.token().filter(|_| local.is_loopback()) else {
        return detail(StatusCode::NOT_FOUND, "Not Found");
    };
    if head.headers.contains_key(header::ORIGIN) {
        return detail(StatusCode::FORBIDDEN, "live calls are not for browsers");
    }
    if !has_token(head, token) {
        return detail(StatusCode::UNAUTHORIZED, "live calls take the session's token");
    }
    let Some(endpoint) = gateway.live_endpoint(name).filter(|endpoint| endpoint.is_live()) else {
        return detail(StatusCode::NOT_FOUND, &format!("no live endpoint is called `{name}`"));
    };
    if head.method != Method::POST {
        let mut response = detail(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    let mut body = match gateway.read(body, gateway.settings.call_bytes).await {
        Ok(body) => body,
        Err(response) => return response,
    };
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
    if !context.is_empty() {
        endpoint.pool.set_context(context);
    } else if !endpoint.pool.has_context() {
        return detail(StatusCode::PRECONDITION_REQUIRED, "this endpoint's first call brings the caller's context");
    }
    let timeout = head.headers.get(TIMEOUT).and_then(|value| value.to_str().ok()?.parse().ok()).map(Duration::from_millis);
    let events = endpoint.pool.call(Call { body, timeout });
    let timeout = timeout.unwrap_or(endpoint.pool.timeout());
    let mut response = Response::new(Payload::Records { events, endpoint: name.to_owned(), timeout, ended: false });
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-flash-records"));
    response
}

/// Compares in a time that does not depend on where the two differ.
fn has_token(head: &Parts, token: &str) -> bool {
    let given = head.headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    given.is_some_and(|given| {
        given.len() == token.len() && given.iter().zip(token.as_bytes()).fold(0, |differs, (left, right)| differs | (left ^ right)) == 0
    })
}
