//! `flash rollback`: an earlier deployment serves again.

use std::path::Path;

use flash_api::RollbackRequest;

use crate::connection::Connection;
use crate::report::{Failure, Fault, Trouble};
use crate::rollout::{self, Environment, Place};

/// What the user asked for.
#[derive(clap::Args)]
pub struct Arguments {
    /// The build to go back to: its digest, or the beginning of it, as `flash deployments` has them; without it, that of the last deployment
    /// that differs from what serves
    #[arg(long, value_name = "BUILD")]
    to: Option<String>,
    /// The app; without it, that of the project in this directory
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// The environment; without it, the app's only one
    #[arg(long, env = "FLASH_ENV", value_name = "NAME")]
    env: Option<String>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Rolls back, and waits until that is done.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let client = crate::project::connection(&arguments.connection, arguments.env.as_deref())?.client()?;
    let app = crate::project::app(arguments.app, Path::new("."))?;
    let environment = rollout::environment(&client, &app, arguments.env.as_deref())?;
    if environment.new {
        let Environment { name, there, similar, .. } = &environment;
        let why = if there.is_empty() { format!("{app} has none") } else { format!("{app} has {}", there.join(", ")) };
        let remedy = format!("name one of these, as in --env {}", similar.as_ref().or(there.first()).map_or("production", String::as_str));
        return Err(Failure::new(Fault::Request, Trouble::new(format!("no environment `{name}`"), why, remedy)));
    }
    let place = Place { app: &app, environment: &environment };
    rollout::begin(&client, &place, "rollback", &RollbackRequest { to: arguments.to }, "Rolled back", arguments.json)
}
