//! Endpoints as they are served.

use axum::Json;
use flash_api::Endpoint;
use http::{StatusCode, Uri};

use super::document::{Kind, Parameter};
use super::{Named, Names, Shared, no_content, query};
use crate::control::Place;
use crate::refusal::Refusal;

/// What a query for them may have.
pub(super) const QUERY: &[Parameter] = &[
    Parameter { name: "app", about: "Those of this app.", kind: Kind::Text },
    Parameter { name: "environment", about: "Those that are deployed to an environment of this name.", kind: Kind::Text },
    Parameter { name: "name", about: "Those of this name.", kind: Kind::Text },
];

pub(super) async fn list(control: Shared, uri: Uri) -> Result<Json<Vec<Endpoint>>, Refusal> {
    let query = query(&uri, QUERY)?;
    let asked = |name: &str, value: &str| query.get(name).is_none_or(|asked| asked == value);
    let mut endpoints = control.endpoints();
    endpoints
        .retain(|endpoint| asked("app", &endpoint.app) && asked("environment", &endpoint.environment) && asked("name", &endpoint.name));
    Ok(Json(endpoints))
}

pub(super) async fn find(control: Shared, Names(named): Names<Named>) -> Result<Json<Endpoint>, Refusal> {
    let (Place { app, environment }, name) = (named.place()?, named.get("name")?);
    let found = control
        .endpoints()
        .into_iter()
        .find(|endpoint| endpoint.app == app && endpoint.environment == environment && endpoint.name == name);
    found.map(Json).ok_or(Refusal::Unknown { what: "endpoint", name })
}

pub(super) async fn remove(control: Shared, Names(named): Names<Named>) -> Result<StatusCode, Refusal> {
    let (place, name) = (named.place()?, named.get("name")?);
    let _changing = control.change(&place)?;
    let (asked, wanted) = (place, name.clone());
    let removed = control.ask(move |store| store.remove_endpoint(&asked.app, &asked.environment, &wanted)).await?;
    control.take_down(vec![removed.ok_or(Refusal::Unknown { what: "endpoint", name })?]).await?;
    Ok(no_content())
}
