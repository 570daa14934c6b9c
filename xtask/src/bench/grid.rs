//! Functions of many kinds, at one, some and many connections, beside FastAPI under two servers, all with the same cores.

mod cell;
mod tables;

use std::fmt;

use super::figures::Rounds;
use super::load::{self, Load, Request};
use super::servers::Start;
use super::{Arguments, Bench};
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
        let Choice { cells, connections } = Choice::of(bench.arguments);
        for &cell in &cells {
            for subject in cell.subjects() {
                turn(cell, subject, server(subject), WARM_UP)?;
            }
        }
        let mut rounds = Rounds::default();
        for round in 1..=bench.arguments.grid_rounds.get() {
            for &connections in &connections {
                for &cell in &cells {
                    for subject in in_turn(cell, round) {
                        let load = Load { connections, seconds: bench.arguments.grid_seconds.get() };
                        let turn = turn(cell, subject, server(subject), load)?;
                        let title = cell.title();
                        eprintln!("round {round}, {title}, {connections} connections, {subject}: {:.0} requests/s", turn.per_second);
                        rounds.add((cell, connections, subject), turn);
                    }
                }
            }
        }
        Ok(Self { rounds, cores: bench.cores })
    }
}

/// What is measured of the grid.
struct Choice {
    cells: Vec<Cell>,
    connections: Vec<u32>,
}

impl Choice {
    fn of(arguments: &Arguments) -> Self {
        fn given_or<T: Copy>(given: &[T], all: &[T]) -> Vec<T> {
            if given.is_empty() { all.to_vec() } else { given.to_vec() }
        }
        Self { cells: given_or(&arguments.cells, &Cell::ALL), connections: given_or(&arguments.connections, &CONNECTIONS) }
    }
}

/// Those of a cell follow upon each other, in every other round the other way round: what the machine does meanwhile, a little faster or slower
/// from one turn to the next, is then as often for one as against it.
fn in_turn(cell: Cell, round: u32) -> Vec<Subject> {
    let mut subjects: Vec<Subject> = cell.subjects().collect();
    if round.is_multiple_of(2) {
        subjects.reverse();
    }
    subjects
}

fn turn(cell: Cell, subject: Subject, server: &Server, load: Load) -> Result<super::figures::Turn, Failure> {
    load::make(server, Request { path: &cell.path(subject), body: &cell.request() }, &cell.answer(), load)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_other_round_goes_the_other_way() {
        let (forth, back) = (in_turn(Cell::Await, 1), in_turn(Cell::Await, 2));
        assert_eq!(forth, [Subject::Flash(Kind::Async), Subject::FastApi, Subject::Granian]);
        assert_eq!(back, [Subject::Granian, Subject::FastApi, Subject::Flash(Kind::Async)]);
    }
}
