//! A `def` that is quick but for one call in a hundred: how long the quick ones take beside the slow ones.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write as _};
use std::process::Command;

use serde::Deserialize;

use super::Bench;
use super::figures::median;
use super::report::{counted, millis};
use super::servers::Start;
use crate::failure::Failure;
use crate::server::Server;
use crate::{process, project};

/// Calls a second: well within what each of them can do.
const RATE: u32 = 1000;

/// Somebody who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    FlashOne,
    FlashSeveral(u32),
    FastApi(u32),
    Granian(u32),
}

impl Subject {
    fn start(self, bench: &Bench) -> Result<Start, Failure> {
        let flash = |workers| Start::flash(&bench.ours, "bench/grid.py", "/lb/grid/ping", workers);
        match self {
            Self::FlashOne => flash(1),
            Self::FlashSeveral(workers) => flash(workers),
            Self::FastApi(processes) => Start::fastapi(&bench.theirs, processes),
            Self::Granian(processes) => Start::granian(&bench.theirs, processes),
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::FlashOne | Self::FlashSeveral(_) => "/lb/grid/uneven/def",
            Self::FastApi(_) | Self::Granian(_) => "/uneven/def",
        }
    }
}

impl Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FlashOne => formatter.write_str("flash, 1 worker"),
            Self::FlashSeveral(workers) => write!(formatter, "flash, {workers} workers"),
            Self::FastApi(number) => write!(formatter, "FastAPI, uvicorn, {}", counted(*number, "process", "processes")),
            Self::Granian(number) => write!(formatter, "FastAPI, Granian, {}", counted(*number, "process", "processes")),
        }
    }
}

/// The line that `uneven-load` writes.
#[derive(Clone, Deserialize)]
struct Turn {
    quick: Times,
    slow: Times,
}

#[derive(Clone, Deserialize)]
struct Times {
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    most_us: f64,
}

/// All turns of all. The first one is before the rounds: `flash` does not know then that the function may be slow.
pub struct Uneven {
    turns: BTreeMap<Subject, Vec<Turn>>,
}

impl Uneven {
    /// Measures.
    pub fn measure(bench: &Bench) -> Result<Self, Failure> {
        let cores = bench.shared_cores()?;
        let mut subjects = vec![Subject::FlashOne, Subject::FastApi(bench.cores), Subject::Granian(bench.cores)];
        if bench.cores > 1 {
            subjects.push(Subject::FlashSeveral(bench.cores));
        }
        let mut servers = BTreeMap::new();
        for subject in subjects {
            servers.insert(subject, subject.start(bench)?.on(&cores).now()?);
        }
        let mut turns = BTreeMap::new();
        for round in 0..=bench.arguments.rounds.get() {
            for (subject, server) in &servers {
                let turn = turn(server, subject.path(), bench.arguments.seconds.get())?;
                eprintln!("round {round}, one slow call in a hundred, {subject}: p99 of the others {} ms", millis(turn.quick.p99_us));
                turns.entry(*subject).or_insert_with(Vec::new).push(turn);
            }
        }
        Ok(Self { turns })
    }
}

fn turn(server: &Server, path: &str, seconds: u32) -> Result<Turn, Failure> {
    let mut load = Command::new(project::target().join("release/uneven-load"));
    load.args([&server.port().to_string(), path, &RATE.to_string(), &seconds.to_string()]);
    let printed = process::read(&mut load)?;
    serde_json::from_str(&printed).map_err(|cause| Failure::new("`uneven-load` said something odd", cause, "run it yourself"))
}

impl Display for Uneven {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        writeln!(text, "{RATE} calls a second, of which one in a hundred takes 200 ms.\n")?;
        write!(text, "| of the others | p50, ms | p99, ms | p99.9, ms | the longest, ms | the longest before the rounds, ms ")?;
        writeln!(text, "| p50 of the slow ones, ms |\n|---|--:|--:|--:|--:|--:|--:|")?;
        for (subject, turns) in &self.turns {
            let Some((first, counted)) = turns.split_first() else { continue };
            let figure = |figure: fn(&Turn) -> f64| millis(median(counted.iter().map(figure).collect()));
            writeln!(
                text,
                "| {subject} | {} | {} | {} | {} | {} | {} |",
                figure(|turn| turn.quick.p50_us),
                figure(|turn| turn.quick.p99_us),
                figure(|turn| turn.quick.p999_us),
                figure(|turn| turn.quick.most_us),
                millis(first.quick.most_us),
                figure(|turn| turn.slow.p50_us),
            )?;
        }
        formatter.write_str(&text)
    }
}
