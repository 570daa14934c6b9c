//! The project that a command is given in.

use std::path::Path;

use flash_manifest::{Diagnostic, EnvironmentName};

use crate::connection::Connection;
use crate::report::{Failure, Fault, Trouble};

/// The app that is meant: the one that is named, else that of the project at `place`.
pub fn app(named: Option<String>, place: &Path) -> Result<String, Failure> {
    if let Some(named) = named.filter(|named| !named.is_empty()) {
        return Ok(named);
    }
    let given = std::env::var("FLASH_APP").ok();
    let app = flash_scan::app(place, given.as_deref());
    app.map(|app| app.name.as_str().to_owned()).map_err(|problems| Failure::told(Fault::Request, problems))
}

/// The environment of this name; `None` where none is named. An empty name is a variable that was to hold one: what it was meant for is
/// not to go to another place.
pub fn environment(named: Option<&str>) -> Result<Option<EnvironmentName>, Failure> {
    if named == Some("") {
        let remedy = "name one, as in --env production; or leave --env out, and unset FLASH_ENV";
        return Err(Failure::new(
            Fault::Usage,
            Trouble::new("the environment's name is empty", "--env or FLASH_ENV has nothing in it", remedy),
        ));
    }
    named.map(str::parse).transpose().map_err(|problem: Diagnostic| Failure::new(Fault::Usage, Trouble::from(problem)))
}

/// The connection that is meant in this directory's project, for an environment where one is named.
pub fn connection(given: &Connection, environment: Option<&str>) -> Result<Connection, Failure> {
    let environment = self::environment(environment)?;
    if given.is_named() {
        return Ok(given.clone()); // whatever is wrong with the project
    }
    let (_, settings) = flash_scan::settings(Path::new(".")).map_err(|problems| Failure::told(Fault::Request, problems))?;
    Ok(given.within(&settings, environment.as_ref()))
}
