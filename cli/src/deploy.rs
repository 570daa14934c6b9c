//! `flash deploy`: builds a project, and has a server serve it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use flash_api::{Build, Change, Changes, DeployRequest};

use crate::background;
use crate::client::segment;
use crate::connection::Connection;
use crate::output::{print, print_json};
use crate::report::{Failure, Fault, Trouble};
use crate::rollout;

/// What the user asked for.
#[derive(clap::Args)]
pub struct Arguments {
    /// A project's directory, or one of its files
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
    connection: Connection,
}
