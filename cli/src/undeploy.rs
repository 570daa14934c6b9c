//! `flash undeploy`: an endpoint, or a whole app, is taken down.

use flash_api::App;

use crate::client::segment;
use crate::connection::{Connection, endpoint};
use crate::output::{count, print};
use crate::prompt::confirm;
use crate::report::Failure;

/// What the user asked for.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("what").args(["endpoint", "app"]).required(true).multiple(true)))]
pub struct Arguments {
    /// An endpoint's name or id
    endpoint: Option<String>,
    /// The app that it belongs to; alone, the whole app with all of its environments
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// The environment that the endpoint is deployed to
    #[arg(long, env = "FLASH_ENV", value_name = "NAME")]
    env: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Takes it down, after a question.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let client = crate::project::connection(&arguments.connection, arguments.env.as_deref())?.client()?;
    let app = arguments.app.as_deref();
    let Some(named) = &arguments.endpoint else {
        let app: App = client.get(&format!("/apps/{}", segment(app.unwrap_or_default())))?;
        let endpoints = app.environments.iter().map(|environment| environment.endpoints.len()).sum();
        confirm(&format!("Take down {} with {}", app.name, count(endpoints, "endpoint")), arguments.yes)?;
        client.delete(&format!("/apps/{}", segment(&app.name)))?;
        return print(&format!("Took down {}\n", app.name));
    };
    let found = endpoint(&client, named, app, arguments.env.as_deref())?;
    confirm(&format!("Take down {} of {} in {}", found.name, found.app, found.environment), arguments.yes)?;
    let (app, environment, name) = (segment(&found.app), segment(&found.environment), segment(&found.name));
    client.delete(&format!("/apps/{app}/environments/{environment}/endpoints/{name}"))?;
    print(&format!("Took down {} of {} in {}\n", found.name, found.app, found.environment))
}
