//! What a million waiting jobs change: for their endpoint, for another one of the same server, and for the server's memory.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::ours::Flash;
use crate::bench::figures::median;
use crate::bench::report::{thousands, verdict};
use crate::bench::unexpected;
use crate::failure::Failure;
use crate::project;

/// Half of them are delayed, and of top priority.
const WAITING: u32 = 1_000_000;
/// Clients that fill the queue: more than are measured, so that it does not take long.
const FILLERS: u32 = 256;
const CLIENTS: u32 = 64;
/// Jobs that are sent in a turn, while the worker is held.
const SENT: u32 = 40_000;
/// Of those, so many are waited for, or what ends in this time.
const ENDED: u64 = 10_000;
const AT_MOST: Duration = Duration::from_secs(2);
/// Seconds of a turn of looking at jobs.
const LOOKING: u32 = 1;
/// How often each place takes its turn.
const ROUNDS: u32 = 7;
/// So long nothing takes that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// At least this part of the rate with an empty queue.
const RATE_GOAL: f64 = 0.8;
/// No more than this for a million jobs.
const MEMORY_GOAL: f64 = 200.0;

/// Where jobs are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// A server with nothing else.
    Empty,
    /// The endpoint where a million wait.
    Full,
    /// Another endpoint of the same server.
    Beside,
}

impl Place {
    const ALL: [Self; 3] = [Self::Empty, Self::Full, Self::Beside];

    fn endpoint(self) -> &'static str {
        match self {
            Self::Empty | Self::Full => "waiting",
            Self::Beside => "beside",
        }
    }
}

impl Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Empty => "an empty queue",
            Self::Full => "a million waiting",
            Self::Beside => "the endpoint beside",
        })
    }
}

/// What is done there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    Accepted,
    Ended,
    LookedAt,
}

impl Act {
    const ALL: [Self; 3] = [Self::Accepted, Self::Ended, Self::LookedAt];
}

impl Display for Act {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Accepted => "accepted (`run`)",
            Self::Ended => "claimed and completed",
            Self::LookedAt => "looked at (`status`)",
        })
    }
}

/// All turns, and the rest that was found.
pub struct Waiting {
    /// A second, in the order of the rounds.
    rates: BTreeMap<(Act, Place), Vec<f64>>,
    filled_per_second: f64,
    /// The most that the load ever used of a core.
    load_cores: f64,
    /// Of the server with the million: before them, with them, after the rounds.
    resident: [u64; 3],
}

