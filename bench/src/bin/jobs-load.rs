//! `jobs-load PORT ENDPOINT WHAT CLIENTS AMOUNT [IDS]`: clients of the job API, each with one request at a time on a connection of its own. It tells
//! how many were answered and how long they took, as a line of JSON.
//!
//! WHAT is `wait`, jobs whose end is seen (`runsync`), for AMOUNT seconds; `submit`, AMOUNT jobs that wait; `submit-mixed`, the same, every other one of
//! them delayed by an hour and of top priority; or `status`, jobs looked at, for AMOUNT seconds. Some ids of what is submitted are written to the file
//! IDS, and those in it are looked at.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use flash_bench::{Connection, Times, request};
use tokio::task::LocalSet;

/// So many ids are kept.
const KEPT: u64 = 1000;
const ID: &str = r#""id":""#;
const STATUS: &str = r#""status":""#;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((turn, clients, ids)) = read(&arguments)? else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "usage: jobs-load PORT ENDPOINT WHAT CLIENTS AMOUNT [IDS]"));
    };
    let turn = Rc::new(turn);
    let local = LocalSet::new();
    let tasks: Vec<_> = (0..clients).map(|client| local.spawn_local(go(turn.clone(), client))).collect();
    local.await;
    let took = turn.begun.elapsed();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.map_err(io::Error::other)??);
    }
    if let Some(path) = ids.filter(|_| matches!(turn.act, Act::Submit { .. })) {
        std::fs::write(path, turn.ids.borrow().join("\n"))?;
    }
    let times = Times::of(times);
    println!(r#"{{"count":{},"seconds":{},{times}}}"#, times.count(), took.as_secs_f64());
    Ok(())
}

/// What is done, and how much of it is left.
struct Turn {
    port: u16,
    endpoint: String,
    act: Act,
    begun: Instant,
    ids: RefCell<Vec<String>>,
}

enum Act {
    Wait { until: Instant },
    Submit { count: u64, submitted: Cell<u64>, mixed: bool },
    Status { until: Instant },
}

fn read(arguments: &[String]) -> io::Result<Option<(Turn, usize, Option<&String>)>> {
    let [port, endpoint, what, clients, amount, ids @ ..] = arguments else { return Ok(None) };
    let (Ok(port), Ok(clients), Ok(amount)) = (port.parse(), clients.parse::<usize>(), amount.parse::<u64>()) else { return Ok(None) };
    let (begun, ids) = (Instant::now(), ids.first());
    let until = begun + Duration::from_secs(amount);
    let act = match what.as_str() {
        "wait" => Act::Wait { until },
        "submit" | "submit-mixed" => Act::Submit { count: amount, submitted: Cell::new(0), mixed: what == "submit-mixed" },
        "status" => Act::Status { until },
        _ => return Ok(None),
    };
    let known = match (&act, ids) {
        (Act::Status { .. }, Some(path)) => std::fs::read_to_string(path)?.lines().map(str::to_owned).collect(),
        (Act::Status { .. }, None) => return Ok(None),
        _ => Vec::new(),
    };
    Ok(Some((Turn { port, endpoint: endpoint.clone(), act, begun, ids: RefCell::new(known) }, clients, ids)))
}

/// One client, until there is nothing left to do; how long its requests took.
async fn go(turn: Rc<Turn>, client: usize) -> io::Result<Vec<Duration>> {
    let mut connection = Connection::open(turn.port).await?;
    let mut times = Vec::new();
    let path = |operation: &str| format!("/v2/{}/{operation}", turn.endpoint);
    match &turn.act {
        Act::Wait { until } => {
            let request = request("POST", &path("runsync"), r#"{"input":{}}"#);
            while Instant::now() < *until {
                let begun = Instant::now();
                let answer = connection.ask(&request).await?;
                times.push(begun.elapsed());
                field(answer, STATUS).filter(|status| *status == "COMPLETED").ok_or_else(|| odd(answer))?;
            }
        }
        Act::Submit { count, submitted, mixed } => {
            let plain = request("POST", &path("run"), r#"{"input":{}}"#);
            let later = request("POST", &path("run"), r#"{"input":{},"policy":{"delay":3600000,"priority":100}}"#);
            while submitted.get() < *count {
                let number = submitted.replace(submitted.get() + 1);
                let begun = Instant::now();
                let answer = connection.ask(if *mixed && number % 2 == 1 { &later } else { &plain }).await?;
                times.push(begun.elapsed());
                let id = field(answer, ID).ok_or_else(|| odd(answer))?;
                if number.is_multiple_of((count / KEPT).max(1)) {
                    turn.ids.borrow_mut().push(id.to_owned());
                }
            }
        }
        Act::Status { until } => {
            let requests: Vec<_> = turn.ids.borrow().iter().map(|id| request("GET", &path(&format!("status/{id}")), "")).collect();
            // Each begins elsewhere.
            let mut next = client * 7919;
            while Instant::now() < *until {
                let request = requests.get(next % requests.len().max(1)).ok_or_else(|| io::Error::other("there are no ids"))?;
                next += 1;
                let begun = Instant::now();
                let answer = connection.ask(request).await?;
                times.push(begun.elapsed());
                field(answer, STATUS).ok_or_else(|| odd(answer))?;
            }
        }
    }
    Ok(times)
}

/// A field of text, by its name as it is written; the first one of that name.
fn field<'answer>(answer: &'answer str, name: &str) -> Option<&'answer str> {
    let (_, rest) = answer.split_once(name)?;
    rest.split_once('"').map(|(value, _)| value)
}

fn odd(answer: &str) -> io::Error {
    io::Error::other(format!("an odd answer: {answer}"))
}
