//! The server itself.

use axum::Json;
use axum::response::IntoResponse;
use flash_api::Server;
use http::{StatusCode, header};

use super::Shared;
use crate::clock;

pub(super) async fn about(control: Shared) -> Json<Server> {
    let about = &control.about;
    Json(Server {
        version: about.version.clone(),
        pid: std::process::id(),
        addresses: about.addresses.clone(),
        started: clock::text(about.started),
        python: about.python.clone(),
        isolation: control.apart.level().to_string(),
        drain_ms: about.drain.as_millis().try_into().unwrap_or(u64::MAX),
    })
}

/// What this API is, for programs.
pub(super) async fn document(control: Shared) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], control.document.clone())
}

pub(super) async fn stop(control: Shared) -> StatusCode {
    control.stop();
    StatusCode::ACCEPTED
}
