//! `flash status`: how endpoints do.

use std::time::Duration;

use flash_api::{App, Deployment, Endpoint, EndpointState, Function, JobCounts, Server, WorkerCounts};
use owo_colors::OwoColorize as _;

use crate::client::Client;
use crate::connection::{Connection, endpoint, given, is_in};
use crate::output::{json, print, short, table};
use crate::report::{Failure, Fault, Trouble};
use crate::rollout::waits_for;

/// What the user asked for.
#[derive(clap::Args)]
pub struct Arguments {
    /// An endpoint's name or id; without it, all of the server's
    endpoint: Option<String>,
    /// Only those of this app
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// Only those in this environment
    #[arg(long, env = "FLASH_ENV", value_name = "NAME")]
    env: Option<String>,
    /// Show it anew each second, until Ctrl-C
    #[arg(short, long)]
    watch: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

const INTERVAL: Duration = Duration::from_secs(1);

/// Moves to the upper left, and clears what is below.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Shows it once, or again and again.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let client = crate::project::connection(&arguments.connection, arguments.env.as_deref())?.client()?;
    loop {
        let text = look(arguments, &client)?;
        if !arguments.watch {
            return print(&text);
        }
        print(&if arguments.json { text } else { format!("{CLEAR}{text}") })?;
        std::thread::sleep(INTERVAL);
    }
}

fn look(arguments: &Arguments, client: &Client) -> Result<String, Failure> {
    let (app, environment) = (arguments.app.as_deref(), arguments.env.as_deref());
    if let Some(named) = &arguments.endpoint {
        let found = endpoint(client, named, app, environment)?;
        return Ok(if arguments.json { json(&found) } else { detail(&found, &isolation(client)?) });
    }
    let mut all = client.endpoints("")?;
    let somewhere = std::mem::take(&mut all);
    all = somewhere.iter().filter(|found| is_in(found, app, environment)).cloned().collect();
    let asked = [given(app).map(|name| format!("app {name}")), given(environment).map(|name| format!("environment {name}"))];
    let asked = asked.into_iter().flatten().collect::<Vec<_>>().join(", ");
    if all.is_empty() && !asked.is_empty() && !is_known(client, app, environment) {
        return Err(unknown(client, &asked, &somewhere));
    }
    if arguments.json {
        return Ok(json(&all));
    }
    let place = if asked.is_empty() { String::new() } else { format!(" of {asked}") };
    let names = ["ENDPOINT", "APP", "ENVIRONMENT", "STATE", "WORKERS", "IN FLIGHT", "IN QUEUE", "BUILD", "URL"];
    let mut text = table(&names, all.iter().map(row).collect(), &format!("nothing{place} is deployed at {}", client.url()));
    let meant = |deployment: &&Deployment| {
        given(app).is_none_or(|app| deployment.app == app) && given(environment).is_none_or(|name| deployment.environment == name)
    };
    let rolling: Vec<Deployment> = client.get("/deployments")?;
    text.extend(rolling.iter().filter(meant).map(rolls));
    if !all.is_empty() {
        text += &format!("isolation of workers: {}\n", isolation(client)?);
    }
    Ok(text)
}

/// A deployment that is under way.
fn rolls(deployment: &Deployment) -> String {
    let Deployment { id, app, environment, build, created, .. } = deployment;
    let (build, waits_for) = (short(build), waits_for(deployment));
    format!("deployment {id} of {app} to {environment} rolls since {created}, build {build}: {waits_for} (flash deploy --cancel {id})\n")
}

/// Whether the server has such an app and environment, though nothing be deployed there. Who may only call endpoints is not told.
fn is_known(client: &Client, app: Option<&str>, environment: Option<&str>) -> bool {
    let apps: Vec<App> = client.get("/apps").unwrap_or_default();
    let mut asked = apps.iter().filter(|found| given(app).is_none_or(|name| found.name == name));
    let has = |found: &App| given(environment).is_none_or(|name| found.environments.iter().any(|environment| environment.name == name));
    asked.any(has)
}

