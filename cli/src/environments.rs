//! `flash env`: the places that an app is deployed to.

use std::path::PathBuf;

use flash_api::Environment;
use serde::Serialize;

use crate::client::segment;
use crate::connection::Connection;
use crate::jobs::Waiting;
use crate::output::{count, print, print_json, short, table};
use crate::prompt::confirm;
use crate::report::Failure;

/// What the user asked for.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// The app; without it, that of the project in this directory
    #[arg(long, value_name = "NAME", global = true)]
    app: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List an app's environments
    List {
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Make an environment, to be deployed to
    Create {
        /// Its name
        name: String,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Show an environment
    Get {
        /// Its name
        name: String,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete an environment with its endpoints
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

const COLUMNS: [&str; 4] = ["ENVIRONMENT", "BUILD", "ENDPOINTS", "CREATED"];

/// What `create --json` answers.
#[derive(Serialize)]
struct Made {
    #[serde(flatten)]
    environment: Environment,
    /// Whether it was not there before.
    new: bool,
}

/// Lists, makes, shows or deletes.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let client = crate::project::connection(&arguments.connection, None)?.client()?;
    let app = crate::project::app(arguments.app, &PathBuf::from("."))?;
    let all = format!("/apps/{}/environments", segment(&app));
    let path = |name: &str| format!("{all}/{}", segment(name));
    match arguments.command {
        Command::List { json } => {
            let environments: Vec<Environment> = client.get(&all)?;
            if json {
                return print_json(&environments);
            }
            print(&table(&COLUMNS, environments.iter().map(row).collect(), &format!("no environments of {app}")))
        }
        Command::Create { name, json } => {
            crate::project::environment(Some(&name))?; // which says what a name is made of
            let (new, environment): (_, Environment) = client.put(&path(&name))?;
            if json {
                return print_json(&Made { environment, new });
            }
            print(&if new {
                format!("Created environment {name} of {app}\n")
            } else {
                format!("Environment {name} of {app} is there already\n")
            })
        }
        Command::Get { name, json } => {
            let environment: Environment = client.get(&path(&name))?;
            if json {
                return print_json(&environment);
            }
            print(&table(&COLUMNS, vec![row(&environment)], ""))
        }
        Command::Delete { name, yes, json } => {
            let environment: Environment = client.get(&path(&name))?;
            let endpoints = count(environment.endpoints.len(), "endpoint");
            confirm(&format!("Delete environment {name} of {app} with {endpoints}"), yes)?;
            let waiting = Waiting::of(&client, &app, |endpoint| endpoint.environment == name)?;
            client.delete(&path(&name))?;
            waiting.tell();
            if json {
                return print_json(&environment); // as it was
            }
            print(&format!("Deleted environment {name} of {app}\n"))
        }
    }
}

/// What a table shows of an environment.
pub fn row(environment: &Environment) -> Vec<String> {
    let build = environment.build.as_deref().map_or("-", short);
    let endpoints = if environment.endpoints.is_empty() { "-".into() } else { environment.endpoints.join(", ") };
    vec![environment.name.clone(), build.to_owned(), endpoints, environment.created.clone()]
}