impl Waiting {
    /// Measures, on a server with an empty queue and on another one that is filled.
    pub fn measure<'a>(empty: &mut Flash<'a>, full: &mut Flash<'a>) -> Result<Self, Failure> {
        for place in Place::ALL {
            let flash = if place == Place::Empty { &mut *empty } else { &mut *full };
            // Code is warm, and the function known to be quick.
            flash.turn(&mut flash.load(place.endpoint(), "wait", CLIENTS, 1))?;
        }
        let before = full.resident_bytes()?;
        let mut held = Some(Held::begin(full, Place::Full.endpoint())?);
        let mut fill = full.load(Place::Full.endpoint(), "submit-mixed", FILLERS, WAITING);
        let filled = full.turn(fill.arg(ids(Place::Full)))?;
        let (filled_per_second, mut load_cores) = (filled.per_second, filled.load_cores);
        let (_, wait) = ended_and_waiting(full, Place::Full.endpoint())?;
        if wait < u64::from(WAITING) {
            return Err(unexpected("health", format!("{WAITING} jobs were accepted, and {wait} wait")));
        }
        eprintln!("{WAITING} jobs wait, accepted at {filled_per_second:.0} a second");
        let with = full.resident_bytes()?;
        let mut rates = BTreeMap::<_, Vec<f64>>::new();
        for round in 1..=ROUNDS {
            for place in in_turn(round) {
                let flash = if place == Place::Empty { &mut *empty } else { &mut *full };
                let endpoint = place.endpoint();
                let worker = match held.take_if(|_| place == Place::Full) {
                    Some(worker) => worker,
                    None => Held::begin(flash, endpoint)?,
                };
                let mut submit = flash.load(endpoint, "submit", CLIENTS, SENT);
                if place != Place::Full {
                    submit.arg(ids(place)); // at the million's, any of the million are looked at
                }
                let accepted = flash.turn(&mut submit)?;
                let looked_at = flash.turn(flash.load(endpoint, "status", CLIENTS, LOOKING).arg(ids(place)))?;
                load_cores = load_cores.max(accepted.load_cores).max(looked_at.load_cores);
                drop(worker);
                let ended = ended_per_second(flash, endpoint)?;
                if place == Place::Full {
                    held = Some(Held::begin(flash, endpoint)?);
                } else {
                    clear(flash, endpoint)?;
                }
                for (act, rate) in [(Act::Accepted, accepted.per_second), (Act::Ended, ended), (Act::LookedAt, looked_at.per_second)] {
                    eprintln!("round {round}, {place}, {act}: {rate:.0}/s");
                    rates.entry((act, place)).or_default().push(rate);
                }
            }
        }
        let resident = [before, with, full.resident_bytes()?];
        Ok(Self { rates, filled_per_second, load_cores, resident })
    }

    /// What it is to be, with what it is; a line of the table of goals each.
    pub fn goals(&self) -> Vec<String> {
        let mut goals = Vec::new();
        for act in Act::ALL {
            for place in [Place::Full, Place::Beside] {
                let ratio = self.ratio(act, place);
                goals.push(format!(
                    "| {act} a second, {place}, of the empty queue's | {ratio:.2} | {RATE_GOAL:.2} | {} |",
                    verdict(ratio >= RATE_GOAL)
                ));
            }
        }
        let grown = self.grown();
        goals.push(format!(
            "| memory of the server for a million waiting jobs | {grown:.0} MB | under {MEMORY_GOAL:.0} MB | {} |",
            verdict(grown < MEMORY_GOAL)
        ));
        goals
    }

    /// Of the rate with an empty queue: the median of the rounds' ratios.
    fn ratio(&self, act: Act, place: Place) -> f64 {
        let pairs = self.rates(act, place).iter().zip(self.rates(act, Place::Empty));
        median(pairs.map(|(rate, empty)| rate / empty).collect())
    }

    fn rates(&self, act: Act, place: Place) -> &[f64] {
        self.rates.get(&(act, place)).map_or(&[], Vec::as_slice)
    }

    /// Megabytes; the most that it had more than before.
    fn grown(&self) -> f64 {
        let [before, with, after] = self.resident.map(|bytes| bytes as f64 / 1e6);
        with.max(after) - before
    }
}

impl Display for Waiting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        let [before, with, after] = self.resident.map(|bytes| bytes as f64 / 1e6);
        writeln!(text, "\n### A million waiting jobs\n")?;
        writeln!(
            text,
            "They were accepted at {} a second, from {FILLERS} clients. The load used {:.2} of a core at most.",
            thousands(self.filled_per_second),
            self.load_cores
        )?;
        writeln!(text, "Memory of the server (RSS): {before:.0} MB before, {with:.0} MB with them, {after:.0} MB after the rounds.\n")?;
        writeln!(text, "| a second | {} | {} | | {} | |", Place::Empty, Place::Full, Place::Beside)?;
        writeln!(text, "|---|--:|--:|--:|--:|--:|")?;
        for act in Act::ALL {
            let rate = |place| thousands(median(self.rates(act, place).to_vec()));
            let ratio = |place| self.ratio(act, place) * 100.0;
            let [empty, full, beside] = Place::ALL.map(rate);
            let (of_full, of_beside) = (ratio(Place::Full), ratio(Place::Beside));
            writeln!(text, "| {act} | {empty} | {full} | {of_full:.0} % | {beside} | {of_beside:.0} % |")?;
        }
        formatter.write_str(&text)
    }
}

/// In every other round the other way round: what one leaves for the disk to do falls as often to the one as to the other.
fn in_turn(round: u32) -> [Place; 3] {
    let mut places = Place::ALL;
    if round.is_multiple_of(2) {
        places.reverse();
    }
    places
}

/// The file with ids of a place's jobs.
fn ids(place: Place) -> PathBuf {
    project::target().join("bench/jobs").join(match place {
        Place::Empty => "ids-empty",
        Place::Full => "ids-full",
        Place::Beside => "ids-beside",
    })
}

