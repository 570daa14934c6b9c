//! Deployments: asked for, watched, taken back.

use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use flash_api::{DeployRequest, Deployment, DeploymentState, Event, RollbackRequest};
use flash_store::State;
use http::{StatusCode, Uri};

use super::body::Sent;
use super::document::{Kind, Parameter};
use super::{Named, Names, Shared, query};
use crate::builds::is_digest;
use crate::clock;
use crate::control::{Control, Place};
use crate::refusal::Refusal;
use crate::rollout::Order;

/// The longest that an answer is waited for.
const LONGEST: Duration = Duration::from_secs(60);
/// The longest that the end of what is cancelled is waited for; its workers end at once, requests to one that was to be replaced may not.
const CANCELLED: Duration = Duration::from_secs(30);
/// What a query for one may have.
pub(super) const QUERY: &[Parameter] =
    &[Parameter { name: "wait", about: "How long the answer may wait for it to settle, in seconds: 60 at most.", kind: Kind::Seconds }];
/// So many deployments of an environment are listed, and looked through for one to go back to.
const LISTED: u32 = 100;

pub(super) async fn deploy(control: Shared, Names(place): Names<Place>, Sent(asked): Sent<DeployRequest>) -> Result<Response, Refusal> {
    if !is_digest(&asked.build) {
        return Err(Refusal::BadBody { why: "`build` is a SHA-256: 64 hexadecimal digits, in lower case".into() });
    }
    let order = Order { place, build: asked.build, settings: asked.endpoints };
    if asked.dry_run {
        return Ok(Json(control.changes(&order).await?).into_response());
    }
    let id = control.deploy(order).await?;
    Ok((StatusCode::ACCEPTED, Json(get(&control, id).await?)).into_response())
}

pub(super) async fn roll_back(
    control: Shared,
    Names(place): Names<Place>,
    Sent(asked): Sent<RollbackRequest>,
) -> Result<Response, Refusal> {
    let Place { app, environment } = place.clone();
    let all = control.ask(move |store| store.deployments(&app, &environment, LISTED)).await?;
    let serves = all.iter().find(|deployment| deployment.state == State::Current);
    let served = |build: &str| serves.is_some_and(|serves| serves.build == build);
    let mut earlier = all.iter().filter(|deployment| deployment.state == State::Superseded && control.builds.has(&deployment.build));
    let found = match &asked.to {
        Some(to) => {
            let named = |build: &str| build.starts_with(to.as_str());
            let matching: Vec<_> = serves.into_iter().chain(earlier).filter(|deployment| named(&deployment.build)).collect();
            let Some(found) = matching.first() else {
                return Err(Refusal::Unknown { what: "build", name: to.chars().take(64).collect() });
            };
            if matching.iter().any(|deployment| deployment.build != found.build) {
                let why = "several builds that were deployed there begin with it".to_owned();
                return Err(Refusal::BadName { what: "build", name: to.clone(), why });
            }
            if served(&found.build) {
                return Err(Refusal::ServesAlready { build: found.build.clone(), environment: place.environment });
            }
            *found
        }
        None => {
            // A build that was deployed again as it was is nothing to go back to.
            let differs = |deployment: &&flash_store::Deployment| {
                !served(&deployment.build) || serves.is_some_and(|serves| serves.settings != deployment.settings)
            };
            let Place { app, environment } = place.clone();
            earlier.find(differs).ok_or(Refusal::NothingBefore { app, environment })?
        }
    };
    let settings = serde_json::from_str(&found.settings).map_err(|error| Refusal::System {
        what: format!("the settings of deployment {} cannot be read", found.id),
        why: error.to_string(),
    })?;
    let id = control.deploy(Order { place, build: found.build.clone(), settings }).await?;
    Ok((StatusCode::ACCEPTED, Json(get(&control, id).await?)).into_response())
}

