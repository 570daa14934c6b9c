//! What the process does whose power is cut, and what it says of it.

use std::collections::HashSet;
use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use flash_store::jobs::{Cancelled, Claimed, Jobs, New, Outcome, Policy, Ran, Result, Settings, Synchronous};

pub const HOME: &str = "POWER_LOSS_HOME";
pub const SYNCHRONOUS: &str = "POWER_LOSS_SYNCHRONOUS";

const CLIENTS: usize = 6;
const JOBS: usize = 25;

/// What was said before the power was cut.
#[derive(Debug, Default)]
pub struct Promises {
    pub accepted: HashSet<String>,
    pub completed: HashSet<String>,
    pub cancelled: HashSet<String>,
    pub refused: HashSet<String>,
}

impl Promises {
    pub fn note(&mut self, line: &str) {
        let Some((what, id)) = line.trim().split_once(' ') else { return };
        match what {
            "accepted" => drop(self.accepted.insert(id.to_owned())),
            "completed" => drop(self.completed.insert(id.to_owned())),
            "cancelled" => drop(self.cancelled.insert(id.to_owned())),
            "refused" => drop(self.refused.insert(id.to_owned())),
            _ => {}
        }
    }
}

/// A small log, so that it is brought into the database and begun anew many times; large payloads are files.
pub fn settings() -> Settings {
    Settings { log_limit: 400_000, inline_payload: 32 << 10, ..Settings::default() }
}

/// One that is brought into the database with each commit, nearly: that has its turn to fail as well.
fn short_log() -> Settings {
    Settings { log_limit: 20_000, ..settings() }
}

fn payload(id: &str, what: &str) -> Bytes {
    let number = id.bytes().fold(0_usize, |sum, byte| sum + usize::from(byte));
    let length = [0, 0, 0, 0, 0, 3000, 20_000, 40_000][number % 8];
    format!("\"{what} {id} {}\"", what.repeat(length / what.len())).into()
}

pub fn input(id: &str) -> Bytes {
    payload(id, "in")
}

pub fn output(id: &str) -> Bytes {
    payload(id, "out")
}

pub async fn complete(jobs: &Jobs, job: Claimed) -> Result<()> {
    assert_eq!(job.input, input(&job.id));
    jobs.finish(job.lease, Outcome::Completed(output(&job.id)), Ran::default()).await.map(drop)
}

fn say(what: &str, id: &str) {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(format!("{what} {id}\n").as_bytes()).and_then(|()| stdout.flush()).unwrap();
}

#[test]
#[ignore = "the tests beside it start this one in a process of its own"]
fn what_the_process_does_whose_power_is_cut() {
    let home = std::env::var_os(HOME).expect("started by the tests beside this one");
    let synchronous = if std::env::var(SYNCHRONOUS).as_deref() == Ok("Full") { Synchronous::Full } else { Synchronous::Off };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    runtime.block_on(async {
        let jobs = Jobs::open(home.as_ref(), Settings { synchronous, ..settings() }).unwrap();
        let clients: Vec<_> = (0..CLIENTS).map(|client| tokio::spawn(client_works(jobs.clone(), client))).collect();
        for client in clients {
            client.await.unwrap();
        }
    });
}

async fn client_works(jobs: Jobs, client: usize) {
    for number in 0..JOBS {
        let id = format!("j{client}-{number}");
        jobs.submit(new(&id)).await.unwrap();
        say("accepted", &id);
        if number % 5 == 0 && jobs.cancel(&id, Ran::default()).await.unwrap() == Cancelled::Waiting {
            say("cancelled", &id);
        }
        if number % 5 > 1 {
            for job in jobs.claim("e", 1).await.unwrap() {
                let id = job.id.clone();
                // Another client may have cancelled it meanwhile.
                if complete(&jobs, job).await.is_ok() {
                    say("completed", &id);
                }
            }
        }
    }
}

fn new(id: &str) -> New {
    New {
        endpoint: "e".into(),
        function: "f".into(),
        id: id.into(),
        input: input(id),
        policy: Policy::default(),
        webhook: None,
        idempotency: None,
    }
}

#[test]
#[ignore = "the tests beside it start this one in a process of its own"]
fn what_the_process_does_whose_disk_fails() {
    on_a_disk_that_fails(|| ());
}

#[test]
#[ignore = "the tests beside it start this one in a process of its own"]
#[expect(clippy::disallowed_methods, reason = "nothing is to be dropped or written any more")]
fn what_the_process_does_that_is_killed_once_a_job_is_refused() {
    on_a_disk_that_fails(|| std::process::exit(0));
}

fn on_a_disk_that_fails(refused: impl Fn()) {
    let home = std::env::var_os(HOME).expect("started by the tests beside this one");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let work = async {
        // A server that cannot open its queue is started again, by whoever looks after it.
        let jobs = loop {
            match Jobs::open(home.as_ref(), short_log()) {
                Ok(jobs) => break jobs,
                Err(error) => eprintln!("not opened: {error}: {}", error.why()),
            }
        };
        for number in 0..6 {
            one_job(&jobs, number, &refused).await;
        }
        assert_eq!(jobs.metrics().failing, None);
    };
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), work).await.expect("it goes on by itself") });
}

/// Sends it until it is accepted, and runs it.
async fn one_job(jobs: &Jobs, number: usize, refused: &impl Fn()) {
    for time in 0.. {
        let id = format!("j{number}-{time}");
        match jobs.submit(new(&id)).await {
            Ok(_) => {
                say("accepted", &id);
                break;
            }
            Err(error) => {
                assert!(error.is_of_the_disk(), "{error}: {}", error.why());
                say("refused", &id);
                refused();
                assert!(jobs.get(&id).await.unwrap().is_none(), "{id} was refused, and is there");
            }
        }
    }
    let job = loop {
        match jobs.claim("e", 1).await {
            Ok(mut claimed) => break claimed.pop().expect("the job that was accepted"),
            Err(error) => assert!(error.is_of_the_disk(), "{error}: {}", error.why()),
        }
    };
    let id = job.id.clone();
    complete(jobs, job).await.unwrap();
    say("completed", &id);
}
