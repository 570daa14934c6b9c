//! The smallest request, beside the fastest that the HTTP library can do and beside FastAPI; what we hold ourselves to.

use std::fmt::{self, Display};

use serde_json::json;

use super::Bench;
use super::figures::{Rounds, Turn};
use super::load::{self, Load, Request};
use super::report::{thousands, verdict};
use super::servers::Start;
use crate::failure::Failure;
use crate::server::Server;

const FILE: &str = "bench/add.py";
const READY: &str = "/lb/bench/ping";
/// How many connections send requests, each one at a time.
const CONNECTIONS: [u32; 2] = [64, 1];
/// Before its figures count, a server has served this long: pools are filled, code is warm, `flash` knows its functions.
const WARM_UP: Load = Load { connections: CONNECTIONS[0], seconds: 2 };

/// Somebody who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    /// Bare hyper, answering a constant.
    Hyper,
    /// `flash run` with one worker in Rust, which answers a constant.
    Rust,
    /// `flash run`, one worker, a `def`.
    Def,
    /// The same worker, an `async def`.
    Async,
    /// FastAPI (an `async def`) under uvicorn with uvloop and httptools, one process.
    FastApi,
    /// The same with so many processes.
    FastApiSeveral(u32),
}

impl Subject {
    fn path(self) -> &'static str {
        match self {
            Self::Hyper => "/",
            Self::Rust | Self::Def => "/lb/bench/def",
            Self::Async => "/lb/bench/async",
            Self::FastApi | Self::FastApiSeveral(_) => "/nothing/async",
        }
    }

    fn start(self, bench: &Bench) -> Result<Start, Failure> {
        match self {
            Self::Hyper => Start::hyper(),
            Self::Rust => Start::flash_without_python(&bench.ours, FILE, READY),
            Self::Def | Self::Async => Start::flash(&bench.ours, FILE, READY, 1),
            Self::FastApi => Start::fastapi(&bench.theirs, 1),
            Self::FastApiSeveral(processes) => Start::fastapi(&bench.theirs, processes),
        }
    }

    /// One turn on its server.
    fn measure(self, server: &Server, load: Load) -> Result<Turn, Failure> {
        load::make(server, Request { path: self.path(), body: r#"{"x":5,"y":3}"# }, &json!({ "result": 8 }), load)
    }
}

impl Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hyper => formatter.write_str("bare hyper, a constant"),
            Self::Rust => formatter.write_str("flash, a worker in Rust, a constant"),
            Self::Def => formatter.write_str("flash, `def`"),
            Self::Async => formatter.write_str("flash, `async def`"),
            Self::FastApi => formatter.write_str("FastAPI, 1 process"),
            Self::FastApiSeveral(processes) => write!(formatter, "FastAPI, {processes} processes"),
        }
    }
}

/// `flash run` on the measured file, with one worker.
pub fn flash(bench: &Bench) -> Result<Server, Failure> {
    Subject::Def.start(bench)?.now()
}

/// How many cores `flash` with one worker keeps busy, rounded up.
pub fn busy_cores(server: &Server) -> Result<u32, Failure> {
    let mut cores: f64 = 1.0;
    for subject in [Subject::Def, Subject::Async] {
        cores = cores.max(subject.measure(server, WARM_UP)?.cores());
    }
    Ok(cores.ceil() as u32)
}

/// All turns of all.
pub struct Rates {
    rounds: Rounds<(u32, Subject)>,
}

impl Rates {
    /// Measures, with `flash` as it is after [`busy_cores`].
    pub fn measure(bench: &Bench, flash: &Server) -> Result<Self, Failure> {
        let mut others = vec![Subject::Hyper, Subject::Rust, Subject::FastApi];
        if bench.cores > 1 {
            others.push(Subject::FastApiSeveral(bench.cores));
        }
        let mut servers = Vec::new();
        for subject in others {
            let server = subject.start(bench)?.now()?;
            subject.measure(&server, WARM_UP)?;
            servers.push((subject, server));
        }
        let mut rounds = Rounds::default();
        for round in 1..=bench.arguments.rounds.get() {
            for connections in CONNECTIONS {
                let subjects = servers.iter().map(|(subject, server)| (*subject, server));
                for (subject, server) in subjects.chain([(Subject::Def, flash), (Subject::Async, flash)]) {
                    let turn = subject.measure(server, Load { connections, seconds: bench.arguments.seconds.get() })?;
                    eprintln!("round {round}, {connections} connections, {subject}: {:.0} requests/s", turn.per_second);
                    rounds.add((connections, subject), turn);
                }
            }
        }
        Ok(Self { rounds })
    }