pub(super) async fn list(control: Shared, Names(place): Names<Place>) -> Result<Json<Vec<Deployment>>, Refusal> {
    super::apps::find_environment(&control, &place).await?;
    let deployments = control.ask(move |store| store.deployments(&place.app, &place.environment, LISTED)).await?;
    Ok(Json(deployments.into_iter().map(|deployment| shown(&control, deployment)).collect()))
}

/// Those that roll.
pub(super) async fn rolling(control: Shared) -> Result<Json<Vec<Deployment>>, Refusal> {
    let ids = control.rolling();
    let found = control.ask(move |store| ids.into_iter().map(|id| store.deployment(id)).collect::<flash_store::Result<Vec<_>>>()).await?;
    let rolling = found.into_iter().flatten().map(|deployment| shown(&control, deployment));
    Ok(Json(rolling.filter(|deployment| deployment.state == DeploymentState::Rolling).collect()))
}

pub(super) async fn cancel(control: Shared, Names(named): Names<Named>) -> Result<Json<Deployment>, Refusal> {
    let id = number(&named)?;
    if !control.cancel(id) {
        let state = match get(&control, id).await?.state {
            DeploymentState::Rolling => "about to end",
            DeploymentState::Current => "current",
            DeploymentState::Superseded => "superseded",
            DeploymentState::Failed => "failed",
        };
        return Err(Refusal::NotRolling { deployment: id, state });
    }
    settled(&control, id, CANCELLED).await.map(Json)
}

pub(super) async fn find(control: Shared, Names(named): Names<Named>, uri: Uri) -> Result<Json<Deployment>, Refusal> {
    let id = number(&named)?;
    let wait = match query(&uri, QUERY)?.get("wait") {
        Some(text) => text.parse::<u64>().map_err(|_| bad("wait", text, "it is a number of seconds, up to 60"))?,
        None => 0,
    };
    settled(&control, id, LONGEST.min(Duration::from_secs(wait))).await.map(Json)
}

/// The number of the deployment that is meant.
fn number(named: &Named) -> Result<u64, Refusal> {
    let text = named.text("deployment");
    text.parse().map_err(|_| bad("deployment", text, "deployments are numbered"))
}

fn bad(what: &'static str, name: &str, why: &str) -> Refusal {
    Refusal::BadName { what, name: name.chars().take(100).collect(), why: why.into() }
}

/// A deployment once it has settled, or the time is over.
async fn settled(control: &Shared, id: u64, within: Duration) -> Result<Deployment, Refusal> {
    let until = tokio::time::Instant::now() + within;
    let mut progress = control.progress.subscribe();
    loop {
        let deployment = get(control, id).await?;
        if deployment.state != DeploymentState::Rolling || control.is_stopping() {
            return Ok(deployment);
        }
        tokio::select! {
            changed = progress.changed() => changed.expect("the control that we hold keeps it"),
            () = tokio::time::sleep_until(until) => return Ok(deployment),
            () = control.stopped() => {}
        }
    }
}

async fn get(control: &Shared, id: u64) -> Result<Deployment, Refusal> {
    let found = control.ask(move |store| store.deployment(id)).await?;
    found.map(|deployment| shown(control, deployment)).ok_or_else(|| Refusal::Unknown { what: "deployment", name: id.to_string() })
}

fn shown(control: &Control, deployment: flash_store::Deployment) -> Deployment {
    let rolling = control.is_rolling(deployment.id);
    let state = match deployment.state {
        // Its traffic has not moved yet, whatever the store says.
        State::Rolling => DeploymentState::Rolling,
        State::Current if rolling => DeploymentState::Rolling,
        State::Current => DeploymentState::Current,
        State::Superseded => DeploymentState::Superseded,
        State::Failed => DeploymentState::Failed,
    };
    Deployment {
        id: deployment.id,
        app: deployment.app,
        environment: deployment.environment,
        build: deployment.build,
        state,
        created: clock::text(deployment.created),
        events: deployment.events.into_iter().map(|event| Event { time: clock::text(event.time), text: event.text }).collect(),
        problem: deployment.problem.and_then(|problem| serde_json::from_str(&problem).ok()),
        output: deployment.output.lines().map(str::to_owned).collect(),
    }
}
