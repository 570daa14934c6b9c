//! `cargo xtask bench`: how fast `flash` is, beside bare hyper and FastAPI, measured in one run.
//!
//! All servers are up all the time, and take turns at the load, round by round: what else happens on the machine
//! then happens to all of them. A figure is the median of its rounds; a ratio, the median of the rounds' ratios.

mod figures;
mod load;
mod machine;
mod report;
mod startup;
mod subject;

use std::num::NonZeroU32;
use std::process::Command;

use crate::environment::{Environment, Profile};
use crate::failure::Failure;
use crate::{process, project};

use figures::Rounds;
use load::Load;
use report::Report;
use subject::{Servers, Subject};

/// Options of `bench`.
#[derive(clap::Args)]
pub struct Arguments {
    /// How often each server takes its turn
    #[arg(long, default_value = "5")]
    rounds: NonZeroU32,
    /// How long a turn takes
    #[arg(long, default_value = "4")]
    seconds: NonZeroU32,
    /// Make the environments with this Python rather than the first one found
    #[arg(long)]
    python: Option<String>,
}

/// How many connections send requests, each one at a time.
const CONNECTIONS: [u32; 2] = [64, 1];
/// A machine whose load average is higher has other things to do.
const BUSY: f64 = 0.5;
/// Before its figures count, a server has served this long: pools are filled, code is warm, `flash` knows its functions.
const WARM_UP_SECONDS: u32 = 2;

/// Measures, prints the tables, and keeps them.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    load::check_tool()?;
    let load_average = machine::load_average()?;
    if load_average > BUSY {
        eprintln!("warning: the machine is busy (load average {load_average:.2}): what is measured will be too low, and uneven");
    }
    let ours = Environment::of_project(arguments.python.as_deref())?;
    ours.install_wheel(Profile::Released)?;
    let theirs = Environment::make(project::target().join("bench-venv"), arguments.python.as_deref())?;
    theirs.install(["-r", "bench/requirements.txt"])?;
    process::run(Command::new("cargo").args(["build", "--release", "--locked", "--package", "flash-bench"]))?;

    let startup = startup::measure(&ours)?;
    let mut servers = Servers::start(&ours, &theirs)?;
    let idle_bytes = machine::resident_bytes(servers.of(Subject::Def).id())?;
    let cores = warm_up(&servers)?;
    let mut subjects = vec![Subject::Hyper, Subject::Def, Subject::Async, Subject::FastApi];
    if cores > 1 {
        servers.start_several(&theirs, cores)?;
        subjects.push(Subject::FastApiSeveral(cores));
    }

    let mut rounds = Rounds::default();
    for round in 1..=arguments.rounds.get() {
        for connections in CONNECTIONS {
            for &subject in &subjects {
                let turn = servers.measure(subject, Load { connections, seconds: arguments.seconds.get() })?;
                eprintln!("round {round}, {connections} connections, {subject}: {:.0} requests/s", turn.per_second);
                rounds.add(connections, subject, turn);
            }
        }
    }
    let after_kill = startup::fork_to_first_answer(servers.of(Subject::Def))?;
    let machine = machine::describe()?;
    let report = Report { arguments, machine: &machine, load_average, cores, rounds: &rounds, startup: &startup, after_kill, idle_bytes };
    println!("{report}");
    report.keep()
}

/// Serves each for a while; answers how many cores `flash` kept busy, rounded up.
fn warm_up(servers: &Servers) -> Result<u32, Failure> {
    let load = Load { connections: CONNECTIONS[0], seconds: WARM_UP_SECONDS };
    let mut cores: f64 = 1.0;
    for subject in [Subject::Hyper, Subject::FastApi, Subject::Def, Subject::Async] {
        let turn = servers.measure(subject, load)?;
        if matches!(subject, Subject::Def | Subject::Async) {
            cores = cores.max(turn.cores());
        }
    }
    Ok(cores.ceil() as u32)
}
