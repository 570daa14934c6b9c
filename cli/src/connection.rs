//! Which server a command speaks to, and as whom.

use std::path::{Path, PathBuf};
use std::{env, fmt};

use flash_api::Endpoint;
use flash_manifest::{EnvironmentName, FlashToml, Origin};

use crate::client::Client;
use crate::report::{Failure, Fault, Trouble};
use crate::running::Running;

/// Where a server is that nobody has told of.
const DEFAULT: &str = "http://127.0.0.1:8000";

/// What commands that speak to a server have in common.
#[derive(Clone, clap::Args)]
pub struct Connection {
    /// The server's URL; without it that of flash.toml, or the one that runs on this machine
    #[arg(long, env = "FLASH_SERVER", value_name = "URL", global = true)]
    pub server: Option<String>,
}

/// A server's URL, and who names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The URL.
    pub url: String,
    /// Who names it.
    pub by: NamedBy,
}

/// Who names the server, the strongest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedBy {
    /// `--server`.
    Option,
    /// `FLASH_SERVER`.
    Variable,
    /// `flash.toml`.
    Settings(Origin),
    /// The server itself, which runs: in its `server.json`.
    Running(PathBuf),
    /// Nobody.
    Default,
}

impl fmt::Display for NamedBy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option => out.write_str("--server"),
            Self::Variable => out.write_str("FLASH_SERVER"),
            Self::Settings(origin) => origin.fmt(out),
            Self::Running(file) => write!(out, "{}", file.display()),
            Self::Default => out.write_str("default"),
        }
    }
}

impl Connection {
    /// A client of the server that is meant; it may not be there.
    pub fn client(&self) -> Result<Client, Failure> {
        let mut url = self.named(&FlashToml::default(), None).url;
        let ours = Running::find().filter(|running| running.is_at(&url));
        // `localhost` may lead to another address of this machine first, where somebody else listens.
        if let Some(running) = &ours {
            url.clone_from(&running.url);
        }
        let plain = ours.as_ref().and_then(|running| running.plain.as_deref());
        Client::new(&url, plain, credential(ours.as_ref())?)
    }

    /// The same, with the server that a project's settings name where the user has named none: that of the environment, or of all.
    pub fn within(&self, settings: &FlashToml, environment: Option<&EnvironmentName>) -> Self {
        let Named { url, by } = self.named(settings, environment);
        let named = matches!(by, NamedBy::Option | NamedBy::Variable | NamedBy::Settings(_));
        Self { server: named.then_some(url) }
    }

    /// Which server is meant, and who says so.
    pub fn named(&self, settings: &FlashToml, environment: Option<&EnvironmentName>) -> Named {
        let user = self.server.clone().filter(|url| !url.is_empty()).map(|url| {
            // Given both ways alike, either has named it.
            let by = if env::var("FLASH_SERVER").is_ok_and(|set| set == url) { NamedBy::Variable } else { NamedBy::Option };
            Named { url, by }
        });
        let set = || {
            let (url, origin) = settings.server(environment)?;
            Some(Named { url: url.to_string(), by: NamedBy::Settings(origin) })
        };
        let runs = || Running::find().map(|running| Named { url: running.url, by: NamedBy::Running(running.file) });
        user.or_else(set).or_else(runs).unwrap_or_else(|| Named { url: DEFAULT.into(), by: NamedBy::Default })
    }

