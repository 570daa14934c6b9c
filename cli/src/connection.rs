//! Which server a command speaks to, and as whom.

use std::env;
use std::path::{Path, PathBuf};

use flash_api::Endpoint;
use serde::Deserialize;

use crate::client::{Client, is_loopback};
use crate::report::{Failure, Fault, Trouble};

/// Where a server is that nobody has told of.
const DEFAULT: &str = "http://127.0.0.1:8000";

/// What commands that speak to a server have in common.
#[derive(clap::Args)]
pub struct Connection {
    /// The server's URL; without it, the one that runs on this machine
    #[arg(long, env = "FLASH_SERVER", value_name = "URL", global = true)]
    pub server: Option<String>,
}

/// What a running server says of itself in its home (`server.json`).
#[derive(Deserialize)]
struct Running {
    url: String,
}

impl Connection {
    /// A client of the server that is meant; it may not be there.
    pub fn client(&self) -> Result<Client, Failure> {
        let named = self.server.clone().filter(|url| !url.is_empty());
        let url = named.or_else(|| running(&home()?)).unwrap_or_else(|| DEFAULT.into());
        let credential = credential(&url)?;
        Client::new(&url, credential)
    }

    /// Whether the user has said which server.
    pub fn is_named(&self) -> bool {
        self.server.as_ref().is_some_and(|url| !url.is_empty())
    }
}

/// Where the state of this user's server is: `FLASH_HOME`, else `.flash` in the home directory.
pub fn home() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("FLASH_HOME").or_else(|| Some(set("HOME")?.join(".flash")))
}

/// The URL of the server that runs from `home`, or ran last.
fn running(home: &Path) -> Option<String> {
    let text = std::fs::read(home.join("server.json")).ok()?;
    Some(serde_json::from_slice::<Running>(&text).ok()?.url)
}

/// `FLASH_API_KEY`, else the local token, which is for this machine's server and sent to no other.
fn credential(url: &str) -> Result<Option<String>, Failure> {
    if let Some(key) = env::var_os("FLASH_API_KEY").filter(|key| !key.is_empty()) {
        let usable = key.to_str().filter(|key| key.bytes().all(|byte| byte.is_ascii_graphic()));
        return usable.map(|key| Some(key.to_owned())).ok_or_else(|| {
            let why = "a key is of letters, digits and underscores, as `flash key create` has told it";
            Failure::new(Fault::Usage, Trouble::new("FLASH_API_KEY is no key", why, "set it to a whole key, or unset it"))
        });
    }
    let host = url.parse::<http::Uri>().ok().and_then(|url| url.host().map(str::to_owned));
    if !host.is_some_and(|host| is_loopback(&host)) {
        return Ok(None);
    }
    let token = home().and_then(|home| std::fs::read_to_string(home.join("token")).ok());
    Ok(token.map(|token| token.trim().to_owned()))
}

/// The one endpoint that `named` means, by its id or its name, among those of an app and environment where these are given.
pub fn endpoint(client: &Client, named: &str, app: Option<&str>, environment: Option<&str>) -> Result<Endpoint, Failure> {
    let all: Vec<Endpoint> = client.get("/endpoints")?;
    let asked =
        |endpoint: &&Endpoint| app.is_none_or(|app| endpoint.app == app) && environment.is_none_or(|name| endpoint.environment == name);
    let mut candidates: Vec<&Endpoint> = all.iter().filter(asked).filter(|endpoint| endpoint.name == named).collect();
    if candidates.len() > 1 || candidates.is_empty() {
        let by_id = all.iter().filter(asked).find(|endpoint| endpoint.id == named);
        candidates = by_id.map_or(candidates, |endpoint| vec![endpoint]);
    }
    match candidates[..] {
        [one] => Ok(one.clone()),
        [] => Err(unknown(named, &all, client)),
        _ => Err(ambiguous(named, &candidates)),
    }
}

fn unknown(named: &str, all: &[Endpoint], client: &Client) -> Failure {
    let names = all.iter().map(|endpoint| endpoint.id.as_str());
    let remedy = match flash_manifest::nearest(named, names.clone()) {
        Some(near) => format!("did you mean '{near}'?"),
        None if all.is_empty() => "deploy it: `flash deploy`".into(),
        None => format!("those that are there: {}", names.collect::<Vec<_>>().join(", ")),
    };
    let why = format!("the server at {} has none of that name", client.url());
    Failure::new(Fault::Request, Trouble::new(format!("no endpoint '{named}'"), why, remedy))
}

fn ambiguous(named: &str, candidates: &[&Endpoint]) -> Failure {
    let places = candidates.iter().map(|endpoint| format!("{} (app {}, environment {})", endpoint.id, endpoint.app, endpoint.environment));
    let why = places.collect::<Vec<_>>().join("\n");
    Failure::new(
        Fault::Request,
        Trouble::new(format!("'{named}' may be one of several endpoints"), why, "use the id that stands first, or --app and --env"),
    )
}
