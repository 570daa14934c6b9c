//! Bodies of requests: read within limits, and as what they are.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::{Bytes, BytesMut};
use http::header;
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;

use crate::control::Control;
use crate::refusal::Refusal;

/// The longest body of JSON: settings of many endpoints fit in by far.
const JSON: u64 = 1 << 20;
/// Who sends nothing for so long sends nothing more.
const PATIENCE: Duration = Duration::from_secs(30);

/// A body of JSON, as the type that it is to be.
pub(super) struct Sent<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Arc<Control>> for Sent<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &Arc<Control>) -> Result<Self, Refusal> {
        let named = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !named.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
            return Err(Refusal::NotJson);
        }
        let mut body = Pieces::new(request.into_body(), JSON)?;
        let mut text = BytesMut::new();
        while let Some(piece) = body.next().await? {
            text.extend_from_slice(&piece);
        }
        serde_json::from_slice(&text).map(Self).map_err(|error| Refusal::BadBody { why: error.to_string() })
    }
}

/// A body as it comes.
pub(super) struct Pieces {
    body: Body,
    left: u64,
    limit: u64,
}

impl Pieces {
    pub(super) fn new(body: Body, limit: u64) -> Result<Self, Refusal> {
        let announced = hyper::body::Body::size_hint(&body).lower();
        if announced > limit { Err(Refusal::TooLarge { limit }) } else { Ok(Self { body, left: limit, limit }) }
    }

    /// The next piece; `None` at its end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await.map_err(|_| Refusal::Slow)?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| Refusal::BrokenOff { why: error.to_string() })?;
            let Ok(piece) = frame.into_data() else { continue }; // trailers
            self.left = self.left.checked_sub(piece.len() as u64).ok_or(Refusal::TooLarge { limit: self.limit })?;
            return Ok(Some(piece));
        }
    }
}
