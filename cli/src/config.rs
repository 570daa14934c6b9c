//! `flash config`: what is set for a project, and where each value comes from.

use std::env;
use std::path::PathBuf;

use flash_manifest::{AppOrigin, Endpoint, EnvironmentName, Kind, Origin, Origins, Project, SettingKey, Settings};
use owo_colors::OwoColorize as _;
use serde_json::{Map, Value, json};

use crate::client::is_loopback;
use crate::connection::{Connection, Named};
use crate::output::{print, print_json, table};
use crate::report::{Failure, Fault, Trouble, warn};
use crate::rollout;

/// What the user asked for.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Show every value, and where it comes from
    Show(Show),
}

#[derive(clap::Args)]
struct Show {
    /// A Python file, or a project's directory
    #[arg(default_value = ".")]
    path: PathBuf,
    /// The environment; without it the app's only one, or `production`
    #[arg(long, env = "FLASH_ENV", value_name = "NAME")]
    env: Option<String>,
    /// Show the values of variables, which may be secrets
    #[arg(long)]
    reveal: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// A value that belongs to no single endpoint, and who gave it.
struct Common {
    name: &'static str,
    value: String,
    from: String,
}

/// Shows it.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Command::Show(show) = &arguments.command;
    let given = env::var("FLASH_APP").ok();
    let project = flash_scan::scan(&show.path, given.as_deref()).map_err(|problems| Failure::told(Fault::Request, problems))?;
    for warning in &project.warnings {
        warn(&Trouble::from(warning.clone()));
    }
    let named = crate::project::environment(show.env.as_deref())?;
    let (environment, from) = match named {
        Some(name) => {
            let by = if env::var("FLASH_ENV").is_ok_and(|set| set == name.as_str()) { "FLASH_ENV" } else { "--env" };
            (name, by.to_owned())
        }
        None => unnamed(show, &project)?,
    };
    let Named { url, by } = show.connection.named(&project.settings, Some(&environment));
    let app = &project.app;
    let common = [
        Common { name: "app", value: app.name.to_string(), from: app_from(&project) },
        Common { name: "environment", value: environment.to_string(), from },
        Common { name: "server", value: url, from: by.to_string() },
    ];
    if show.json {
        print_json(&as_json(&project, &environment, &common, show.reveal))
    } else {
        print(&as_text(&project, &environment, &common, show.reveal))
    }
}

/// The environment that a deployment would go to. The server is asked where it is on this machine, which takes no time; it need not run.
fn unnamed(show: &Show, project: &Project) -> Result<(EnvironmentName, String), Failure> {
    let default = || (EnvironmentName::production(), "default".to_owned());
    let url = show.connection.named(&project.settings, None).url;
    let here = url.parse::<http::Uri>().ok().and_then(|url| url.host().map(is_loopback)).unwrap_or_default();
    if !here {
        return Ok(default());
    }
    let Ok(names) = show
        .connection
        .within(&project.settings, None)
        .client()
        .and_then(|client| rollout::environments(&client, project.app.name.as_str()))
    else {
        return Ok(default());
    };
    match &names[..] {
        [] => Ok(default()),
        [one] => Ok((one.parse().unwrap_or_else(|_| EnvironmentName::production()), format!("the only one of {}", project.app.name))),
        several => {
            let why = format!("{} has several: {}", project.app.name, several.join(", "));
            Err(Failure::new(Fault::Usage, Trouble::new("which environment?", why, format!("name one, as in --env {}", several[0]))))
        }
    }
}

fn app_from(project: &Project) -> String {
    match project.app.origin {
        AppOrigin::Environment => "FLASH_APP".into(),
        AppOrigin::FlashToml => project.settings.app().map_or("flash.toml".into(), |app| app.location.to_string()),
        AppOrigin::Pyproject => "pyproject.toml".into(),
        AppOrigin::Folder => "the folder's name".into(),
    }
}

/// What holds for an endpoint, and where it comes from.
fn settled(project: &Project, endpoint: &Endpoint, environment: &EnvironmentName) -> (Settings, Origins) {
    let overrides = project.settings.overrides(endpoint.name.as_str(), Some(environment));
    (Settings::of(endpoint, &overrides), project.settings.origins(endpoint, Some(environment)))
}

