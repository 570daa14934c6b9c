//! The tables, as Markdown: printed, and kept in `bench/README.md`.

use std::fmt::{self, Display, Write as _};
use std::fs;
use std::time::Duration;

use super::figures::{Rounds, Turn};
use super::startup::Startup;
use super::subject::Subject;
use super::{Arguments, CONNECTIONS};
use crate::failure::Failure;
use crate::project;

const FILE: &str = "bench/README.md";
/// What is kept stands between these lines.
const BEGIN: &str = "<!-- measured: written by `cargo xtask bench` -->";
const END: &str = "<!-- end of what was measured -->";

/// All that was measured.
pub struct Report<'r> {
    pub arguments: &'r Arguments,
    /// What the machine is, as text.
    pub machine: &'r str,
    /// Before anything was started.
    pub load_average: f64,
    /// What `flash` kept busy at the higher number of connections, rounded up.
    pub cores: u32,
    pub rounds: &'r Rounds,
    pub startup: &'r Startup,
    pub after_kill: Duration,
    pub idle_bytes: u64,
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

impl Report<'_> {
    /// Puts the tables in the place of the last ones.
    pub fn keep(&self) -> Result<(), Failure> {
        let path = project::path(FILE);
        let trouble = |why: &dyn Display| Failure::new(format!("`{FILE}` was not brought up to date"), why, format!("git checkout {FILE}"));
        let text = fs::read_to_string(&path).map_err(|cause| trouble(&cause))?;
        let text = replaced(&text, &self.to_string()).ok_or_else(|| trouble(&"the lines around the tables are gone"))?;
        fs::write(&path, text).map_err(|cause| trouble(&cause))
    }

    fn load_table(&self, text: &mut impl fmt::Write, connections: u32) -> fmt::Result {
        let plural = if connections == 1 { "connection" } else { "connections" };
        writeln!(text, "\n### {connections} {plural}\n")?;
        writeln!(
            text,
            "| | requests/s | p50, µs | p99, µs | server CPU-s per 1,000 | wrk, cores | of bare hyper's rate | of FastAPI's rate |"
        )?;
        writeln!(text, "|---|--:|--:|--:|--:|--:|--:|--:|")?;
        for subject in self.rounds.subjects(connections) {
            let median = |figure: fn(&Turn) -> f64| self.rounds.median(connections, subject, figure);
            let ratio = |to| self.rounds.ratio(connections, subject, to, |turn| turn.per_second);
            writeln!(
                text,
                "| {subject} | {} | {:.0} | {:.0} | {:.4} | {:.2} | {:.0} % | {:.2} x |",
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

    fn bounds_table(&self, text: &mut impl fmt::Write) -> fmt::Result {
        writeln!(text, "\n### Floors and targets\n\n| | measured | floor | | target | |\n|---|--:|--:|---|--:|---|")?;
        for bound in &BOUNDS {
            let value = self.rounds.ratio(bound.connections, bound.subject, bound.to, |turn| bound.measure.of(turn));
            let met = |limit| if bound.measure.holds(value, limit) { "met" } else { "missed" };
            let Bound { what, floor, target, .. } = bound;
            writeln!(text, "| {what} | {value:.2} | {floor:.2} | {} | {target:.2} | {} |", met(*floor), met(*target))?;
        }
        Ok(())
    }

    fn once_table(&self, text: &mut impl fmt::Write) -> fmt::Result {
        let Self { startup, after_kill, idle_bytes, .. } = self;
        writeln!(text, "\n### What happens once\n\n| | measured | to be |\n|---|--:|--:|")?;
        writeln!(text, "| a script with one live call, from start to end | {} | under 400 ms |", shown(startup.script))?;
        writeln!(text, "| of that, Python alone (`python -c pass`) | {} | |", shown(startup.python))?;
        writeln!(text, "| a later live call of a `def` | {} | under 1 ms |", shown(startup.later_def))?;
        writeln!(text, "| a later live call of an `async def` | {} | under 1 ms |", shown(startup.later_async))?;
        writeln!(text, "| a worker killed, to the answer of the next one | {} | |", shown(*after_kill))?;
        writeln!(text, "| memory of the server, idle (RSS of `flash run`) | {:.1} MB | under 30 MB |", *idle_bytes as f64 / 1e6)
    }
}

impl Display for Report<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { machine, load_average, cores, .. } = self;
        let Arguments { rounds, seconds, .. } = self.arguments;
        let mut text = String::new();
        writeln!(text, "Machine: {machine}, shared by the load, the server and its workers; load average before: {load_average:.2}.")?;
        writeln!(text, "{rounds} rounds of {seconds} s. `flash`, with one worker, kept up to {cores} of the cores busy.")?;
        for connections in CONNECTIONS {
            self.load_table(&mut text, connections)?;
        }
        self.bounds_table(&mut text)?;
        self.once_table(&mut text)?;
        formatter.write_str(&text)
    }
}

/// `text` with something new between the lines; `None` if it has no such lines.
fn replaced(text: &str, new: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{new}\n{END}{after}"))
}

fn shown(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1e3;
    if millis < 10.0 { format!("{millis:.2} ms") } else { format!("{millis:.0} ms") }
}

fn thousands(value: f64) -> String {
    let value = value.round() as u64;
    if value < 1000 { value.to_string() } else { format!("{},{:03}", value / 1000, value % 1000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_tables_take_the_place_of_the_last_and_of_nothing_else() {
        let kept = replaced(&format!("a\n{BEGIN}\nold\n{END}\nb\n"), "new");
        assert_eq!(kept, Some(format!("a\n{BEGIN}\n\nnew\n{END}\nb\n")));
        assert_eq!(replaced("a", "new"), None);
    }

    #[test]
    fn a_floor_is_below_for_rates_and_above_for_times() {
        assert!(Measure::Rate.holds(0.46, 0.45) && !Measure::Rate.holds(0.44, 0.45));
        assert!(Measure::P50.holds(0.64, 0.65) && !Measure::P50.holds(0.66, 0.65));
    }

    #[test]
    fn large_numbers_have_a_comma() {
        assert_eq!([999.6, 67_012.0, 12.0].map(thousands), ["1,000", "67,012", "12"]);
    }
}
