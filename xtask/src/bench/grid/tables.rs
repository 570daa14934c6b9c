//! The grid's tables.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Write as _};

use super::{Cell, Grid, Key, Subject};
use crate::bench::figures::{Quartiles, Turn};
use crate::bench::report::{counted, millis, thousands};

/// Figures within these parts of each other count as even: rounds of one and the same server differ by as much.
const EVEN_RATE: f64 = 0.02;
const EVEN_P99: f64 = 0.10;

/// Whether ours is worse than another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// It is not.
    Even,
    /// It seems so, but the rounds differ by more.
    Undecided,
    /// It is.
    Worse,
}

impl Verdict {
    /// `behind`: by which part ours is worse, in the median of the rounds; below nothing where it is better. `spread`: by how much the
    /// half of the rounds around it differ.
    fn of(behind: f64, spread: f64, even: f64) -> Self {
        match () {
            () if behind <= even => Self::Even,
            () if behind <= spread => Self::Undecided,
            () => Self::Worse,
        }
    }

    fn of_rates(ratio: Quartiles) -> Self {
        Self::of(1.0 - ratio.median, ratio.spread(), EVEN_RATE)
    }

    fn of_p99s(ratio: Quartiles) -> Self {
        Self::of(ratio.median - 1.0, ratio.spread(), EVEN_P99)
    }
}

/// What a row of ours is marked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    rate: Verdict,
    p99: Verdict,
}

impl Mark {
    /// `rates` and `p99s`: ours as parts of the others'. `None` if nothing is worse.
    fn of(rates: &[Quartiles], p99s: &[Quartiles]) -> Option<Self> {
        let rate = rates.iter().copied().map(Verdict::of_rates).max()?;
        let p99 = p99s.iter().copied().map(Verdict::of_p99s).max()?;
        (rate > Verdict::Even || p99 > Verdict::Even).then_some(Self { rate, p99 })
    }
}

impl Display for Mark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |verdict, worse: &str| match verdict {
            Verdict::Even => None,
            Verdict::Undecided => Some(format!("{worse}?")),
            Verdict::Worse => Some(format!("**{worse}**")),
        };
        let words: Vec<String> = word(self.rate, "fewer").into_iter().chain(word(self.p99, "later")).collect();
        formatter.write_str(&words.join(", "))
    }
}

impl Grid {
    fn ratios(&self, key: Key, to: Subject, figure: fn(&Turn) -> f64) -> Quartiles {
        let (cell, connections, _) = key;
        self.rounds.ratios(key, (cell, connections, to), figure)
    }

    /// What is worse of ours in a row; of theirs nothing is.
    fn mark(&self, key: Key) -> Option<Mark> {
        let Subject::Flash(_) = key.2 else { return None };
        let parts = |figure| [Subject::FastApi, Subject::Granian].map(|to| self.ratios(key, to, figure));
        Mark::of(&parts(|turn| turn.per_second), &parts(|turn| turn.p99_us))
    }

    fn summary(&self, text: &mut impl fmt::Write) -> fmt::Result {
        let marked: Vec<(Key, Mark)> = self.rounds.keys().filter_map(|key| Some((key, self.mark(key)?))).collect();
        if marked.is_empty() {
            return writeln!(text, "\nNo cell of `flash` has a lower rate or a later p99 than one of the others.");
        }
        writeln!(text, "\n### Where another one does better, or may do\n")?;
        writeln!(text, "| | | connections | rate, of uvicorn's | of Granian's | p99, of uvicorn's | of Granian's | |")?;
        writeln!(text, "|---|---|--:|--:|--:|--:|--:|---|")?;
        for (key, mark) in marked {
            let (cell, connections, subject) = key;
            write!(text, "| {} | {subject} | {connections} ", cell.title())?;
            self.parts(text, key, |ratio| format!("{:.2} ±{:.2}", ratio.median, ratio.spread() / 2.0))?;
            writeln!(text, "| {mark} |")?;
        }
        Ok(())
    }

