//! The grid's tables.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Write as _};

use super::{CONNECTIONS, Cell, Grid, Key, Subject};
use crate::bench::figures::Turn;
use crate::bench::report::{counted, millis, thousands};

/// Figures within these parts of each other count as even: rounds of one and the same server differ by as much.
const EVEN_RATE: f64 = 0.98;
const EVEN_P99: f64 = 1.10;

/// Where somebody else does better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worse {
    Rate,
    P99,
    Both,
}

impl Worse {
    /// `rates` and `p99s`: ours as parts of the others'.
    fn than(rates: &[f64], p99s: &[f64]) -> Option<Self> {
        let rate = rates.iter().any(|rate| *rate < EVEN_RATE);
        let p99 = p99s.iter().any(|p99| *p99 > EVEN_P99);
        match (rate, p99) {
            (true, true) => Some(Self::Both),
            (true, false) => Some(Self::Rate),
            (false, true) => Some(Self::P99),
            (false, false) => None,
        }
    }
}

impl Display for Worse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Rate => "**fewer**",
            Self::P99 => "**later**",
            Self::Both => "**fewer, later**",
        })
    }
}

impl Grid {
    fn ratio(&self, key: Key, to: Subject, figure: fn(&Turn) -> f64) -> f64 {
        let (cell, connections, _) = key;
        self.rounds.ratio(key, (cell, connections, to), figure)
    }

    /// What is worse of ours in a row; of theirs nothing is.
    fn worse(&self, key: Key) -> Option<Worse> {
        let Subject::Flash(_) = key.2 else { return None };
        let parts = |figure| [Subject::FastApi, Subject::Granian].map(|to| self.ratio(key, to, figure));
        Worse::than(&parts(|turn| turn.per_second), &parts(|turn| turn.p99_us))
    }

    fn summary(&self, text: &mut impl fmt::Write) -> fmt::Result {
        let worse: Vec<(Key, Worse)> = self.rounds.keys().filter_map(|key| Some((key, self.worse(key)?))).collect();
        if worse.is_empty() {
            return writeln!(text, "\nNo cell of `flash` has a lower rate or a later p99 than one of the others.");
        }
        writeln!(text, "\n### Where another one does better\n")?;
        writeln!(text, "| | | connections | rate, of uvicorn's | of Granian's | p99, of uvicorn's | of Granian's | |")?;
        writeln!(text, "|---|---|--:|--:|--:|--:|--:|---|")?;
        for (key, worse) in worse {
            let (cell, connections, subject) = key;
            write!(text, "| {} | {subject} | {connections} ", cell.title())?;
            self.parts(text, key)?;
            writeln!(text, "| {worse} |")?;
        }
        Ok(())
    }

    fn table(&self, text: &mut impl fmt::Write, cell: Cell) -> fmt::Result {
        writeln!(text, "\n### {}\n", cell.title())?;
        write!(text, "| | connections | requests/s | p50, ms | p99, ms | p99.9, ms | CPU-s per 1,000 ")?;
        writeln!(text, "| rate, of uvicorn's | of Granian's | p99, of uvicorn's | of Granian's | |")?;
        writeln!(text, "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|")?;
        for connections in CONNECTIONS {
            for subject in cell.subjects() {
                let key = (cell, connections, subject);
                let median = |figure: fn(&Turn) -> f64| self.rounds.median(key, figure);
                write!(
                    text,
                    "| {subject} | {connections} | {} | {} | {} | {} | {:.3} ",
                    thousands(median(|turn| turn.per_second)),
                    millis(median(|turn| turn.p50_us)),
                    millis(median(|turn| turn.p99_us)),
                    millis(median(|turn| turn.p999_us)),
                    median(|turn| turn.cpu_seconds_per_1000),
                )?;
                self.parts(text, key)?;
                writeln!(text, "|{} |", self.worse(key).map_or_else(String::new, |worse| format!(" {worse}")))?;
            }
        }
        Ok(())
    }

    /// Ours as parts of theirs: four columns, empty in their own rows.
    fn parts(&self, text: &mut impl fmt::Write, key: Key) -> fmt::Result {
        let Subject::Flash(_) = key.2 else { return write!(text, "| | | | ") };
        for figure in [|turn: &Turn| turn.per_second, |turn: &Turn| turn.p99_us] {
            for to in [Subject::FastApi, Subject::Granian] {
                write!(text, "| {:.2} ", self.ratio(key, to, figure))?;
            }
        }
        Ok(())
    }
}

impl Display for Grid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        let (processes, cores) = (counted(self.cores, "process", "processes"), counted(self.cores, "core", "cores"));
        writeln!(text, "Each server had {processes} of Python on the same {cores}.")?;
        self.summary(&mut text)?;
        let cells: BTreeSet<Cell> = self.rounds.keys().map(|key| key.0).collect();
        for cell in cells {
            self.table(&mut text, cell)?;
        }
        formatter.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_worse_than_any_other_is_marked() {
        assert_eq!(Worse::than(&[0.97, 2.0], &[1.0, 0.5]), Some(Worse::Rate));
        assert_eq!(Worse::than(&[0.99, 2.0], &[0.5, 1.2]), Some(Worse::P99));
        assert_eq!(Worse::than(&[0.5], &[2.0]), Some(Worse::Both));
        assert_eq!(Worse::than(&[0.99, 1.0], &[1.05, 1.0]), None);
    }
}
