//! `flash`: the command line of the platform, one file a command. The only place that prints.
//!
//! It puts the parts together: scans a project, starts its workers, opens the gateway. It decides nothing by itself.

mod apps;
mod background;
mod build;
mod call;
mod client;
mod completions;
mod config;
mod connection;
mod deploy;
mod deployments;
mod drain;
mod environments;
mod interpreter;
mod jobs;
mod keys;
mod lines;
mod log;
mod logs;
mod output;
mod packages;
mod project;
mod prompt;
mod report;
mod rollback;
mod rollout;
mod run;
mod running;
mod serve;
mod session;
mod signals;
mod status;
mod stop;
mod token;
mod undeploy;

use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

/// Run decorated Python functions as endpoints, on your own machines.
#[derive(Parser)]
#[command(name = "flash", version, propagate_version = true, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the endpoints of a file or a project on this machine.
    Run(run::Arguments),
    /// Serve deployed endpoints, and the API that deploys them
    Serve(serve::Arguments),
    /// Build a project, and have a server serve it
    Deploy(deploy::Arguments),
    /// Show how deployed endpoints do
    Status(status::Arguments),
    /// Show what endpoints printed, and the requests that they answered
    Logs(logs::Arguments),
    /// Call a deployed function
    Call(call::Arguments),
    /// Jobs of queue-based endpoints: list, get, cancel, retry, purge
    Jobs(jobs::Arguments),
    /// List what was deployed, with the builds that can be gone back to
    Deployments(deployments::Arguments),
    /// Go back to an earlier deployment
    Rollback(rollback::Arguments),
    /// Take down an endpoint, or an app
    Undeploy(undeploy::Arguments),
    /// Environments of an app: list, create, get, delete
    Env(environments::Arguments),
    /// Apps of the server: list, get, delete
    App(apps::Arguments),
    /// Show what is set for a project, and where each value comes from
    Config(config::Arguments),
    /// Keys for other machines: create, list, revoke
    Key(keys::Arguments),
    /// End the server that runs on this machine
    Stop(stop::Arguments),
    /// Print a completion script for a shell
    Completions(completions::Arguments),
    /// Pack a project for deploying.
    Build(build::Arguments),
    /// The server behind a script's live calls; the script starts it, and it ends with the script.
    #[command(hide = true)]
    Session(session::Arguments),
    /// The first process of a deployed endpoint: it is told at standard input what keeps it apart, and becomes the interpreter.
    #[command(hide = true)]
    Confine,
}

/// What is told of the parts' own doings. What h2 warns of is what callers do, which it answers itself.
const LOG: &str = "warn,h2=error";

fn main() -> ExitCode {
    let parsed = Arguments::command().try_get_matches();
    let arguments = match parsed.and_then(|found| {
        if asks_for_json(&found) {
            output::ask_for_json();
        }
        Arguments::from_arg_matches(&found).map_err(|error| error.format(&mut Arguments::command()))
    }) {
        Ok(arguments) => arguments,
        Err(answer) if answer.use_stderr() => {
            // Once more, for a usage that does not name what variables set as if one had to write it.
            let answer = with_plain_usage(Arguments::command()).try_get_matches().err().unwrap_or(answer);
            return output::answer_of_clap(&answer);
        }
        Err(answer) => return output::answer_of_clap(&answer),
    };
    if matches!(arguments.command, Command::Confine) {
        // Before anything that is the server's: threads, a log, limits.
        flash_workers::confine();
        return ExitCode::from(70);
    }
    tracing_subscriber::fmt()
        .with_writer(|| lines::Errors)
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_env("FLASH_LOG").unwrap_or_else(|_| LOG.into()))
        .without_time()
        .with_target(false)
        .init();
    flash_workers::raise_open_files();
    let done = match arguments.command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Build(arguments) => build::run(&arguments),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Session(arguments) => session::run(&arguments),
        Command::Deploy(arguments) => deploy::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Logs(arguments) => logs::run(&arguments),
        Command::Call(arguments) => call::run(&arguments),
        Command::Jobs(arguments) => jobs::run(arguments),
        Command::Deployments(arguments) => deployments::run(arguments),
        Command::Rollback(arguments) => rollback::run(arguments),
        Command::Undeploy(arguments) => undeploy::run(&arguments),
        Command::Env(arguments) => environments::run(arguments),
        Command::App(arguments) => apps::run(arguments),
        Command::Config(arguments) => config::run(&arguments),
        Command::Key(arguments) => keys::run(arguments),
        Command::Stop(arguments) => stop::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments, Arguments::command()),
        Command::Confine => Ok(()),
    };
    let code = match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    };
    lines::close_errors();
    code
}

/// Whether the command that was given has the option `--json`, and got it.
fn asks_for_json(given: &ArgMatches) -> bool {
    let inner = given.subcommand().is_some_and(|(_, inner)| asks_for_json(inner));
    inner || matches!(given.try_get_one("json"), Ok(Some(true)))
}

/// Usage lines as `--help` has them, in errors too.
fn with_plain_usage(mut command: clap::Command) -> clap::Command {
    fn plain(mut command: clap::Command) -> clap::Command {
        let usage = command.render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ").to_owned();
        command.mut_subcommands(plain).override_usage(usage)
    }
    command.build(); // names of subcommands have the program's before them then
    plain(command)
}
