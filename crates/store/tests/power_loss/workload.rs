//! What the process does whose power is cut, and what it says of it.

use std::collections::HashSet;
use std::io::Write as _;

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
}

impl Promises {
    pub fn note(&mut self, line: &str) {
        let Some((what, id)) = line.trim().split_once(' ') else { return };
        match what {
            "accepted" => drop(self.accepted.insert(id.to_owned())),
            "completed" => drop(self.completed.insert(id.to_owned())),
            "cancelled" => drop(self.cancelled.insert(id.to_owned())),
            _ => {}
        }
    }
}

/// A small log, so that it is brought into the database and begun anew many times; large payloads are files.
pub fn settings() -> Settings {
    Settings { log_limit: 400_000, inline_payload: 32 << 10, ..Settings::default() }
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
        let new = New {
            endpoint: "e".into(),
            function: "f".into(),
            id: id.clone(),
            input: input(&id),
            policy: Policy::default(),
            webhook: None,
            idempotency: None,
        };
        jobs.submit(new).await.unwrap();
        say("accepted", &id);
        match number % 5 {
            0 => {
                if jobs.cancel(&id).await.unwrap() == Cancelled::Waiting {
                    say("cancelled", &id);
                }
            }
            1 | 2 | 3 => {
                for job in jobs.claim("e", 1).await.unwrap() {
                    let id = job.id.clone();
                    // Another client may have cancelled it meanwhile.
                    if complete(&jobs, job).await.is_ok() {
                        say("completed", &id);
                    }
                }
            }
            _ => {}
        }
    }
}
