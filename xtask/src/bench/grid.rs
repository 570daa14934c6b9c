//! Functions of many kinds, at one, some and many connections, beside FastAPI under two servers, all with the same cores.

mod cell;
mod tables;

use std::fmt;

use super::Bench;
use super::figures::Rounds;
use super::load::{self, Load, Request};
use super::servers::Start;
use crate::failure::Failure;
use crate::server::Server;

pub use cell::Cell;

const CONNECTIONS: [u32; 3] = [1, 64, 512];
/// Before its figures count, a function has served this long: a `def` has shown by then whether it is quick.
const WARM_UP: Load = Load { connections: 64, seconds: 1 };

/// How a function is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Def,
    Async,
}

/// Somebody who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Flash(Kind),
    FastApi,
    Granian,
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Flash(Kind::Def) => "flash, `def`",
            Self::Flash(Kind::Async) => "flash, `async def`",
            Self::FastApi => "FastAPI, uvicorn",
            Self::Granian => "FastAPI, Granian",
        })
    }
}

/// What is measured in one turn.
type Key = (Cell, u32, Subject);

/// All turns of all.
pub struct Grid {
    rounds: Rounds<Key>,
    /// How many cores each server had, and how many processes of Python.
    cores: u32,
}

impl Grid {
    /// Measures.
    pub fn measure(bench: &Bench) -> Result<Self, Failure> {
        let cores = bench.shared_cores()?;
        let flash = Start::flash(&bench.ours, "bench/grid.py", "/lb/grid/ping", bench.cores)?.on(&cores).now()?;
        let fastapi = Start::fastapi(&bench.theirs, bench.cores)?.on(&cores).now()?;
        let granian = Start::granian(&bench.theirs, bench.cores)?.on(&cores).now()?;
        let server = |subject| match subject {
            Subject::Flash(_) => &flash,
            Subject::FastApi => &fastapi,
            Subject::Granian => &granian,
        };
        let chosen = Cell::ALL.into_iter().filter(|cell| bench.arguments.cells.is_empty() || bench.arguments.cells.contains(cell));
        let turns: Vec<(Cell, Subject)> = chosen.flat_map(|cell| cell.subjects().map(move |subject| (cell, subject))).collect();
        for &(cell, subject) in &turns {
            turn(cell, subject, server(subject), WARM_UP)?;
        }
        let mut rounds = Rounds::default();
        for round in 1..=bench.arguments.rounds.get() {
            for connections in CONNECTIONS {
                for &(cell, subject) in &turns {
                    let load = Load { connections, seconds: bench.arguments.grid_seconds.get() };
                    let turn = turn(cell, subject, server(subject), load)?;
                    let title = cell.title();
                    eprintln!("round {round}, {title}, {connections} connections, {subject}: {:.0} requests/s", turn.per_second);
                    rounds.add((cell, connections, subject), turn);
                }
            }
        }
        Ok(Self { rounds, cores: bench.cores })
    }
}

fn turn(cell: Cell, subject: Subject, server: &Server, load: Load) -> Result<super::figures::Turn, Failure> {
    load::make(server, Request { path: &cell.path(subject), body: &cell.request() }, &cell.answer(), load)
}
