//! `cargo xtask test`: every test there is.

use std::process::Command;

use crate::environment::{Environment, Profile};
use crate::failure::Failure;
use crate::{process, project};

/// The tests in Python, each directory by itself: a test of one must not be helped by the settings of another.
const PYTHON: [&str; 6] = ["python/tests", "tests/e2e", "examples/guide", "examples/bookings", "examples/photos", "examples/store"];

/// Options of `test` and `ci`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Make `.venv` with this Python rather than the first one found
    #[arg(long)]
    python: Option<String>,
}

/// Runs them all.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    run_in(&environment(arguments)?)
}

/// `.venv`, with all that tests and checks need.
pub fn environment(arguments: &Arguments) -> Result<Environment, Failure> {
    let environment = Environment::of_project(arguments.python.as_deref())?;
    environment.install_tools()?;
    Ok(environment)
}

/// Rust first: the wheel is then packed from what it has compiled.
pub fn run_in(environment: &Environment) -> Result<(), Failure> {
    process::run(Command::new("cargo").args(["test", "--workspace", "--locked"]))?;
    environment.install_wheel(Profile::Tested)?;
    for directory in PYTHON {
        if project::path(directory).is_dir() {
            process::run(environment.program("python").args(["-m", "pytest", "-q", directory]))?;
        }
    }
    Ok(())
}
