//! The server itself.

use axum::Json;
use flash_api::Server;
use http::StatusCode;

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
    })
}

pub(super) async fn stop(control: Shared) -> StatusCode {
    control.stop();
    StatusCode::ACCEPTED
}
