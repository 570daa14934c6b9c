//! `cargo xtask`: what is done to this project rather than by it. One file a command.
//!
//! People run it, and `.ci/run` does. It runs other programs (cargo, Python, `flash`) and knows nothing of what is in
//! our crates: what it measures and tests is what a user gets.

mod bench;
mod ci;
mod demo;
mod environment;
mod failure;
mod http;
mod interpreter;
mod process;
mod project;
mod server;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tasks of this project.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Set up `.venv`, serve the guide's service, call it over HTTP and from Python, and serve on until Ctrl-C
    Demo(demo::Arguments),
    /// Set up `.venv`, and run every test: Rust, Python, end to end, the guide's
    Test(test::Arguments),
    /// Everything that CI checks: format, lints, docs, licences, tests, types
    Ci(test::Arguments),
    /// Measure `flash` against bare hyper, FastAPI, Granian, Celery and Procrastinate, and keep the tables in bench/README.md
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    let done = process::end_children_when_told_to().and_then(|()| match Arguments::parse().task {
        Task::Demo(arguments) => demo::run(&arguments),
        Task::Test(arguments) => test::run(&arguments),
        Task::Ci(arguments) => ci::run(&arguments),
        Task::Bench(arguments) => bench::run(&arguments),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) if process::told_to_end() => {
            eprintln!("interrupted: what the task had started was told to end");
            ExitCode::from(130) // as a shell tells that Ctrl-C ended something
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}