fn as_text(project: &Project, environment: &EnvironmentName, common: &[Common], reveal: bool) -> String {
    let rows = common.iter().map(|Common { name, value, from }| vec![(*name).to_owned(), value.clone(), from.clone()]).collect();
    let mut sections = vec![(None, rows)];
    for endpoint in &project.endpoints {
        let (settings, origins) = settled(project, endpoint, environment);
        let mut rows = Vec::new();
        for key in SettingKey::ALL {
            if key == SettingKey::Env {
                for (name, value) in &settings.env {
                    let shown = if reveal { value.escape_debug().to_string() } else { "***".into() };
                    rows.push(vec![format!("env.{name}"), shown, origins.of_variable(name).to_string()]);
                }
                if !settings.env.is_empty() {
                    continue;
                }
            }
            rows.push(vec![key.to_string(), settings.shown(key).unwrap_or_else(|| "-".into()), origins.of(key).to_string()]);
        }
        sections.push((Some(endpoint), rows));
    }
    let mut text = String::new();
    for (endpoint, rows) in sections {
        if let Some(endpoint) = endpoint {
            text += &format!("\n{} ({}, {})\n", endpoint.name.as_str().bold(), endpoint.class, endpoint.location);
        }
        text += &table(&["SETTING", "VALUE", "FROM"], rows, "");
    }
    text
}

fn as_json(project: &Project, environment: &EnvironmentName, common: &[Common], reveal: bool) -> Value {
    let mut shown: Map<String, Value> =
        common.iter().map(|Common { name, value, from }| ((*name).to_owned(), json!({ "value": value, "from": from }))).collect();
    let endpoints = project.endpoints.iter().map(|endpoint| {
        let (settings, origins) = settled(project, endpoint, environment);
        let mut values: Map<String, Value> = Map::new();
        for key in SettingKey::ALL {
            let value = if key == SettingKey::Env {
                let variable = |(name, value): (&String, &String)| {
                    let shown = if reveal { value } else { "***" };
                    (name.clone(), with_origin(json!(shown), origins.of_variable(name)))
                };
                settings.env.iter().map(variable).collect::<Map<_, _>>().into()
            } else {
                with_origin(plain(&settings, key), origins.of(key))
            };
            values.insert(key.to_string(), value);
        }
        json!({ "name": endpoint.name.as_str(), "class": endpoint.class.as_str(), "at": endpoint.location.to_string(), "settings": values })
    });
    shown.insert("endpoints".into(), endpoints.collect());
    Value::Object(shown)
}

/// A value as `flash.toml` takes it.
fn plain(settings: &Settings, key: SettingKey) -> Value {
    match key {
        SettingKey::Workers => json!([settings.workers.least(), settings.workers.most()]),
        SettingKey::Timeout => json!(settings.timeout.as_secs_f64()),
        SettingKey::IdleTimeout => json!(settings.idle_timeout.as_secs()),
        SettingKey::MaxConcurrency => json!(settings.max_concurrency),
        SettingKey::Scaler => {
            let name = match settings.kind {
                Kind::LoadBalanced => "REQUEST_COUNT",
                Kind::QueueBased => "QUEUE_DELAY",
            };
            json!({ "type": name, "value": settings.scaler_value })
        }
        SettingKey::Gpu => json!(settings.gpu),
        SettingKey::Cpu => json!(settings.cpu),
        SettingKey::Memory => json!(settings.memory_mib.map(|memory| format!("{memory}MiB"))),
        SettingKey::Image => json!(settings.image),
        SettingKey::Env => json!(settings.env),
        SettingKey::Public => json!(settings.public),
        SettingKey::Rollout => json!(settings.rollout),
    }
}

fn with_origin(value: Value, origin: &Origin) -> Value {
    let (from, at, environment) = match origin {
        Origin::Default => ("default", None, None),
        Origin::Code(location) => ("code", Some(location), None),
        Origin::FlashToml(location) => ("flash.toml", Some(location), None),
        Origin::Environment(name, location) => ("flash.toml", Some(location), Some(name)),
    };
    let mut shown = json!({ "value": value, "from": from });
    if let Some(at) = at {
        shown["at"] = json!(at.to_string());
    }
    if let Some(environment) = environment {
        shown["environment"] = json!(environment.as_str());
    }
    shown
}
