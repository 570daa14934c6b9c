//! `flash key`: the keys by which other machines use this server.

use flash_api::{Key, KeyRequest, NewKey, Scope};

use crate::connection::Connection;
use crate::lines::to_errors;
use crate::output::{print, print_json, table};
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
    /// Make a key; its secret is shown once
    Create {
        /// What to call it
        name: String,
        /// What it allows
        #[arg(long, value_enum, default_value_t = Allowed::Invoke)]
        scope: Allowed,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// List the keys, without their secrets
    List {
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a key useless
    Revoke {
        /// Its id, as `flash key list` has it
        id: String,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Allowed {
    /// Everything, keys and the server itself included
    Admin,
    /// To deploy, roll back, remove, and read logs; and to call
    Deploy,
    /// To call endpoints
    Invoke,
}

impl From<Allowed> for Scope {
    fn from(allowed: Allowed) -> Self {
        match allowed {
            Allowed::Admin => Self::Admin,
            Allowed::Deploy => Self::Deploy,
            Allowed::Invoke => Self::Invoke,
        }
    }
}

/// Makes, lists or revokes.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let client = crate::project::connection(&arguments.connection, None)?.client()?;
    match arguments.command {
        Command::Create { name, scope, json } => {
            let made: NewKey = client.post("/keys", &KeyRequest { name, scope: scope.into() })?;
            if json {
                return print_json(&made);
            }
            to_errors("This is the only time that the key is shown. Use it as FLASH_API_KEY, or as `Authorization: Bearer`.\n");
            print(&format!("{}\n", made.secret))
        }
        Command::List { json } => {
            let keys: Vec<Key> = client.get("/keys")?;
            if json {
                return print_json(&keys);
            }
            let row = |key: Key| vec![key.id, key.name, scope_name(key.scope).to_owned(), key.created];
            print(&table(&["ID", "NAME", "SCOPE", "CREATED"], keys.into_iter().map(row).collect(), "no keys"))
        }
        Command::Revoke { id, json } => {
            client.delete(&format!("/keys/{}", crate::client::segment(&id)))?;
            if json { print_json(&serde_json::json!({ "revoked": id })) } else { print(&format!("Revoked {id}\n")) }
        }
    }
}

fn scope_name(scope: Scope) -> &'static str {
    match scope {
        Scope::Admin => "admin",
        Scope::Deploy => "deploy",
        Scope::Invoke => "invoke",
    }
}
