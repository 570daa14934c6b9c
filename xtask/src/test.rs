//! `cargo xtask test`: every test there is.

use std::num::NonZero;
use std::process::Command;

use crate::environment::{Environment, Profile};
use crate::failure::Failure;
use crate::{process, project};

/// The tests in Python, each directory by itself: a test of one must not be helped by the settings of another.
const PYTHON: [(&str, Share); 6] = [
    ("python/tests", Share::Among),
    ("tests/e2e", Share::Among),
    ("examples/guide", Share::None),
    ("examples/bookings", Share::None),
    ("examples/photos", Share::None),
    ("examples/store", Share::None),
];

/// Whether tests are shared out among processes of pytest.
#[derive(Clone, Copy)]
enum Share {
    /// They are few: to start another process would take longer than they do.
    None,
    /// They are many, and wait for the processes that they start half of the time.
    Among,
}

/// For each core.
const PROCESSES: usize = 2;

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
    for (directory, share) in PYTHON {
        if project::path(directory).is_dir() {
            let mut pytest = environment.program("python");
            pytest.args(["-m", "pytest", "-q", directory]);
            if let Share::Among = share {
                let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
                // Each has a stretch of them, so that what a file's tests share is made once; who is done first helps the others.
                pytest.args(["--numprocesses", &(cores * PROCESSES).to_string(), "--dist", "worksteal"]);
            }
            process::run(&mut pytest)?;
        }
    }
    Ok(())
}
