//! Commands that need no server.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Row, timed, typical};
use crate::bench::files::{Folder, GUIDE, guide};
use crate::environment::Environment;
use crate::failure::Failure;

/// How many files the larger project has.
const FILES: usize = 1000;

/// `flash --help`, and builds of two projects.
pub fn measure(environment: &Environment) -> Result<Vec<Row>, Failure> {
    let help = typical(|| timed(environment.program("flash").arg("--help")))?;
    let mut rows = vec![Row::new("`flash --help`", help).under(Duration::from_millis(10))];

    let small = Folder::empty("build-guide")?;
    small.write(GUIDE, &guide("healthy")?)?;
    rows.extend(builds(environment, "the guide's service", &small, Duration::from_millis(50))?);

    let large = Folder::empty("build-thousand")?;
    write_thousand(&large)?;
    rows.extend(builds(environment, "1,000 files", &large, Duration::from_millis(300))?);
    Ok(rows)
}

/// With nothing of an earlier build there, and with all of it.
fn builds(environment: &Environment, what: &str, folder: &Folder, goal: Duration) -> Result<[Row; 2], Failure> {
    let build = || timed(environment.program("flash").arg("build").arg(folder.path("")));
    let first = typical(|| {
        folder.remove(".flash")?;
        build()
    })?;
    let again = typical(build)?;
    Ok([
        Row::new(format!("`flash build` of {what}, for the first time"), first).under(goal),
        Row::new("the same again, nothing changed", again).under(goal),
    ])
}

/// The guide's service, and modules that it imports, forty in a package.
fn write_thousand(folder: &Folder) -> Result<(), Failure> {
    const PACKAGE: usize = 40;
    let mut imports = String::new();
    for number in 0..FILES - 1 {
        let (package, module) = (number / PACKAGE, number % PACKAGE);
        let name = if module == 0 { "__init__".to_owned() } else { format!("part_{module}") };
        folder.write(&format!("package_{package}/{name}.py"), &module_text(number))?;
        if module > 0 {
            let _ = writeln!(imports, "from package_{package} import part_{module}"); // a string takes whatever there is
        }
    }
    folder.write(GUIDE, &(imports + &guide("healthy")?))
}

/// A module as people have them: a class and some functions, fifty lines.
fn module_text(number: usize) -> String {
    let mut text = format!(
        "\"\"\"Part {number}.\"\"\"\n\nfrom dataclasses import dataclass\n\n\n@dataclass\nclass Thing{number}:\n    name: str\n    count: int = {number}\n"
    );
    for function in 0..6 {
        let _ = write!(
            text,
            "\n\ndef function_{function}(things: list[Thing{number}], least: int = {function}) -> dict[str, int]:\n    \"\"\"What there is enough of.\"\"\"\n    \
             found = {{}}\n    for thing in things:\n        if thing.count >= least:\n            found[thing.name] = found.get(thing.name, 0) + thing.count\n    return found\n"
        );
    }
    text
}
