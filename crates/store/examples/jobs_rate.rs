//! How many jobs a second go through the queue alone: accepted, leased and completed, each of the three on the disk.
//!
//! `cargo run --release -p flash-store --example jobs_rate -- [FOLDER] [JOBS] [WAITING]`: the folder is where the disk is measured, JOBS are done in
//! each turn, WAITING are put in front of those of the last turns, half of them delayed and of top priority.

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
    println!("sync of 8 KiB       {}", told(&sync_times(home.path())));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let queue = Jobs::open(home.path(), Settings::default()).expect("a queue");
        measure(&queue, "e", jobs).await;
        if waiting > 0 {
            let before = resident();
            let begun = Instant::now();
            fill(&queue, "e", waiting).await;
            println!("{waiting} more wait, accepted at {:.0} a second", waiting as f64 / begun.elapsed().as_secs_f64());
            measure(&queue, "e", jobs).await;
            println!("another endpoint:");
            measure(&queue, "other", jobs).await;
            println!("memory +{} MiB", (resident() - before) >> 20);
        }
        let metrics = queue.metrics();
        println!("{} commits of {:.1} commands", metrics.commits, metrics.commands as f64 / metrics.commits as f64);
        println!("batches {:?}, times {:?}", metrics.batches, metrics.times);
        let log = std::fs::metadata(home.path().join("jobs.db-wal")).map_or(0, |file| file.len());
        println!("log {} MiB, failures {}", log >> 20, metrics.failures);
    });
}

async fn measure(queue: &Jobs, endpoint: &str, jobs: u64) {
    for clients in [1, 64] {
        let jobs = if clients == 1 { jobs / 40 } else { jobs };
        run(queue, endpoint, clients, jobs, Commits::Three).await;
        run(queue, endpoint, clients, jobs, Commits::Two).await;
    }
    let ids: Vec<String> = queue
        .list(Filter { endpoint: Some(endpoint.into()), ..Filter::default() })
        .await
        .expect("a list")
        .jobs
        .into_iter()
        .map(|job| job.id)
        .collect();
    let mut times = Vec::new();
    for id in ids.iter().cycle().take(2000) {
        let begun = Instant::now();
        queue.get(id).await.expect("a read").expect("a job");
        times.push(begun.elapsed());
    }
    println!("status              {}", told(&times));
    let waiting = queue.counts(endpoint);
    println!("                    {} ready, {} delayed", waiting.of(State::Ready), waiting.of(State::Delayed));
}

#[derive(Clone, Copy, PartialEq)]
enum Commits {
    /// Submit, claim, finish.
    Three,
    /// Submit and claim, finish.
    Two,
}

async fn run(queue: &Jobs, endpoint: &str, clients: u64, jobs: u64, commits: Commits) {
    let begun = Instant::now();
    let left = Arc::new(AtomicU64::new(jobs));
    let tasks: Vec<_> = (0..clients)
        .map(|_| {
            let (queue, endpoint, left) = (queue.clone(), endpoint.to_owned(), Arc::clone(&left));
            tokio::spawn(async move {
                let mut accepted = Vec::new();
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                    let begun = Instant::now();
                    let claimed = if commits == Commits::Two {
                        queue.submit_and_claim(new(&endpoint), 1).await.expect("accepted").1
                    } else {
                        queue.submit(new(&endpoint)).await.expect("accepted");
                        Vec::new()
                    };
                    accepted.push(begun.elapsed());
                    let claimed = if claimed.is_empty() { queue.claim(&endpoint, 1).await.expect("claimed") } else { claimed };
                    for job in claimed {
                        let outcome = Outcome::Completed(Bytes::from_static(b"[97,98]"));
                        queue.finish(job.lease, outcome, Ran::default()).await.expect("finished");
                    }
                }
                accepted
            })
        })
        .collect();
    let mut accepted = Vec::new();
    for task in tasks {
        accepted.extend(task.await.expect("a task"));
    }
    let rate = jobs as f64 / begun.elapsed().as_secs_f64();
    let commits = if commits == Commits::Two { 2 } else { 3 };
    println!("{clients:>2} clients, {commits} syncs  {rate:>8.0} jobs/s; accepted {}", told(&accepted));
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

fn told(times: &[Duration]) -> String {
    let mut times = times.to_vec();
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    format!("p50 {:.3} ms, p99 {:.3} ms", at(0.5), at(0.99))
}

fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok().and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}
