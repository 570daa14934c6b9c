//! `cargo xtask bench`: how fast `flash` is, beside bare hyper, FastAPI and queues of jobs, measured in one run.
//!
//! All servers of a part are up all the time, and take turns at the load, round by round: what else happens on the machine
//! then happens to all of them. A figure is the median of its rounds; a ratio, the median of the rounds' ratios.

mod figures;
mod files;
mod grid;
mod home;
mod jobs;
mod load;
mod machine;
mod once;
mod rates;
mod report;
mod servers;
mod uneven;

use std::num::NonZeroU32;
use std::process::Command;

use crate::environment::{Environment, Profile};
use crate::failure::Failure;
use crate::{process, project};

use grid::{Cell, Grid};
use jobs::Jobs;
use once::Once;
use rates::Rates;
use uneven::Uneven;

/// Options of `bench`.
#[derive(clap::Args)]
pub struct Arguments {
    /// How often each server takes its turn
    #[arg(long, default_value = "5")]
    rounds: NonZeroU32,
    /// How long a turn takes
    #[arg(long, default_value = "3")]
    seconds: NonZeroU32,
    /// How often each server takes its turn in the grid; an even number is fairer, for the order is turned round each time
    #[arg(long, default_value = "6")]
    grid_rounds: NonZeroU32,
    /// How long a turn takes in the grid, which has many
    #[arg(long, default_value = "1")]
    grid_seconds: NonZeroU32,
    /// Measure these parts alone
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Measure these kinds of functions of the grid alone, and keep nothing
    #[arg(long, value_delimiter = ',')]
    cells: Vec<Cell>,
    /// Measure the grid with so many connections instead of its own numbers, and keep nothing
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..))]
    connections: Vec<u32>,
    /// Make the environments with this Python rather than the first one found
    #[arg(long)]
    python: Option<String>,
}

impl Arguments {
    /// What was asked for; everything, if nothing was.
    fn parts(&self) -> Vec<Part> {
        match &self.only[..] {
            _ if self.is_of_some_cells() => vec![Part::Grid],
            [] => Part::ALL.to_vec(),
            only => only.to_vec(),
        }
    }

    /// Whether it is of a few cells of the grid: a look at them, and no table to keep.
    fn is_of_some_cells(&self) -> bool {
        !(self.cells.is_empty() && self.connections.is_empty())
    }
}

/// What is measured by itself, and has its own place in bench/README.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// The smallest request, beside bare hyper's and FastAPI's; floors and targets
    Rates,
    /// What happens once: commands, a script's first call, a worker's replacement, deployments, memory
    Once,
    /// Seven kinds of functions at three numbers of connections
    Grid,
    /// A function that is quick but for one call in a hundred
    Uneven,
    /// Jobs of the durable queue, beside Celery with Redis and Procrastinate with PostgreSQL; a million that wait
    Jobs,
}

impl Part {
    const ALL: [Self; 5] = [Self::Rates, Self::Once, Self::Grid, Self::Uneven, Self::Jobs];

    fn name(self) -> &'static str {
        match self {
            Self::Rates => "rates",
            Self::Once => "once",
            Self::Grid => "grid",
            Self::Uneven => "uneven",
            Self::Jobs => "jobs",
        }
    }
}

/// A machine whose load average is higher has other things to do.
const BUSY: f64 = 0.5;

/// What `flash` with one worker could keep busy, also where the measurement finds the machine busy with other things.
const HOST_AND_WORKER: u32 = 2;

/// What all parts share.
pub struct Bench<'a> {
    arguments: &'a Arguments,
    ours: Environment,
    theirs: Environment,
    /// How many cores `flash` with one worker may keep busy: others get as many.
    cores: u32,
}

impl Bench<'_> {
    /// The cores that servers share which are to have the same ones.
    fn shared_cores(&self) -> Result<Vec<u32>, Failure> {
        Ok(machine::cores()?.into_iter().take(self.cores as usize).collect())
    }
}

fn unexpected(program: &str, cause: impl std::fmt::Display) -> Failure {
    Failure::new(format!("`{program}` answered something else than the bench expects"), cause, "run it yourself")
}

/// Measures, prints the tables, and keeps them.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let parts = arguments.parts();
    let requests: Vec<Part> = parts.iter().copied().filter(|part| *part != Part::Jobs).collect();
    if !requests.is_empty() {
        load::check_tool()?;
    }
    let load_average = machine::load_average()?;
    if load_average > BUSY {
        eprintln!("warning: the machine is busy (load average {load_average:.2}): what is measured will be too low, and uneven");
    }
    let ours = Environment::of_project(arguments.python.as_deref())?;
    ours.install_wheel(Profile::Released)?;
    let theirs = Environment::make(project::target().join("bench-venv"), arguments.python.as_deref())?;
    process::run(Command::new("cargo").args(["build", "--release", "--locked", "--package", "flash-bench"]))?;

    let machine = machine::describe()?;
    let keep = |part: Part, text: &str| {
        let where_on = "shared by the load, the servers and their workers";
        let text = format!("Machine: {machine}, {where_on}; load average before the bench: {load_average:.2}.\n{text}");
        println!("{text}");
        if arguments.is_of_some_cells() { Ok(()) } else { report::keep(part, &text) }
    };
    let mut bench = Bench { arguments, ours, theirs, cores: 1 };
    if !requests.is_empty() {
        bench.theirs.install(["-r", "bench/requirements.txt"])?;
        measure_requests(&mut bench, &requests, keep)?;
    }
    if parts.contains(&Part::Jobs) {
        bench.theirs.install(["-r", "bench/requirements-jobs.txt"])?;
        let Arguments { rounds, seconds, .. } = *arguments;
        keep(Part::Jobs, &format!("{rounds} rounds of {seconds} s. {}", Jobs::measure(&bench.ours, &bench.theirs, rounds, seconds)?))?;
    }
    Ok(())
}

/// The parts that are of requests to routes.
fn measure_requests(bench: &mut Bench, parts: &[Part], keep: impl Fn(Part, &str) -> Result<(), Failure>) -> Result<(), Failure> {
    let flash = rates::flash(bench)?;
    let idle_bytes = machine::resident_bytes(flash.id())?;
    bench.cores = rates::busy_cores(&flash)?.max(HOST_AND_WORKER).min(machine::cores()?.len() as u32);
    let Arguments { rounds, seconds, grid_rounds, grid_seconds, .. } = bench.arguments;
    for &part in parts {
        let text = match part {
            Part::Rates => {
                let cores = bench.cores;
                let header = format!("{rounds} rounds of {seconds} s. `flash`, with one worker, kept up to {cores} of the cores busy.\n");
                header + &Rates::measure(bench, &flash)?.to_string()
            }
            Part::Once => Once::measure(&bench.ours, &flash, idle_bytes)?.to_string(),
            Part::Grid => format!("{grid_rounds} rounds of {grid_seconds} s. ") + &Grid::measure(bench)?.to_string(),
            Part::Uneven => format!("{rounds} rounds of {seconds} s. ") + &Uneven::measure(bench)?.to_string(),
            Part::Jobs => continue, // of no route
        };
        keep(part, &text)?;
    }
    Ok(())
}
