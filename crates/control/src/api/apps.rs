//! Apps and their environments.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use flash_api::{App, Environment};
use http::StatusCode;

use super::{Named, Names, Shared, no_content};
use crate::clock;
use crate::control::Place;
use crate::refusal::Refusal;

pub(super) async fn list(control: Shared) -> Result<Json<Vec<App>>, Refusal> {
    let apps = control.ask(|store| Ok((store.apps()?, store.environments(None)?))).await?;
    Ok(Json(shown(&control, apps)))
}

pub(super) async fn find(control: Shared, Names(named): Names<Named>) -> Result<Json<App>, Refusal> {
    app(&control, &named.get("app")?).await.map(Json)
}

pub(super) async fn environments(control: Shared, Names(named): Names<Named>) -> Result<Json<Vec<Environment>>, Refusal> {
    Ok(Json(app(&control, &named.get("app")?).await?.environments))
}

pub(super) async fn environment(control: Shared, Names(place): Names<Place>) -> Result<Json<Environment>, Refusal> {
    find_environment(&control, &place).await.map(Json)
}

pub(super) async fn make_environment(control: Shared, Names(place): Names<Place>) -> Result<Response, Refusal> {
    let asked = place.clone();
    let new = control.ask(move |store| store.make_environment(&asked.app, &asked.environment, clock::now())).await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(find_environment(&control, &place).await?)).into_response())
}

pub(super) async fn remove_environment(control: Shared, Names(place): Names<Place>) -> Result<StatusCode, Refusal> {
    let _changing = control.change(&place)?;
    let asked = place.clone();
    let removed = control.ask(move |store| store.remove_environment(&asked.app, &asked.environment)).await?;
    let Some(forgotten) = removed else {
        find_environment(&control, &place).await?; // which says what there is
        return Err(Refusal::Unknown { what: "environment", name: place.environment });
    };
    control.take_down(forgotten).await?;
    Ok(no_content())
}

pub(super) async fn remove(control: Shared, Names(named): Names<Named>) -> Result<StatusCode, Refusal> {
    let name = named.get("app")?;
    let environments = app(&control, &name).await?.environments;
    // All of them, so that nothing of it is deployed meanwhile.
    let places = environments.into_iter().map(|environment| Place { app: name.clone(), environment: environment.name });
    let _changing = places.map(|place| control.change(&place)).collect::<Result<Vec<_>, _>>()?;
    let asked = name.clone();
    let removed = control.ask(move |store| store.remove_app(&asked)).await?;
    control.take_down(removed.ok_or(Refusal::Unknown { what: "app", name })?).await?;
    Ok(no_content())
}

async fn app(control: &Shared, name: &str) -> Result<App, Refusal> {
    let asked = name.to_owned();
    let (mut apps, environments) = control.ask(move |store| Ok((store.apps()?, store.environments(Some(&asked))?))).await?;
    apps.retain(|app| app.name == name);
    shown(control, (apps, environments)).pop().ok_or_else(|| Refusal::Unknown { what: "app", name: name.to_owned() })
}

pub(super) async fn find_environment(control: &Shared, place: &Place) -> Result<Environment, Refusal> {
    let environments = app(control, &place.app).await?.environments;
    let there = environments.iter().map(|environment| environment.name.clone()).collect();
    let found = environments.into_iter().find(|environment| environment.name == place.environment);
    found.ok_or_else(|| {
        let Place { app, environment } = place.clone();
        Refusal::NoEnvironment { app, environment, there }
    })
}

fn shown(control: &Shared, (apps, environments): (Vec<flash_store::App>, Vec<flash_store::Environment>)) -> Vec<App> {
    let serving = control.serving();
    let shown = |environment: &flash_store::Environment| {
        let here =
            |deployed: &&crate::control::Deployed| deployed.place.app == environment.app && deployed.place.environment == environment.name;
        Environment {
            name: environment.name.clone(),
            app: environment.app.clone(),
            created: clock::text(environment.created),
            deployment: environment.current.as_ref().map(|(id, _)| *id),
            build: environment.current.as_ref().map(|(_, build)| build.clone()),
            rolling: control.rolling_in(&Place { app: environment.app.clone(), environment: environment.name.clone() }),
            endpoints: serving.deployed.values().filter(here).map(|deployed| deployed.name.clone()).collect(),
        }
    };
    let app = |app: flash_store::App| {
        let environments = environments.iter().filter(|environment| environment.app == app.name).map(shown).collect();
        App { name: app.name, created: clock::text(app.created), environments }
    };
    apps.into_iter().map(app).collect()
}
