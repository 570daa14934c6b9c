//! A deployment on its way: watched until it serves or has failed, and told.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use flash_api::{App, Deployment, DeploymentState, Endpoint};
use owo_colors::OwoColorize as _;
use serde::Serialize;

use crate::client::{Client, segment};
use crate::lines::{close_errors, to_errors};
use crate::output::{count, print, print_json, short};
use crate::report::{Failure, Fault, Trouble};
use crate::signals::Signals;

/// One question waits this long for the end.
const WAIT: Duration = Duration::from_secs(1);
/// What is done within this needs no words on the way.
const UNREMARKED: Duration = Duration::from_secs(1);

/// Where an app goes first, unless something else is said.
const PRODUCTION: &str = "production";

/// What `--json` answers.
#[derive(Serialize)]
struct Done<'a> {
    environment: &'a Environment,
    deployment: &'a Deployment,
    endpoints: &'a [Endpoint],
    /// What served before, and does no longer.
    removed: &'a [&'a str],
}

/// Where something is rolled out.
pub struct Place<'a> {
    /// The app.
    pub app: &'a str,
    /// The environment.
    pub environment: &'a Environment,
}

impl Place<'_> {
    /// A path of the control API, below the environment.
    pub fn path(&self, rest: &str) -> String {
        format!("/apps/{}/environments/{}/{rest}", segment(self.app), segment(&self.environment.name))
    }

    fn endpoints(&self, client: &Client) -> Result<Vec<Endpoint>, Failure> {
        client.endpoints(&format!("?app={}&environment={}", segment(self.app), segment(&self.environment.name)))
    }
}

/// The names of an app's environments; none where there is no such app.
pub fn environments(client: &Client, app: &str) -> Result<Vec<String>, Failure> {
    let found: Option<App> = client.find(&format!("/apps/{}", segment(app)))?;
    Ok(found.into_iter().flat_map(|app| app.environments).map(|environment| environment.name).collect())
}

/// An environment of an app that is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Environment {
    /// Its name.
    pub name: String,
    /// Whether it is not there yet.
    pub new: bool,
    /// One that is there, and is nearly called so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub similar: Option<String>,
    /// Those that are there.
    #[serde(skip)]
    pub there: Vec<String>,
}

impl Environment {
    /// A line for who has named one that is not there.
    pub fn remark(&self) -> Option<String> {
        let Self { name, new, similar, there } = self;
        let meant = similar.as_ref().map(|similar| format!("; did you mean {similar}?")).unwrap_or_default();
        // The first one of an app is no surprise, unless it has a name of its own.
        (*new && (!there.is_empty() || name != PRODUCTION)).then(|| format!("environment {name} is new{meant}"))
    }
}

/// The environment that is meant: the one that is named, else the app's only one, else `production` where there is none.
pub fn environment(client: &Client, app: &str, named: Option<&str>) -> Result<Environment, Failure> {
    let there = environments(client, app)?;
    if let Some(named) = named.filter(|named| !named.is_empty()) {
        let new = !there.iter().any(|name| name == named);
        let similar = flash_manifest::nearest(named, there.iter().map(String::as_str)).filter(|_| new).map(str::to_owned);
        return Ok(Environment { name: named.to_owned(), new, similar, there });
    }
    match &there[..] {
        [] => Ok(Environment { name: PRODUCTION.into(), new: true, similar: None, there }),
        [one] => Ok(Environment { name: one.clone(), new: false, similar: None, there }),
        several => {
            let why = format!("{app} has several: {}", several.join(", "));
            let remedy = format!("name one, as in --env {}", several[0]);
            Err(Failure::new(Fault::Usage, Trouble::new("which environment?", why, remedy)))
        }
    }
}

/// Asks for a deployment by `how`, watches it to its end, and tells what serves now, and what does no longer.
pub fn begin(client: &Client, place: &Place<'_>, how: &str, request: &impl Serialize, done: &str, json: bool) -> Result<(), Failure> {
    let began = Instant::now();
    let before = place.endpoints(client)?;
    let deployment = client.post(&place.path(how), request)?;
    let deployment = watch(client, deployment, began)?;
    if deployment.state == DeploymentState::Failed {
        return Err(failed(&deployment));
    }
    let Place { app, environment } = *place;
    let endpoints = place.endpoints(client)?;
    let serves = |name: &str| endpoints.iter().any(|endpoint| endpoint.name == name);
    let removed: Vec<&str> = before.iter().map(|endpoint| endpoint.name.as_str()).filter(|name| !serves(name)).collect();
    if json {
        return print_json(&Done { environment, deployment: &deployment, endpoints: &endpoints, removed: &removed });
    }
    let mut text = format!("{done} {app} to {} in {:.1}s\n", environment.name, began.elapsed().as_secs_f64());
    let width = endpoints.iter().map(|endpoint| endpoint.name.len()).max().unwrap_or_default();
    for Endpoint { name, url, functions, workers, remarks, .. } in &endpoints {
        let offers = count(functions.len(), if functions.iter().any(|function| function.method.is_some()) { "route" } else { "function" });
        text += &format!("  {name:width$}  {}  {offers}  workers {} now, up to {}\n", url.cyan(), workers.ready, workers.max);
        for remark in remarks {
            text += &format!("  {:width$}  note: {remark}\n", "");
        }
    }
    text.extend(environment.remark().map(|remark| format!("  note: {remark}\n")));
    text.extend(removed.iter().map(|name| format!("  {name:width$}  taken down\n")));
    print(&text)
}

