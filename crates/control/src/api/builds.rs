//! Builds: sent once, and known by their digests.

use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use flash_api::Build;
use http::StatusCode;
use tokio::sync::mpsc;

use super::body::Pieces;
use super::{Named, Names, Shared};
use crate::builds::{is_digest, system};
use crate::clock;
use crate::control::blocking;
use crate::refusal::Refusal;

/// The longest artifact.
const ARTIFACT: u64 = 1 << 30;
/// Pieces of an upload that may wait for the disk.
const WAITING: usize = 16;

pub(super) async fn list(control: Shared) -> Result<Json<Vec<Build>>, Refusal> {
    let builds = control.ask(|store| store.builds()).await?;
    Ok(Json(builds.into_iter().map(shown).collect()))
}

pub(super) async fn find(control: Shared, Names(named): Names<Named>) -> Result<Json<Build>, Refusal> {
    let digest = digest(&named)?;
    let found = known(&control, &digest).await?;
    found.map(|build| Json(shown(build))).ok_or(Refusal::Unknown { what: "build", name: digest })
}

pub(super) async fn upload(control: Shared, Names(named): Names<Named>, body: Body) -> Result<Response, Refusal> {
    let digest = digest(&named)?;
    let mut pieces = Pieces::new(body, ARTIFACT)?;
    if let Some(build) = known(&control, &digest).await? {
        while pieces.next().await?.is_some() {} // it was asked for in vain, and its sender waits for its end
        return Ok((StatusCode::OK, Json(shown(build))).into_response());
    }
    let (sender, mut waiting) = mpsc::channel::<bytes::Bytes>(WAITING);
    let shared = control.0.clone();
    let written = tokio::task::spawn_blocking(move || {
        let mut incoming = shared.builds.receive()?;
        while let Some(piece) = waiting.blocking_recv() {
            incoming.write(&piece)?;
        }
        Ok(incoming)
    });
    while let Some(piece) = pieces.next().await? {
        if sender.send(piece).await.is_err() {
            break; // it could not be written, which is told below
        }
    }
    drop(sender);
    let incoming = written.await.expect("writing does not panic").map_err(|cause| system(&cause))?;
    let build = control.work(move |control| control.keep(incoming, digest)).await?;
    Ok((StatusCode::CREATED, Json(shown(build))).into_response())
}

async fn known(control: &Shared, digest: &str) -> Result<Option<flash_store::Build>, Refusal> {
    let (shared, digest) = (control.0.clone(), digest.to_owned());
    blocking(move || shared.build(&digest)).await
}

fn digest(named: &Named) -> Result<String, Refusal> {
    let text = named.text("digest");
    if is_digest(text) {
        return Ok(text.to_owned());
    }
    let name = text.chars().take(100).collect();
    Err(Refusal::BadName { what: "digest", name, why: "it is a SHA-256: 64 hexadecimal digits, in lower case".into() })
}

fn shown(build: flash_store::Build) -> Build {
    let flash_store::Build { digest, bytes, app, endpoints, created } = build;
    Build { digest, bytes, app, endpoints, created: clock::text(created) }
}
