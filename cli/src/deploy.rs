//! `flash deploy`: builds a project, and has a server serve it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use flash_api::{Change, Changes, DeployRequest};
use flash_build::Artifact;
use flash_manifest::{EnvironmentName, FlashToml, Overrides};
use serde::Serialize;

use crate::background;
use crate::build;
use crate::connection::Connection;
use crate::lines::to_errors;
use crate::output::{print, print_json};
use crate::project;
use crate::prompt::ask;
use crate::report::{Failure, Fault, Trouble};
use crate::rollout::{self, Place};

/// What the user asked for.
#[derive(clap::Args)]
pub struct Arguments {
    /// A project's directory, or one of its Python files, which is then all that is deployed
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Deploy the whole project that the path belongs to; where it belongs to none, the path alone
    #[arg(long)]
    project: bool,
    /// The environment; without it the app's only one, or `production`
    #[arg(long, env = "FLASH_ENV", value_name = "NAME")]
    env: Option<String>,
    /// Give up a deployment that rolls, by its number (`flash status`), and deploy nothing
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["project", "dry_run", "yes"])]
    cancel: Option<u64>,
    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask before endpoints are taken down that are not in what is deployed
    #[arg(long)]
    yes: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    options: build::Options,
    #[command(flatten)]
    connection: Connection,
}

/// What `--dry-run --json` answers.
#[derive(Serialize)]
struct Foreseen<'a> {
    environment: &'a rollout::Environment,
    #[serde(flatten)]
    changes: Changes,
}

/// Builds, uploads, and waits until the new build serves.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    if let Some(number) = arguments.cancel {
        let client = project::connection(&arguments.connection, arguments.env.as_deref())?.client()?;
        return rollout::cancel(&client, number, arguments.json);
    }
    let whole = arguments.project.then(|| flash_scan::project(&arguments.path)).flatten();
    let path = whole.as_deref().unwrap_or(&arguments.path);
    let artifact = build::build(path, &arguments.options, None)?;
    let (root, settings) = flash_scan::settings(path).map_err(|problems| Failure::told(Fault::Request, problems))?;
    let named = project::environment(arguments.env.as_deref())?;
    let client = background::client(&arguments.connection.within(&settings, named.as_ref()))?;
    client.server()?;
    let app = artifact.manifest.app.as_str();
    let target = rollout::environment(&client, app, arguments.env.as_deref())?;
    let environment: EnvironmentName = target.name.parse().map_err(|problem| Failure::told(Fault::Usage, vec![problem]))?;
    if named.is_none() {
        arguments.connection.agrees(&settings, &environment)?;
    }
    let endpoints = overrides(&settings, &artifact, &environment);
    client.upload(&artifact.digest, &artifact.path)?;
    let place = Place { app, environment: &target };
    let mut request = DeployRequest { build: artifact.digest.clone(), endpoints, dry_run: true };
    let foreseen: Changes = client.post(&place.path("deployments"), &request)?;
    if arguments.dry_run {
        return tell(foreseen, &target, arguments.json);
    }
    let is_whole = path.canonicalize().is_ok_and(|path| path == root);
    if !arguments.yes {
        agree(&foreseen, &place, (!is_whole).then_some(path), arguments.json)?;
    }
    request.dry_run = false;
    rollout::begin(&client, &place, "deployments", &request, "Deployed", arguments.json)
}

/// Asks whether endpoints are to be taken down, where some would be. `part`: what is deployed, where it is less than the project. With
/// `json` a program asks for the deployment: it is told what would change, and is to say `--yes`.
fn agree(foreseen: &Changes, place: &Place<'_>, part: Option<&Path>, json: bool) -> Result<(), Failure> {
    let removed = foreseen.changes.iter().filter_map(|change| match change {
        Change::Remove { endpoint } => Some(endpoint.as_str()),
        Change::Create { .. } | Change::Update { .. } | Change::Keep { .. } => None,
    });
    let removed = removed.collect::<Vec<_>>().join(", ");
    if removed.is_empty() {
        return Ok(());
    }
    let Place { app, environment } = *place;
    let environment = &environment.name;
    let unasked = || {
        let (lacks, remedy) = match part {
            Some(part) => (format!("`{}` does not have", part.display()), "deploy the whole project (`flash deploy --project`), or say so"),
            None => ("the project has no longer".into(), "say so"),
        };
        let why = format!("{environment} of {app} has what {lacks}, and nobody can be asked");
        Trouble::new(format!("this would take down {removed}"), why, format!("{remedy} with --yes"))
    };
    if json {
        print_json(foreseen)?;
        return Err(Failure::new(Fault::Usage, unasked()));
    }
    to_errors(&format!("  removes: {removed}\n"));
    ask(&format!("Deploy to {environment} of {app}, and take down {removed}"), unasked)
}

/// What `flash.toml` sets for the build's endpoints in an environment.
fn overrides(settings: &FlashToml, artifact: &Artifact, environment: &EnvironmentName) -> BTreeMap<String, Overrides> {
    let names = artifact.manifest.endpoints.iter().map(|endpoint| endpoint.name.as_str());
    let set = names.map(|name| (name.to_owned(), settings.overrides(name, Some(environment))));
    set.filter(|(_, overrides)| *overrides != Overrides::default()).collect()
}

/// Tells what a deployment would change.
fn tell(foreseen: Changes, environment: &rollout::Environment, json: bool) -> Result<(), Failure> {
    let Changes { changes, problems } = foreseen;
    if json {
        print_json(&Foreseen { environment, changes: Changes { changes, problems: problems.clone() } })?;
    } else {
        print(&environment.remark().map(|remark| format!("  note: {remark}\n")).unwrap_or_default())?;
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