/// Gives a deployment up that rolls, and tells how it has ended.
pub fn cancel(client: &Client, number: u64, json: bool) -> Result<(), Failure> {
    let deployment: Deployment = client.post(&format!("/deployments/{number}/cancel"), &())?;
    if json {
        return print_json(&deployment);
    }
    let Deployment { app, environment, .. } = &deployment;
    match deployment.state {
        DeploymentState::Failed => {
            print(&format!("Cancelled deployment {number} of {app} to {environment}: what served before serves on\n"))
        }
        DeploymentState::Rolling => print(&format!("Deployment {number} of {app} to {environment} is being cancelled: flash status\n")),
        DeploymentState::Current | DeploymentState::Superseded => {
            let why = "it was about to serve when that was asked for";
            Err(Failure::new(Fault::Request, Trouble::new(format!("deployment {number} serves"), why, "go back: flash rollback")))
        }
    }
}

/// Says what a deployment that rolls waits for.
pub fn waits_for(deployment: &Deployment) -> &str {
    deployment.events.last().map_or("its beginning", |event| &event.text)
}

/// Tells who interrupts this command that the server goes on, until what is returned is dropped.
#[expect(clippy::disallowed_methods, reason = "nothing of this command is left to be ended, and its main thread waits for an answer")]
fn tell_of_interruption(deployment: u64) -> Result<Watched, Failure> {
    let failed = |cause| Failure::system("cannot listen for signals", &cause);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let mut signals = runtime.block_on(async { Signals::new() }).map_err(failed)?;
    let watched = Watched(Arc::new(AtomicBool::new(true)));
    let watching = watched.0.clone();
    std::thread::spawn(move || {
        runtime.block_on(signals.next());
        if watching.load(Ordering::Acquire) {
            to_errors(&format!(
                "Deployment {deployment} goes on at the server: `flash status` shows how far it is, `flash deploy --cancel {deployment}` gives it up\n"
            ));
        }
        close_errors();
        process::exit(130); // as a shell says of who is interrupted
    });
    Ok(watched)
}

/// A deployment that this command waits for.
struct Watched(Arc<AtomicBool>);

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

fn unknown(deployment: &Deployment, failure: &Failure) -> Failure {
    let Deployment { id, environment, app, .. } = deployment;
    let Trouble { what, why, .. } = failure.first();
    let remedy = format!(
        "see what serves, once the server runs: flash status --app {app} --env {environment}; where it is not build {}, deploy it again",
        short(&deployment.build)
    );
    Failure::new(Fault::Request, Trouble::new(format!("how deployment {id} ended is not known"), format!("{what}: {why}"), remedy))
}

fn watch(client: &Client, mut deployment: Deployment, began: Instant) -> Result<Deployment, Failure> {
    let _watched = tell_of_interruption(deployment.id)?;
    let mut told = 0;
    while deployment.state == DeploymentState::Rolling {
        let path = format!("/deployments/{}?wait={}", deployment.id, WAIT.as_secs());
        deployment = client.get_within(&path, WAIT).map_err(|failure| unknown(&deployment, &failure))?;
        if began.elapsed() > UNREMARKED && deployment.state == DeploymentState::Rolling {
            for event in deployment.events.iter().skip(told) {
                to_errors(&format!("  {}\n", event.text.dimmed()));
            }
            told = deployment.events.len();
        }
    }
    Ok(deployment)
}

fn failed(deployment: &Deployment) -> Failure {
    let problem = deployment.problem.as_ref();
    let what = problem.map_or("the deployment failed", |problem| &problem.title);
    let why = problem.map_or("the server does not say why", |problem| &problem.detail);
    let remedy = problem.map_or("see `flash logs`", |problem| &problem.remedy);
    let mut trouble = Trouble::new(what, why, remedy);
    if !deployment.output.is_empty() {
        trouble.detail = Some(deployment.output.join("\n"));
    }
    Failure::new(Fault::Request, trouble)
}
