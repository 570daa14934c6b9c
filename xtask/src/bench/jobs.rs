//! Jobs of the durable queue, beside Celery with Redis and Procrastinate with PostgreSQL; and a million of them that wait.

mod daemon;
mod disk;
mod load;
mod ours;
mod peers;
mod waiting;

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write as _};
use std::num::NonZeroU32;

use super::figures::{Quartiles, Rounds, Turn};
use super::files::Folder;
use super::report::{millis, thousands, verdict};
use crate::environment::Environment;
use crate::failure::Failure;

use ours::{Commits, Flash};
use peers::{Celery, Procrastinate, Programs, SEVERAL};
use waiting::Waiting;

/// How many clients, each with one job at a time.
const CLIENTS: [u32; 2] = [64, 1];
/// Of `bench/jobs.py`.
const ENDPOINT: &str = "alone";
/// Jobs a second of `flash`, at many clients.
const RATE_GOAL: f64 = 8000.0;
/// Microseconds of a job, at one client.
const P50_GOAL: f64 = 3000.0;
/// Before its figures count, each has served this long.
const WARM_UP_SECONDS: u32 = 2;

/// Who runs jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Flash,
    Celery,
    Procrastinate,
    ProcrastinateSeveral,
}

impl Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flash => formatter.write_str("flash"),
            Self::Celery => formatter.write_str("Celery, Redis"),
            Self::Procrastinate => formatter.write_str("Procrastinate, PostgreSQL"),
            Self::ProcrastinateSeveral => write!(formatter, "the same, {SEVERAL} jobs at a time"),
        }
    }
}

/// All that run.
struct Servers<'a> {
    theirs: &'a Environment,
    flash: Flash<'a>,
    celery: Option<Celery>,
    procrastinate: Option<Procrastinate>,
}

impl Servers<'_> {
    fn subjects(&self) -> Vec<Subject> {
        let mut subjects = vec![Subject::Flash];
        subjects.extend(self.celery.as_ref().map(|_| Subject::Celery));
        if self.procrastinate.is_some() {
            subjects.extend([Subject::Procrastinate, Subject::ProcrastinateSeveral]);
        }
        subjects
    }

    /// One turn; `None` where it is not there.
    fn turn(&mut self, subject: Subject, clients: u32, seconds: u32) -> Result<Option<Turn>, Failure> {
        let one = subject == Subject::Procrastinate;
        match subject {
            Subject::Flash => self.flash.turn(&mut self.flash.load(ENDPOINT, "wait", clients, seconds)).map(Some),
            Subject::Celery => self.celery.as_mut().map(|celery| celery.turn(self.theirs, clients, seconds)).transpose(),
            Subject::Procrastinate | Subject::ProcrastinateSeveral => {
                self.procrastinate.as_mut().map(|procrastinate| procrastinate.turn(self.theirs, one, clients, seconds)).transpose()
            }
        }
    }
}

/// All turns of all.
pub struct Jobs {
    rounds: Rounds<(u32, Subject)>,
    commits: BTreeMap<u32, Commits>,
    syncs: Quartiles,
    missing: Vec<Failure>,
    waiting: Waiting,
}

impl Jobs {
    /// Measures.
    pub fn measure(ours: &Environment, theirs: &Environment, rounds: NonZeroU32, seconds: NonZeroU32) -> Result<Self, Failure> {
        let place = Place(Folder::empty("jobs")?);
        let mut missing = Vec::new();
        let mut without = |failure: Failure| {
            eprintln!("{failure}");
            missing.push(failure);
        };
        let celery = match Celery::check() {
            Ok(()) => Some(Celery::start(theirs)?),
            Err(failure) => {
                without(failure);
                None
            }
        };
        let procrastinate = match Programs::find() {
            Ok(programs) => Some(Procrastinate::start(theirs, &programs)?),
            Err(failure) => {
                without(failure);
                None
            }
        };
        let mut servers = Servers { theirs, flash: Flash::start(ours, "empty")?, celery, procrastinate };
        for subject in servers.subjects() {
            servers.turn(subject, CLIENTS[0], WARM_UP_SECONDS)?;
        }
        let (mut figures, mut commits) = (Rounds::default(), BTreeMap::<u32, Commits>::new());
        let mut syncs = Vec::new();
        for round in 1..=rounds.get() {
            // In each round: other programs have the disk busy at some times.
            syncs.extend(disk::sync_times(&place.0.path(""), disk::TIMES.div_ceil(rounds.get()))?);
            for clients in CLIENTS {
                for subject in servers.subjects() {
                    let before = servers.flash.commits(ENDPOINT)?;
                    let Some(turn) = servers.turn(subject, clients, seconds.get())? else { continue };
                    if subject == Subject::Flash {
                        commits.entry(clients).or_default().add(&before, &servers.flash.commits(ENDPOINT)?);
                    }
                    eprintln!("round {round}, {clients} clients, {subject}: {:.0} jobs/s", turn.per_second);
                    figures.add((clients, subject), turn);
                }
            }
        }
        let Servers { mut flash, celery, procrastinate, .. } = servers;
        drop((celery, procrastinate));
        let waiting = Waiting::measure(&mut flash, &mut Flash::start(ours, "full")?)?;
        Ok(Self { rounds: figures, commits, syncs: Quartiles::of(syncs), missing, waiting })
    }
}