    fn table(&self, text: &mut impl fmt::Write, connections: u32) -> fmt::Result {
        let plural = if connections == 1 { "connection" } else { "connections" };
        writeln!(text, "\n### {connections} {plural}\n")?;
        writeln!(
            text,
            "| | requests/s | p50, µs | p99, µs | server CPU-s per 1,000 | wrk, cores | of bare hyper's rate | of FastAPI's rate |"
        )?;
        writeln!(text, "|---|--:|--:|--:|--:|--:|--:|--:|")?;
        for key in self.rounds.keys().filter(|key| key.0 == connections) {
            let median = |figure: fn(&Turn) -> f64| self.rounds.median(key, figure);
            let ratio = |to| self.rounds.ratio(key, (connections, to), |turn| turn.per_second);
            writeln!(
                text,
                "| {} | {} | {:.0} | {:.0} | {:.4} | {:.2} | {:.0} % | {:.2} x |",
                key.1,
                thousands(median(|turn| turn.per_second)),
                median(|turn| turn.p50_us),
                median(|turn| turn.p99_us),
                median(|turn| turn.cpu_seconds_per_1000),
                median(|turn| turn.load_cores),
                ratio(Subject::Hyper) * 100.0,
                ratio(Subject::FastApi),
            )?;
        }
        Ok(())
    }

    fn bounds(&self, text: &mut impl fmt::Write) -> fmt::Result {
        writeln!(text, "\n### Floors and targets\n\n| | measured | floor | | target | |\n|---|--:|--:|---|--:|---|")?;
        for Bound { what, subject, to, connections, measure, floor, target } in BOUNDS {
            let value = self.rounds.ratio((connections, subject), (connections, to), |turn| measure.of(turn));
            let met = |limit| verdict(measure.holds(value, limit));
            writeln!(text, "| {what} | {value:.2} | {floor:.2} | {} | {target:.2} | {} |", met(floor), met(target))?;
        }
        Ok(())
    }
}

impl Display for Rates {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for connections in CONNECTIONS {
            self.table(&mut text, connections)?;
        }
        self.bounds(&mut text)?;
        formatter.write_str(&text)
    }
}

/// What we hold ourselves to: at least, or at most, this part of somebody else's figure.
struct Bound {
    what: &'static str,
    subject: Subject,
    to: Subject,
    connections: u32,
    measure: Measure,
    floor: f64,
    target: f64,
}

#[derive(Clone, Copy)]
enum Measure {
    /// Requests a second: the more the better.
    Rate,
    /// The median time: the less the better.
    P50,
}

impl Measure {
    fn of(self, turn: &Turn) -> f64 {
        match self {
            Self::Rate => turn.per_second,
            Self::P50 => turn.p50_us,
        }
    }

    fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Self::Rate => value >= bound,
            Self::P50 => value <= bound,
        }
    }
}

const BOUNDS: [Bound; 6] = {
    use Measure::{P50, Rate};
    use Subject::{Async, Def, FastApi, Hyper};
    const MANY: u32 = CONNECTIONS[0];
    const ONE: u32 = CONNECTIONS[1];
    const fn bound(
        what: &'static str,
        (subject, to): (Subject, Subject),
        connections: u32,
        measure: Measure,
        (floor, target): (f64, f64),
    ) -> Bound {
        Bound { what, subject, to, connections, measure, floor, target }
    }
    [
        bound("`def`, requests/s, of bare hyper's", (Def, Hyper), MANY, Rate, (0.45, 0.60)),
        bound("`def`, requests/s, of FastAPI's", (Def, FastApi), MANY, Rate, (5.0, 8.0)),
        bound("`async def`, requests/s, of bare hyper's", (Async, Hyper), MANY, Rate, (0.40, 0.60)),
        bound("`async def`, requests/s, of FastAPI's", (Async, FastApi), MANY, Rate, (5.0, 8.0)),
        bound("`def`, p50 at one connection, of FastAPI's", (Def, FastApi), ONE, P50, (0.65, 0.45)),
        bound("`async def`, p50 at one connection, of FastAPI's", (Async, FastApi), ONE, P50, (0.65, 0.45)),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_is_below_for_rates_and_above_for_times() {
        assert!(Measure::Rate.holds(0.46, 0.45) && !Measure::Rate.holds(0.44, 0.45));
        assert!(Measure::P50.holds(0.64, 0.65) && !Measure::P50.holds(0.66, 0.65));
    }
}
