//! `flash undeploy`: an endpoint, what is in one environment, or a whole app is taken down.

use flash_api::{App, Environment};
use serde_json::json;

use crate::client::{Client, segment};
use crate::connection::{Connection, endpoint, given};
use crate::jobs::Waiting;
use crate::output::{count, print, print_json};
use crate::prompt::confirm;
use crate::report::{Failure, Fault, Trouble};

/// What the user asked for.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("what").args(["endpoint", "app"]).required(true).multiple(true)))]
pub struct Arguments {
    /// An endpoint's name or id
    endpoint: Option<String>,
    /// The app that it belongs to; without an endpoint, all of the app, or all that is in the environment where one is named
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// The environment that it is deployed to
    #[arg(long, env = "FLASH_ENV", value_name = "NAME")]
    env: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Takes it down, after a question.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let client = crate::project::connection(&arguments.connection, arguments.env.as_deref())?.client()?;
    let (app, environment) = (arguments.app.as_deref(), given(arguments.env.as_deref()));
    let Some(named) = &arguments.endpoint else {
        let app: App = client.get(&format!("/apps/{}", segment(app.unwrap_or_default())))?;
        return match environment {
            Some(environment) => take_down_environment(&client, &app, environment, arguments),
            None => take_down_app(&client, &app, arguments),
        };
    };
    let found = endpoint(&client, named, app, environment)?;
    confirm(&format!("Take down {} of {} in {}", found.name, found.app, found.environment), arguments.yes)?;
    let (app, environment, name) = (segment(&found.app), segment(&found.environment), segment(&found.name));
    let waiting = Waiting::of(&client, &found.app, |endpoint| endpoint.id == found.id)?;
    client.delete(&format!("/apps/{app}/environments/{environment}/endpoints/{name}"))?;
    let text = format!("Took down {} of {} in {}\n", found.name, found.app, found.environment);
    tell(arguments, &text, &[(&found.environment, std::slice::from_ref(&found.name))], &found.app)?;
    waiting.tell();
    Ok(())
}

fn take_down_app(client: &Client, app: &App, arguments: &Arguments) -> Result<(), Failure> {
    let endpoints = app.environments.iter().map(|environment| environment.endpoints.len()).sum();
    let places = names(app.environments.iter().collect());
    let places = if places.is_empty() { places } else { format!(" in {places}") };
    confirm(&format!("Take down all of {} with {}{places}", app.name, count(endpoints, "endpoint")), arguments.yes)?;
    let waiting = Waiting::of(client, &app.name, |_| true)?;
    client.delete(&format!("/apps/{}", segment(&app.name)))?;
    let removed: Vec<_> = app.environments.iter().map(|found| (&found.name, &found.endpoints[..])).collect();
    tell(arguments, &format!("Took down all of {}{places}\n", app.name), &removed, &app.name)?;
    waiting.tell();
    Ok(())
}

fn take_down_environment(client: &Client, app: &App, named: &str, arguments: &Arguments) -> Result<(), Failure> {
    let (found, others): (Vec<&Environment>, Vec<_>) = app.environments.iter().partition(|environment| environment.name == named);
    let (others, app) = (names(others), &app.name);
    let Some(found) = found.first() else {
        let why = if others.is_empty() { format!("{app} has none") } else { format!("{app} has {others}") };
        let remedy = "name one of these with --env; the whole app goes with `flash app delete`";
        return Err(Failure::new(Fault::Request, Trouble::new(format!("no environment `{named}`"), why, remedy)));
    };
    let by = if std::env::var("FLASH_ENV").is_ok_and(|set| set == named) { " (FLASH_ENV)" } else { "" };
    let endpoints = count(found.endpoints.len(), "endpoint");
    confirm(&format!("Take down environment {named}{by} of {app} with {endpoints}"), arguments.yes)?;
    let waiting = Waiting::of(client, app, |endpoint| endpoint.environment == named)?;
    client.delete(&format!("/apps/{}/environments/{}", segment(app), segment(named)))?;
    let stays = if others.is_empty() { others } else { format!("; {others} stays") };
    let removed = (&found.name, &found.endpoints[..]);
    tell(arguments, &format!("Took down environment {named}{by} of {app}{stays}\n"), &[removed], app)?;
    waiting.tell();
    Ok(())
}

/// Says it; `removed` are the endpoints that are gone, by environment.
fn tell(arguments: &Arguments, text: &str, removed: &[(&String, &[String])], app: &str) -> Result<(), Failure> {
    if !arguments.json {
        return print(text);
    }
    let of = |(environment, names): &(&String, &[String])| {
        names.iter().map(|name| json!({ "endpoint": name, "environment": environment })).collect::<Vec<_>>()
    };
    print_json(&json!({ "app": app, "removed": removed.iter().flat_map(of).collect::<Vec<_>>() }))
}

fn names(environments: Vec<&Environment>) -> String {
    environments.into_iter().map(|environment| environment.name.as_str()).collect::<Vec<_>>().join(", ")
}
