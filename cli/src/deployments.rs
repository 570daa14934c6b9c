//! `flash deployments`: what was deployed, and what `flash rollback --to` can go back to.

use std::path::Path;

use flash_api::{App, Deployment, DeploymentState};

use crate::client::segment;
use crate::connection::{Connection, given};
use crate::output::{print, print_json, short, table};
use crate::report::Failure;

/// What the user asked for.
#[derive(clap::Args)]
pub struct Arguments {
    /// The app; without it, that of the project in this directory
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// Only those of this environment
    #[arg(long, env = "FLASH_ENV", value_name = "NAME")]
    env: Option<String>,
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Lists them, the newest first.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let client = crate::project::connection(&arguments.connection, arguments.env.as_deref())?.client()?;
    let app = crate::project::app(arguments.app, Path::new("."))?;
    let places = match given(arguments.env.as_deref()) {
        Some(named) => vec![named.to_owned()],
        None => {
            let app: App = client.get(&format!("/apps/{}", segment(&app)))?;
            app.environments.into_iter().map(|environment| environment.name).collect()
        }
    };
    let mut found: Vec<Deployment> = Vec::new();
    for place in places {
        found.extend(client.get::<Vec<_>>(&format!("/apps/{}/environments/{}/deployments", segment(&app), segment(&place)))?);
    }
    found.sort_by_key(|deployment| std::cmp::Reverse(deployment.id));
    found.truncate(arguments.limit as usize);
    if arguments.json {
        return print_json(&found);
    }
    let names = ["DEPLOYMENT", "ENVIRONMENT", "BUILD", "STATE", "CREATED"];
    print(&table(&names, found.into_iter().map(row).collect(), &format!("no deployments of {app}")))
}

fn row(deployment: Deployment) -> Vec<String> {
    let Deployment { id, environment, build, state, created, .. } = deployment;
    let state = match state {
        DeploymentState::Rolling => "rolling",
        DeploymentState::Current => "current",
        DeploymentState::Superseded => "superseded",
        DeploymentState::Failed => "failed",
    };
    vec![id.to_string(), environment, short(&build).to_owned(), state.to_owned(), created]
}
