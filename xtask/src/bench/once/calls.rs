//! What calls cost from Python.

use std::collections::HashMap;
use std::process::Command;
use std::time::Duration;

use super::{Row, timed, typical};
use crate::bench::figures::Quartiles;
use crate::bench::unexpected;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::process;

/// A script's first live call, and later ones.
pub fn live(environment: &Environment) -> Result<Vec<Row>, Failure> {
    let python = |arguments: &[&str]| {
        let mut command = environment.program("python");
        command.args(arguments);
        command
    };
    let later = told(&mut python(&["bench/later_calls.py"]))?;
    let later = |kind| {
        let row = Row::new(format!("a later live call of {} `{kind}`", if kind == "def" { "a" } else { "an" }), later(kind)?);
        Ok(row.under(Duration::from_millis(1)))
    };
    Ok(vec![
        Row::new("a script with one live call, from start to end", typical(|| timed(&mut python(&["examples/guide/greet.py"])))?)
            .under(Duration::from_millis(400)),
        Row::new("of that, Python alone (`python -c pass`)", typical(|| timed(&mut python(&["-c", "pass"])))?),
        later("def")?,
        later("async def")?,
    ])
}

/// Calls of what is deployed, beside the same request sent by others. `command` runs `bench/stub.py`.
pub fn deployed(command: &mut Command) -> Result<Vec<Row>, Failure> {
    let told = told(command)?;
    Ok(vec![
        Row::new("a request to a deployed `def`, by a bare socket", told("socket")?),
        Row::new("the same by `http.client`", told("http.client")?),
        Row::new("a call of it by the SDK", told("def")?),
        Row::new("of that, what it adds to the bare socket's request", told("added")?).under(Duration::from_micros(300)),
        Row::new("a call of a deployed `async def`", told("async def")?),
    ])
}

/// The quartiles that a program prints as JSON, by their names.
fn told(command: &mut Command) -> Result<impl Fn(&str) -> Result<Quartiles, Failure> + use<>, Failure> {
    let printed = process::read(command)?;
    let shown = process::shown(command);
    let found: HashMap<String, [f64; 3]> = serde_json::from_str(&printed).map_err(|cause| unexpected(&shown, cause))?;
    Ok(move |name: &str| {
        let [lower, median, upper] = *found.get(name).ok_or_else(|| unexpected(&shown, format!("nothing is called `{name}`")))?;
        Ok(Quartiles { lower, median, upper })
    })
}