/// A job that has the endpoint's worker until this is dropped: what comes meanwhile waits.
struct Held {
    _line: TcpStream,
}

impl Held {
    fn begin(flash: &Flash, endpoint: &str) -> Result<Self, Failure> {
        let trouble = |cause: std::io::Error| unexpected("bench/jobs.py", cause);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(trouble)?;
        let port = listener.local_addr().map_err(trouble)?.port();
        flash.ask(endpoint, "POST", "run", Some(&format!(r#"{{"input":{{"port":{port}}},"policy":{{"priority":100}}}}"#)))?;
        listener.set_nonblocking(true).map_err(trouble)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match listener.accept() {
                Ok((line, _)) => return Ok(Self { _line: line }),
                Err(cause) if cause.kind() == std::io::ErrorKind::WouldBlock && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(cause) => return Err(trouble(cause)),
            }
        }
    }
}

/// How many of an endpoint's jobs have a result, and how many wait.
fn ended_and_waiting(flash: &Flash, endpoint: &str) -> Result<(u64, u64), Failure> {
    let jobs = &flash.ask(endpoint, "GET", "health", None)?["jobs"];
    let number = |name: &str| jobs[name].as_u64().ok_or_else(|| unexpected("health", jobs.to_string()));
    Ok((number("completed")?, number("inQueue")?))
}

/// How many jobs a second end while many wait, with nothing else to do for the server.
fn ended_per_second(flash: &Flash, endpoint: &str) -> Result<f64, Failure> {
    let ended = || ended_and_waiting(flash, endpoint);
    let patience = Instant::now() + PATIENCE;
    let (at_first, _) = ended()?;
    // The one that held the worker has ended, and some after it.
    let (begin, start) = loop {
        let (now, _) = ended()?;
        match Instant::now() {
            at if now >= at_first + 100 => break (now, at),
            at if at > patience => return Err(unexpected("health", "no job ends")),
            _ => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    loop {
        std::thread::sleep(Duration::from_millis(10));
        let (now, left) = ended()?;
        let took = start.elapsed();
        if left == 0 {
            return Err(unexpected("health", "all jobs have ended before the rate was taken"));
        }
        if now - begin >= ENDED || took >= AT_MOST {
            return Ok((now - begin) as f64 / took.as_secs_f64());
        }
    }
}

/// Takes away what still waits.
fn clear(flash: &Flash, endpoint: &str) -> Result<(), Failure> {
    let patience = Instant::now() + PATIENCE;
    flash.ask(endpoint, "POST", "purge-queue", None)?;
    loop {
        let jobs = &flash.ask(endpoint, "GET", "health", None)?["jobs"];
        if jobs["inQueue"] == 0 && jobs["inProgress"] == 0 {
            return Ok(());
        }
        if Instant::now() > patience {
            return Err(unexpected("health", jobs.to_string()));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(full: f64, resident: [u64; 3]) -> Waiting {
        let rates = |place| if place == Place::Full { vec![1000.0 * full, 500.0 * full, 10.0] } else { vec![1000.0, 500.0, 10.0] };
        let rates = Act::ALL.into_iter().flat_map(|act| Place::ALL.map(|place| ((act, place), rates(place)))).collect();
        Waiting { rates, filled_per_second: 1000.0, load_cores: 0.5, resident: resident.map(|megabytes| megabytes * 1_000_000) }
    }

    #[test]
    fn a_million_may_cost_a_fifth_of_a_rate() {
        assert_eq!(measured(0.81, [30, 40, 50]).missed(), 0);
        // The empty queue's own rate differs from round to round: what counts is the ratio within each.
        assert_eq!(measured(0.79, [30, 40, 50]).missed(), 3);
    }

    #[test]
    fn memory_counts_at_its_most() {
        for resident in [[30, 240, 100], [30, 40, 231]] {
            assert_eq!(measured(1.0, resident).missed(), 1, "{resident:?}");
        }
    }

    #[test]
    fn every_other_round_goes_the_other_way() {
        assert_eq!([in_turn(1)[0], in_turn(2)[0], in_turn(3)[0]], [Place::Empty, Place::Beside, Place::Empty]);
    }

    impl Waiting {
        fn missed(&self) -> usize {
            self.goals().iter().filter(|goal| goal.ends_with("| missed |")).count()
        }
    }
}
