//! `flash deploy`: builds a project, and has a server serve it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use flash_api::{Change, Changes, DeployRequest};
use flash_build::Artifact;
use flash_manifest::{EnvironmentName, FlashToml, Overrides};

use crate::background;
use crate::build;
use crate::client::{Client, segment};
use crate::connection::Connection;
use crate::output::{print, print_json};
use crate::project;
use crate::report::{Failure, Fault, Trouble};
use crate::rollout;

/// What the user asked for.
#[derive(clap::Args)]
pub struct Arguments {
    /// A project's directory, or one of its Python files
    #[arg(default_value = ".")]
    path: PathBuf,
    /// The environment; without it the app's only one, or `production`
    #[arg(long, env = "FLASH_ENV", value_name = "NAME")]
    env: Option<String>,
    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    options: build::Options,
    #[command(flatten)]
    connection: Connection,
}

/// Builds, uploads, and waits until the new build serves.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let artifact = build::build(&arguments.path, &arguments.options, None)?;
    let (_, settings) = flash_scan::settings(&arguments.path).map_err(|problems| Failure::told(Fault::Request, problems))?;
    let named = project::environment(arguments.env.as_deref())?;
    let client = background::client(&arguments.connection.within(&settings, named.as_ref()))?;
    client.server()?;
    let app = artifact.manifest.app.as_str();
    let environment = rollout::environment(&client, app, arguments.env.as_deref())?;
    let environment: EnvironmentName = environment.parse().map_err(|problem| Failure::told(Fault::Usage, vec![problem]))?;
    if named.is_none() {
        arguments.connection.agrees(&settings, &environment)?;
    }
    let endpoints = overrides(&settings, &artifact, &environment);
    client.upload(&artifact.digest, &artifact.path)?;
    let path = format!("/apps/{}/environments/{}/deployments", segment(app), segment(environment.as_str()));
    let request = DeployRequest { build: artifact.digest.clone(), endpoints, dry_run: arguments.dry_run };
    if arguments.dry_run {
        return foresee(&client, &path, &request, arguments.json);
    }
    rollout::begin(&client, &path, &request, "Deployed", arguments.json)
}

/// What `flash.toml` sets for the build's endpoints in an environment.
fn overrides(settings: &FlashToml, artifact: &Artifact, environment: &EnvironmentName) -> BTreeMap<String, Overrides> {
    let names = artifact.manifest.endpoints.iter().map(|endpoint| endpoint.name.as_str());
    let set = names.map(|name| (name.to_owned(), settings.overrides(name, Some(environment))));
    set.filter(|(_, overrides)| *overrides != Overrides::default()).collect()
}

/// Tells what a deployment would change.
fn foresee(client: &Client, path: &str, request: &DeployRequest, json: bool) -> Result<(), Failure> {
    let Changes { changes, problems } = client.post(path, request)?;
    if json {
        print_json(&Changes { changes, problems: problems.clone() })?;
    } else {
        print(&changes.iter().map(line).collect::<String>())?;
    }
    let troubles: Vec<_> = problems.into_iter().map(|problem| Trouble::new(problem.title, problem.detail, problem.remedy)).collect();
    if troubles.is_empty() { Ok(()) } else { Err(Failure::all(Fault::Request, troubles)) }
}

fn line(change: &Change) -> String {
    match change {
        Change::Create { endpoint } => format!("  create  {endpoint}\n"),
        Change::Update { endpoint, what } => format!("  update  {endpoint}: {}\n", what.join(", ")),
        Change::Keep { endpoint } => format!("  keep    {endpoint}\n"),
        Change::Remove { endpoint } => format!("  remove  {endpoint}\n"),
    }
}
