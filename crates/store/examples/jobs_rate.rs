//! How many jobs a second go through the queue alone: accepted, leased and completed, each of the three on the disk.
//!
//! `cargo run --release -p flash-store --example jobs_rate -- [FOLDER] [JOBS] [WAITING]`: the folder is where the disk is measured, JOBS are done in
//! each turn. With WAITING a second queue has so many jobs that wait, half of them delayed and of top priority; then both have their turns one
//! after the other, since a machine and its disk are not equally fast at all times.

use std::fmt::{self, Display, Formatter};
use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flash_store::jobs::{Filter, Jobs, New, Outcome, Policy, Ran, Settings, State};

static NEXT: AtomicU64 = AtomicU64::new(0);

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or_else(|| ".".into());
    let mut number = |default| arguments.next().map_or(default, |text| text.parse().expect("a number"));
    let (jobs, waiting) = (number(60_000), number(0));
    let home = tempfile::tempdir_in(folder).expect("a folder");
    println!("sync of 8 KiB  {}", Times(sync_times(home.path())));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let open = |name: &str| {
            let home = home.path().join(name);
            std::fs::create_dir(&home).expect("a folder");
            Jobs::open(&home, Settings::default()).expect("a queue")
        };
        let empty = open("empty");
        for clients in [1, 64] {
            for commits in [Commits::Three, Commits::Two] {
                let rate = run(&empty, "e", clients, if clients == 1 { jobs / 40 } else { jobs }, commits).await;
                println!("{clients:>2} clients, {commits:?} syncs  {rate}");
            }
        }
        if waiting > 0 {
            compare(&empty, &open("full"), jobs, waiting).await;
        }
        let metrics = empty.metrics();
        println!("{} commits of {:.1} commands", metrics.commits, metrics.commands as f64 / metrics.commits as f64);
        println!("batches {:?}, times {:?}, failures {}", metrics.batches, metrics.times, metrics.failures);
    });
}

const TURNS: usize = 7;

async fn compare(empty: &Jobs, full: &Jobs, jobs: u64, waiting: u64) {
    let before = resident();
    let begun = Instant::now();
    fill(full, "e", waiting).await;
    println!("{waiting} wait, accepted at {:.0} a second", waiting as f64 / begun.elapsed().as_secs_f64());
    let places = [("empty", empty, "e"), ("full", full, "e"), ("beside", full, "other")];
    let mut found: Vec<Vec<Rate>> = places.iter().map(|_| Vec::new()).collect();
    for _ in 0..TURNS {
        for ((_, queue, endpoint), rates) in places.iter().zip(&mut found) {
            rates.push(run(queue, endpoint, 64, jobs, Commits::Three).await);
        }
    }
    for ((name, queue, endpoint), mut rates) in places.into_iter().zip(found) {
        rates.sort_by(|one, other| one.jobs.total_cmp(&other.jobs));
        println!("{name:>6}: {}; status {}", rates[TURNS / 2], status(queue, endpoint).await);
    }
    let counts = full.counts("e");
    println!("{} ready, {} delayed; memory {:+} MiB", counts.of(State::Ready), counts.of(State::Delayed), (resident() - before) >> 20);
}

/// How long it takes to read a job.
async fn status(queue: &Jobs, endpoint: &str) -> Times {
    let page = queue.list(Filter { endpoint: Some(endpoint.into()), ..Filter::default() }).await.expect("a list");
    let mut times = Vec::new();
    for job in page.jobs.iter().cycle().take(2000) {
        let begun = Instant::now();
        queue.get(&job.id).await.expect("a read").expect("a job");
        times.push(begun.elapsed());
    }
    Times(times)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Commits {
    /// Submit, claim, finish.
    Three,
    /// Submit and claim, finish.
    Two,
}

struct Rate {
    jobs: f64,
    accepted: Times,
    claimed: Times,
}

impl Display for Rate {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        write!(to, "{:>8.0} jobs/s; accepted {}; claimed {}", self.jobs, self.accepted, self.claimed)
    }
}

async fn run(queue: &Jobs, endpoint: &str, clients: u64, jobs: u64, commits: Commits) -> Rate {
    let begun = Instant::now();
    let left = Arc::new(AtomicU64::new(jobs));
    let tasks: Vec<_> = (0..clients)
        .map(|_| {
            let (queue, endpoint, left) = (queue.clone(), endpoint.to_owned(), Arc::clone(&left));
            tokio::spawn(async move {
                let (mut accepted, mut times) = (Vec::new(), Vec::new());
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                    let begun = Instant::now();
                    let claimed = if commits == Commits::Two {
                        queue.submit_and_claim(new(&endpoint), 1).await.expect("accepted").1
                    } else {
                        queue.submit(new(&endpoint)).await.expect("accepted");
                        Vec::new()
                    };
                    accepted.push(begun.elapsed());
                    let begun = Instant::now();
                    let claimed = if claimed.is_empty() { queue.claim(&endpoint, 1).await.expect("claimed") } else { claimed };
                    times.push(begun.elapsed());
                    for job in claimed {
                        let outcome = Outcome::Completed(Bytes::from_static(b"[97,98]"));
                        queue.finish(job.lease, outcome, Ran::default()).await.expect("finished");
                    }
                }
                (accepted, times)
            })
        })
        .collect();
    let (mut accepted, mut claimed) = (Vec::new(), Vec::new());
    for task in tasks {
        let (more, times) = task.await.expect("a task");
        accepted.extend(more);
        claimed.extend(times);
    }
    Rate { jobs: jobs as f64 / begun.elapsed().as_secs_f64(), accepted: Times(accepted), claimed: Times(claimed) }
}

/// Half of them delayed and of top priority.
async fn fill(queue: &Jobs, endpoint: &str, waiting: u64) {
    let tasks: Vec<_> = (0..256)
        .map(|client| {
            let (queue, endpoint) = (queue.clone(), endpoint.to_owned());
            tokio::spawn(async move {
                for number in (client..waiting).step_by(256) {
                    let mut job = new(&endpoint);
                    if number % 2 == 1 {
                        job.policy = Policy { delay: Duration::from_secs(3600), priority: 100, ..Policy::default() };
                    }
                    queue.submit(job).await.expect("accepted");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a task");
    }
}

fn new(endpoint: &str) -> New {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    New {
        endpoint: endpoint.into(),
        function: "f".into(),
        id: format!("0198f6e2-{:04x}-7{:03x}-8000-{number:012x}-u1", number >> 44, number >> 32 & 0xfff),
        input: Bytes::from_static(br#"{"texts":["a","b"]}"#),
        policy: Policy::default(),
        webhook: None,
        idempotency: None,
    }
}

fn sync_times(home: &Path) -> Vec<Duration> {
    let mut file = File::create(home.join("sync")).expect("a file");
    file.write_all(&vec![1; 8 << 20]).and_then(|()| file.sync_all()).expect("room");
    let once = |_| {
        file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(&[2; 8192])).expect("a write");
        let begun = Instant::now();
        file.sync_data().expect("a sync");
        begun.elapsed()
    };
    (0..300).map(once).collect()
}

struct Times(Vec<Duration>);

impl Display for Times {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        let mut times = self.0.clone();
        times.sort_unstable();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        write!(to, "p50 {:.3} ms, p99 {:.3} ms", at(0.5), at(0.99))
    }
}

fn resident() -> i64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok().and_then(|text| text.split(' ').nth(1)?.parse::<i64>().ok());
    pages.unwrap_or(0) * 4096
}
