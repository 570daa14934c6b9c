//! How long `flash deploy` takes, until the command says that what was deployed serves.

use super::{Row, timed, typical};
use crate::bench::files::{Folder, GUIDE, guide};
use crate::bench::home::Home;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::process;

const APP: &str = "bench-deploy";

/// Of the guide's service: with a server that it starts, to one that has nothing of it, with a change, and with none.
pub fn measure(environment: &Environment) -> Result<Vec<Row>, Failure> {
    let project = Folder::empty("deploy")?;
    project.write("flash.toml", &format!("app = \"{APP}\"\n"))?;
    let home = Home::empty(environment, "deploy-home")?;
    let mut version = 0;
    let mut change = || {
        version += 1;
        project.write(GUIDE, &guide(&format!("version {version}"))?)
    };
    let deploy = || timed(home.flash("deploy").arg(project.path("")));

    change()?;
    let starting = typical(|| {
        let took = deploy()?;
        process::read(home.flash("undeploy").args(["--app", APP, "--yes"]))?;
        process::read(&mut home.flash("stop"))?;
        Ok(took)
    })?;
    deploy()?; // starts the server
    let first = typical(|| {
        process::read(home.flash("undeploy").args(["--app", APP, "--yes"]))?;
        change()?;
        deploy()
    })?;
    let changed = typical(|| {
        change()?;
        deploy()
    })?;
    let unchanged = typical(deploy)?;
    Ok(vec![
        Row::new("`flash deploy` of the guide's service, a server started by it", starting),
        Row::new("the same to a server that runs, for the first time", first),
        Row::new("the same again, the code changed", changed),
        Row::new("the same again, nothing changed", unchanged),
    ])
}