    /// Errs where the server that is spoken to is another than the one that `flash.toml` has for an environment which nobody named: what is
    /// set for it would go to the wrong place.
    pub fn agrees(&self, settings: &FlashToml, environment: &EnvironmentName) -> Result<(), Failure> {
        let spoken_to = self.named(settings, None);
        match settings.server(Some(environment)) {
            Some((own, origin)) if own.as_str() != spoken_to.url && !matches!(spoken_to.by, NamedBy::Option | NamedBy::Variable) => {
                let trouble = Trouble::new(
                    format!("environment {environment} is on another server"),
                    format!("{origin} has it at {own}, and {} was asked, as no environment is named", spoken_to.url),
                    format!("name it: --env {environment}"),
                );
                Err(Failure::new(Fault::Usage, trouble))
            }
            _ => Ok(()),
        }
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

/// `FLASH_API_KEY`, else the local token, which is for the server that runs from its home and sent to no other: whoever listens elsewhere on
/// this machine may be another user.
fn credential(ours: Option<&Running>) -> Result<Option<String>, Failure> {
    if let Some(key) = env::var_os("FLASH_API_KEY").filter(|key| !key.is_empty()) {
        let usable = key.to_str().filter(|key| key.bytes().all(|byte| byte.is_ascii_graphic()));
        return usable.map(|key| Some(key.to_owned())).ok_or_else(|| {
            let why = "a key is of letters, digits and underscores, as `flash key create` has told it";
            Failure::new(Fault::Usage, Trouble::new("FLASH_API_KEY is no key", why, "set it to a whole key, or unset it"))
        });
    }
    let token = ours.and_then(|running| std::fs::read_to_string(running.file.with_file_name("token")).ok());
    Ok(token.map(|token| token.trim().to_owned()))
}

/// The one endpoint that `named` means, by its name or its id, among those of an app and environment where these are given.
pub fn endpoint(client: &Client, named: &str, app: Option<&str>, environment: Option<&str>) -> Result<Endpoint, Failure> {
    let all = client.endpoints("")?;
    seek(&all, named, app, environment)?.cloned().ok_or_else(|| unknown(named, &all, client, app, environment))
}

/// As [`endpoint`], and `None` where there is none. A name that several have is refused, though it be the id of one of them: whoever writes it
/// may mean another. Among several, those of the project in this directory go first.
pub fn seek<'e>(all: &'e [Endpoint], named: &str, app: Option<&str>, environment: Option<&str>) -> Result<Option<&'e Endpoint>, Failure> {
    let asked = |endpoint: &&Endpoint| is_in(endpoint, app, environment);
    let mut candidates: Vec<&Endpoint> = all.iter().filter(asked).filter(|endpoint| endpoint.name == named).collect();
    if candidates.is_empty() {
        return Ok(all.iter().filter(asked).find(|endpoint| endpoint.id == named));
    }
    if candidates.len() > 1
        && let Ok(own) = crate::project::app(None, Path::new("."))
        && candidates.iter().any(|endpoint| endpoint.app == own)
    {
        candidates.retain(|endpoint| endpoint.app == own);
    }
    match candidates[..] {
        [one] => Ok(Some(one)),
        _ => Err(ambiguous(named, &candidates)),
    }
}

/// Whether an endpoint is of an app and in an environment, where these are given.
pub fn is_in(endpoint: &Endpoint, app: Option<&str>, environment: Option<&str>) -> bool {
    given(app).is_none_or(|app| endpoint.app == app) && given(environment).is_none_or(|name| endpoint.environment == name)
}

/// What is empty names nothing, as `FLASH_ENV=` does not.
pub fn given(name: Option<&str>) -> Option<&str> {
    name.filter(|name| !name.is_empty())
}

fn unknown(named: &str, all: &[Endpoint], client: &Client, app: Option<&str>, environment: Option<&str>) -> Failure {
    let elsewhere: Vec<&Endpoint> = all.iter().filter(|endpoint| endpoint.name == named || endpoint.id == named).collect();
    let names = all.iter().map(|endpoint| endpoint.id.as_str());
    let why = format!("the server at {} has none of that name", client.url());
    let (why, remedy) = match flash_manifest::nearest(named, names.clone()) {
        _ if !elsewhere.is_empty() => {
            let asked = [given(app).map(|name| format!("app {name}")), given(environment).map(|name| format!("environment {name}"))];
            let asked = asked.into_iter().flatten().collect::<Vec<_>>().join(", ");
            let why = format!("{asked} has none of that name; it is deployed to\n{}", places(&elsewhere));
            (why, format!("name one of these: --app {} --env {}", elsewhere[0].app, elsewhere[0].environment))
        }
        Some(near) => (why, format!("did you mean '{near}'?")),
        None if all.is_empty() => (why, "deploy it: `flash deploy`".into()),
        None => (why, format!("those that are there: {}", names.collect::<Vec<_>>().join(", "))),
    };
    Failure::new(Fault::Request, Trouble::new(format!("no endpoint '{named}'"), why, remedy))
}

fn ambiguous(named: &str, candidates: &[&Endpoint]) -> Failure {
    let Endpoint { app, environment, .. } = candidates[0];
    let several = candidates.iter().any(|endpoint| endpoint.app != *app);
    let (what, name) = match several {
        true => (format!("which '{named}'?"), format!("--app {app} --env {environment}")),
        false => ("which environment?".to_owned(), format!("--env {environment}")),
    };
    let mut remedy = format!("name one, as in {name}");
    if let Some(id) = candidates.iter().map(|endpoint| &endpoint.id).find(|id| *id != named) {
        remedy += &format!("; or by its id, as {id}");
    }
    let why = format!("'{named}' is deployed to several:\n{}", places(candidates));
    Failure::new(Fault::Usage, Trouble::new(what, why, remedy))
}

/// A line for each: where it is, and its id.
fn places(endpoints: &[&Endpoint]) -> String {
    let place = |endpoint: &&Endpoint| format!("environment {} of app {}, as {}", endpoint.environment, endpoint.app, endpoint.id);
    endpoints.iter().map(place).collect::<Vec<_>>().join("\n")
}