    fn table(&self, text: &mut impl fmt::Write, cell: Cell) -> fmt::Result {
        writeln!(text, "\n### {}\n", cell.title())?;
        write!(text, "| | connections | requests/s | ± | p50, ms | p99, ms | p99.9, ms | CPU-s per 1,000 ")?;
        writeln!(text, "| rate, of uvicorn's | of Granian's | p99, of uvicorn's | of Granian's | |")?;
        writeln!(text, "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|")?;
        let measured: BTreeSet<u32> = self.rounds.keys().map(|key| key.1).collect();
        for connections in measured {
            for subject in cell.subjects() {
                let key = (cell, connections, subject);
                let rate = self.rounds.quartiles(key, |turn| turn.per_second);
                let median = |figure: fn(&Turn) -> f64| self.rounds.median(key, figure);
                write!(
                    text,
                    "| {subject} | {connections} | {} | {:.0} % | {} | {} | {} | {:.3} ",
                    thousands(rate.median),
                    rate.spread() / 2.0 / rate.median * 100.0,
                    millis(median(|turn| turn.p50_us)),
                    millis(median(|turn| turn.p99_us)),
                    millis(median(|turn| turn.p999_us)),
                    median(|turn| turn.cpu_seconds_per_1000),
                )?;
                self.parts(text, key, |ratio| format!("{:.2}", ratio.median))?;
                writeln!(text, "|{} |", self.mark(key).map_or_else(String::new, |mark| format!(" {mark}")))?;
            }
        }
        Ok(())
    }

    /// Ours as parts of theirs: four columns, empty in their own rows.
    fn parts(&self, text: &mut impl fmt::Write, key: Key, shown: impl Fn(Quartiles) -> String) -> fmt::Result {
        let Subject::Flash(_) = key.2 else { return write!(text, "| | | | ") };
        for figure in [|turn: &Turn| turn.per_second, |turn: &Turn| turn.p99_us] {
            for to in [Subject::FastApi, Subject::Granian] {
                write!(text, "| {} ", shown(self.ratios(key, to, figure)))?;
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

    fn ratio(lower: f64, median: f64, upper: f64) -> Quartiles {
        Quartiles { lower, median, upper }
    }

    fn marked(rates: [Quartiles; 2], p99s: [Quartiles; 2]) -> Option<String> {
        Mark::of(&rates, &p99s).map(|mark| mark.to_string())
    }

    #[test]
    fn one_that_is_worse_than_any_other_is_marked() {
        let (good, even) = (ratio(2.0, 2.0, 2.0), ratio(1.0, 1.0, 1.0));
        assert_eq!(marked([ratio(0.96, 0.97, 0.98), good], [even, even]).as_deref(), Some("**fewer**"));
        assert_eq!(marked([good, good], [even, ratio(1.15, 1.2, 1.25)]).as_deref(), Some("**later**"));
        assert_eq!(marked([ratio(0.5, 0.5, 0.5), good], [good, even]).as_deref(), Some("**fewer**, **later**"));
        assert_eq!(marked([ratio(0.98, 0.99, 0.99), good], [ratio(1.0, 1.05, 1.1), even]), None);
    }

    #[test]
    fn what_differs_by_less_than_the_rounds_is_undecided() {
        let even = ratio(1.0, 1.0, 1.0);
        assert_eq!(marked([ratio(0.90, 0.95, 1.02), even], [even, even]).as_deref(), Some("fewer?"));
        assert_eq!(marked([even, even], [ratio(0.9, 1.3, 1.4), even]).as_deref(), Some("later?"));
        // Against one it is certain, whatever it is against the other.
        assert_eq!(marked([ratio(0.90, 0.95, 1.02), ratio(0.79, 0.8, 0.81)], [even, even]).as_deref(), Some("**fewer**"));
    }

    #[test]
    fn a_better_one_is_never_marked_however_uneven() {
        assert_eq!(marked([ratio(1.0, 2.0, 9.0); 2], [ratio(0.1, 0.5, 0.9); 2]), None);
    }
}
