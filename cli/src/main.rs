//! `flash`: the command line of the platform, one file a command. The only place that prints.
//!
//! It puts the parts together: scans a project, starts its workers, opens the gateway. It decides nothing by itself.

mod interpreter;
mod lines;
mod log;
mod report;
mod run;
mod session;
mod token;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Run decorated Python functions as endpoints, on your own machines.
#[derive(Parser)]
#[command(name = "flash", version, propagate_version = true, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the load-balanced endpoints of a file or a project on this machine.
    Run(run::Arguments),
    /// The server behind a script's live calls; the script starts it, and it ends with the script.
    #[command(hide = true)]
    Session(session::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_writer(|| lines::Errors)
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_env("FLASH_LOG").unwrap_or_else(|_| "warn".into()))
        .without_time()
        .with_target(false)
        .init();
    flash_workers::raise_open_files();
    let done = match arguments.command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Session(arguments) => session::run(&arguments),
    };
    let code = match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    };
    lines::close_errors();
    code
}
