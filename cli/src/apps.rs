//! `flash app`: what was deployed under one name, in all of its environments.

use std::path::Path;

use flash_api::App;

use crate::client::segment;
use crate::connection::Connection;
use crate::environments::row;
use crate::jobs::Waiting;
use crate::output::{print, print_json, table};
use crate::prompt::confirm;
use crate::report::Failure;

/// What the user asked for.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List the apps of the server
    List {
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Show an app and its environments
    Get {
        /// Its name; without it, that of the project in this directory
        name: Option<String>,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete an app with all of its environments and endpoints
    Delete {
        /// Its name
        name: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
}

/// Lists, shows or deletes.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let client = crate::project::connection(&arguments.connection, None)?.client()?;
    match arguments.command {
        Command::List { json } => {
            let apps: Vec<App> = client.get("/apps")?;
            if json {
                return print_json(&apps);
            }
            let names = |app: &App| app.environments.iter().map(|environment| environment.name.as_str()).collect::<Vec<_>>().join(", ");
            let row = |app: App| vec![app.name.clone(), names(&app), app.created];
            print(&table(&["APP", "ENVIRONMENTS", "CREATED"], apps.into_iter().map(row).collect(), "no apps"))
        }
        Command::Get { name, json } => {
            let name = crate::project::app(name, Path::new("."))?;
            let app: App = client.get(&format!("/apps/{}", segment(&name)))?;
            if json {
                return print_json(&app);
            }
            let rows = app.environments.iter().map(row).collect();
            print(&table(&["ENVIRONMENT", "BUILD", "ENDPOINTS", "CREATED"], rows, "no environments"))
        }
        Command::Delete { name, yes, json } => {
            let app: App = client.get(&format!("/apps/{}", segment(&name)))?;
            let endpoints = app.environments.iter().map(|environment| environment.endpoints.len()).sum();
            confirm(&format!("Delete app {name} with {}", crate::output::count(endpoints, "endpoint")), yes)?;
            let waiting = Waiting::of(&client, &name, |_| true)?;
            client.delete(&format!("/apps/{}", segment(&name)))?;
            waiting.tell();
            if json {
                return print_json(&app); // as it was
            }
            print(&format!("Deleted app {name}\n"))
        }
    }
}