impl Jobs {
    fn table(&self, text: &mut impl fmt::Write, clients: u32) -> fmt::Result {
        writeln!(text, "\n### {clients} {}\n", if clients == 1 { "client" } else { "clients" })?;
        writeln!(text, "| | jobs/s | p50, ms | p99, ms | server CPU-s per 1,000 | load, cores | of Celery's rate | of Procrastinate's |")?;
        writeln!(text, "|---|--:|--:|--:|--:|--:|--:|--:|")?;
        for key in self.rounds.keys().filter(|key| key.0 == clients) {
            let median = |figure: fn(&Turn) -> f64| self.rounds.median(key, figure);
            let [celery, procrastinate] = [Subject::Celery, Subject::Procrastinate].map(|to| self.ratio(key.1, to, clients));
            writeln!(
                text,
                "| {} | {} | {} | {} | {:.3} | {:.2} | {} | {} |",
                key.1,
                thousands(median(|turn| turn.per_second)),
                millis(median(|turn| turn.p50_us)),
                millis(median(|turn| turn.p99_us)),
                median(|turn| turn.cpu_seconds_per_1000),
                median(|turn| turn.load_cores),
                times(celery),
                times(procrastinate),
            )?;
        }
        match self.commits.get(&clients) {
            Some(commits) => writeln!(text, "\n{commits}"),
            None => Ok(()),
        }
    }

    fn ratio(&self, subject: Subject, to: Subject, clients: u32) -> Option<f64> {
        Some(self.rounds.ratio((clients, subject), (clients, to), |turn| turn.per_second)).filter(|ratio| ratio.is_finite())
    }

    fn goals(&self, text: &mut impl fmt::Write) -> fmt::Result {
        writeln!(text, "\n### Goals\n\n| | measured | goal | |\n|---|--:|--:|---|")?;
        let [many, one] = CLIENTS;
        let rate = self.rounds.median((many, Subject::Flash), |turn| turn.per_second);
        writeln!(
            text,
            "| completed jobs a second, {many} clients | {} | {} | {} |",
            thousands(rate),
            thousands(RATE_GOAL),
            verdict(rate >= RATE_GOAL)
        )?;
        for (to, whose, goal) in [(Subject::Celery, "Celery's", 5.0), (Subject::Procrastinate, "Procrastinate's", 3.0)] {
            let ratio = self.ratio(Subject::Flash, to, many);
            let verdict = ratio.map_or("not measured", |ratio| verdict(ratio >= goal));
            writeln!(text, "| the same, of {whose} | {} | {goal:.0} x | {verdict} |", times(ratio))?;
        }
        let p50 = self.rounds.median((one, Subject::Flash), |turn| turn.p50_us);
        writeln!(
            text,
            "| p50 of `runsync`, {one} client | {} ms | under {} ms | {} |",
            millis(p50),
            millis(P50_GOAL),
            verdict(p50 < P50_GOAL)
        )?;
        for goal in self.waiting.goals() {
            writeln!(text, "{goal}")?;
        }
        Ok(())
    }
}

impl Display for Jobs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        let Quartiles { lower, median, upper } = self.syncs;
        writeln!(
            text,
            "An `fdatasync` of 4 KiB that were appended took {} ms, half of them {} to {} ms.",
            millis(median),
            millis(lower),
            millis(upper)
        )?;
        for failure in &self.missing {
            writeln!(text, "{}.", failure.what())?;
        }
        for clients in CLIENTS {
            self.table(&mut text, clients)?;
        }
        write!(text, "{}", self.waiting)?;
        self.goals(&mut text)?;
        formatter.write_str(&text)
    }
}

/// How many times as much; nothing where it was not measured.
fn times(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "–".into(), |ratio| format!("{ratio:.2} x"))
}

/// Files of all that is measured. Dropped, they are removed: a million jobs take some room.
struct Place(Folder);

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(failure) = self.0.remove("") {
            eprintln!("{failure}");
        }
    }
}
