//! How long things take that happen once: a command, a script's first call, a worker's replacement, a reload, a deployment.

mod calls;
mod commands;
mod deployed;
mod deployments;
mod replacements;

use std::fmt::{self, Display};
use std::process::Command;
use std::time::{Duration, Instant};

use super::figures::Quartiles;
use super::report::millis;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::process;
use crate::server::Server;

/// How often each of these is measured.
const TIMES: usize = 20;

/// What was measured, and may have to be quick.
struct Row {
    what: String,
    /// Microseconds.
    times: Quartiles,
    goal: Option<Duration>,
}

impl Row {
    fn new(what: impl Into<String>, times: Quartiles) -> Self {
        Self { what: what.into(), times, goal: None }
    }

    fn under(self, goal: Duration) -> Self {
        Self { goal: Some(goal), ..self }
    }
}

impl Display for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, times: Quartiles { lower, median, upper }, goal } = self;
        write!(formatter, "| {what} | {} ms | {} to {} |", millis(*median), millis(*lower), millis(*upper))?;
        match goal {
            Some(goal) => write!(formatter, " under {} ms |", goal.as_secs_f64() * 1e3),
            None => write!(formatter, " |"),
        }
    }
}

/// All of them.
pub struct Once {
    rows: Vec<Row>,
    /// What `flash run` held of the memory before the first request.
    idle_bytes: u64,
}

impl Once {
    /// Measures what people, scripts and callers wait for.
    pub fn measure(environment: &Environment, server: &Server, idle_bytes: u64) -> Result<Self, Failure> {
        let mut rows = Vec::new();
        let mut keep = |measured: Vec<Row>| {
            measured.iter().for_each(|row| eprintln!("{row}"));
            rows.extend(measured);
        };
        keep(calls::live(environment)?);
        keep(replacements::measure(environment, server)?);
        keep(commands::measure(environment)?);
        keep(deployments::measure(environment)?);
        keep(deployed::measure(environment)?);
        Ok(Self { rows, idle_bytes })
    }
}

impl Display for Once {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "\n| | median | half of them within, ms | to be |\n|---|--:|--:|--:|")?;
        for row in &self.rows {
            writeln!(formatter, "{row}")?;
        }
        writeln!(formatter, "| memory of the server, idle (RSS of `flash run`) | {:.1} MB | | under 30 MB |", self.idle_bytes as f64 / 1e6)
    }
}

/// How long a command takes from start to end.
fn timed(command: &mut Command) -> Result<Duration, Failure> {
    let start = Instant::now();
    process::read(command)?;
    Ok(start.elapsed())
}

/// Several times, in microseconds, after one that does not count: it fills caches.
fn typical(mut measure: impl FnMut() -> Result<Duration, Failure>) -> Result<Quartiles, Failure> {
    measure()?;
    let times = (0..TIMES).map(|_| Ok(measure()?.as_secs_f64() * 1e6)).collect::<Result<_, Failure>>()?;
    Ok(Quartiles::of(times))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_its_spread_and_its_goal() {
        let times = Quartiles { lower: 240.0, median: 250.0, upper: 1260.0 };
        assert_eq!(Row::new("a call", times).to_string(), "| a call | 0.25 ms | 0.24 to 1.26 | |");
        let goal = Duration::from_micros(300);
        assert_eq!(Row::new("a call", times).under(goal).to_string(), "| a call | 0.25 ms | 0.24 to 1.26 | under 0.3 ms |");
    }
}