fn unknown(client: &Client, asked: &str, somewhere: &[Endpoint]) -> Failure {
    let mut places: Vec<_> =
        somewhere.iter().map(|endpoint| format!("app {}, environment {}", endpoint.app, endpoint.environment)).collect();
    places.sort();
    places.dedup();
    let (why, remedy) = match places.is_empty() {
        true => (format!("nothing is deployed at {}", client.url()), "deploy it: `flash deploy`"),
        false => (format!("the server at {} serves\n{}", client.url(), places.join("\n")), "name one of these, or see `flash app list`"),
    };
    Failure::new(Fault::Request, Trouble::new(format!("no {asked}"), why, remedy))
}

/// The level that keeps workers apart from the rest of the machine.
fn isolation(client: &Client) -> Result<String, Failure> {
    let server: Server = client.get("/server")?;
    Ok(server.isolation)
}

fn row(endpoint: &Endpoint) -> Vec<String> {
    let Endpoint { id, app, environment, state, workers, build, url, jobs, .. } = endpoint;
    let (app, environment, build, url) = (app.clone(), environment.clone(), short(build).to_owned(), url.clone());
    let (in_flight, in_queue) = match jobs {
        Some(jobs) => (jobs.in_progress, jobs.in_queue.to_string()),
        None => (workers.in_flight.into(), String::new()),
    };
    vec![id.clone(), app, environment, name(*state).into(), shown(workers), in_flight.to_string(), in_queue, build, url]
}

/// All there is to say of one endpoint, a line each.
fn detail(endpoint: &Endpoint, isolation: &str) -> String {
    let Endpoint {
        id,
        name: own,
        app,
        environment,
        url,
        build,
        state,
        error,
        workers,
        jobs,
        timeout_ms,
        public,
        functions,
        remarks,
        rolling,
    } = endpoint;
    let access = if *public { "anybody" } else { "this machine, and those with a key" };
    let mut lines = vec![
        ("endpoint", if id == own { id.clone() } else { format!("{id} ({own})") }),
        ("app", format!("{app}, environment {environment}")),
        ("url", url.cyan().to_string()),
        ("state", name(*state).into()),
    ];
    lines.extend(error.iter().map(|error| ("error", error.trim_end().replace('\n', "\n             "))));
    lines.push(("workers", shown(workers)));
    lines.push(match jobs {
        None => ("requests", format!("{} in flight, {} waiting", workers.in_flight, workers.waiting)),
        Some(JobCounts { in_queue, in_progress, completed, failed, retried }) => {
            ("jobs", format!("{in_queue} in queue, {in_progress} in progress, {completed} completed, {failed} failed; {retried} retried"))
        }
    });
    lines.push(("time limit", format!("{} s", *timeout_ms as f64 / 1000.0)));
    lines.push(("open to", access.into()));
    lines.push(("isolation", isolation.to_owned()));
    lines.push(("build", build.clone()));
    lines.extend(rolling.map(|rolling| ("rolling", format!("deployment {rolling}, which may replace it"))));
    lines.extend(remarks.iter().map(|remark| ("note", remark.clone())));
    let mut text: String = lines.into_iter().map(|(name, value)| format!("{name:>10}   {value}\n")).collect();
    for Function { name, module, method, path, .. } in functions {
        let route = method.iter().chain(path).cloned().collect::<Vec<_>>().join(" ");
        text += &format!("{:>10}   {route}   {}\n", "", format!("{module}.{name}").dimmed());
    }
    text
}

fn name(state: EndpointState) -> &'static str {
    match state {
        EndpointState::Starting => "starting",
        EndpointState::Ready => "ready",
        EndpointState::CrashLoop => "crash loop",
        EndpointState::Failed => "failed",
    }
}

fn shown(workers: &WorkerCounts) -> String {
    let starting = if workers.starting > 0 { format!(" and {} starting", workers.starting) } else { String::new() };
    format!("{}{starting}, {} to {}", workers.ready, workers.min, workers.max)
}
