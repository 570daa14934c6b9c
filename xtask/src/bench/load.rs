//! Load, made by `wrk`.

use std::process::Command;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;

use super::figures::Turn;
use super::machine;
use crate::failure::Failure;
use crate::process;
use crate::server::Server;

/// What is asked, again and again.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Where.
    pub path: &'a str,
    /// JSON.
    pub body: &'a str,
}

/// How much of it.
#[derive(Clone, Copy)]
pub struct Load {
    /// Connections, each with one request at a time.
    pub connections: u32,
    /// For how long.
    pub seconds: u32,
}

/// The line that `bench/post.lua` writes.
#[derive(Deserialize)]
struct Outcome {
    requests: u64,
    duration_us: u64,
    p50_us: u64,
    p99_us: u64,
    p999_us: u64,
    refused: u64,
    broken: u64,
}

/// Whether load can be made here.
pub fn check_tool() -> Result<(), Failure> {
    // It exits with 1 after telling its version: what counts is that it starts.
    Command::new("wrk").arg("--version").output().map(drop).map_err(|cause| {
        Failure::new("`wrk`, which makes the load, is missing", cause, "apt-get install wrk (Debian, Ubuntu), brew install wrk (macOS)")
    })
}

/// A server whose processes use less than a tick of processor time in this has nothing left to do.
const QUIET: Duration = Duration::from_millis(40);
/// How long it may take until then.
const SETTLING: Duration = Duration::from_secs(10);

/// Sends requests to a server, once it is done with those that an earlier turn left, and after a look at the answer: it must be this JSON.
pub fn make(server: &Server, request: Request<'_>, expected: &Value, load: Load) -> Result<Turn, Failure> {
    let Request { path, body } = request;
    let url = format!("{}{path}", server.url());
    let answer = server.ask("POST", path, Some(body))?;
    if answer.status != 200 || serde_json::from_str::<Value>(&answer.body).ok().as_ref() != Some(expected) {
        let why = format!("it answers {} {:.200}", answer.status, answer.body);
        let remedy = format!("make it answer 200 {:.200}", expected.to_string());
        return Err(Failure::new(format!("{url} does not do what is measured"), why, remedy));
    }
    settle(server)?;
    let mut wrk = Command::new("wrk");
    wrk.args(["--threads", "1", "--timeout", "30s", "--script", "bench/post.lua"]);
    wrk.args(["--connections", &load.connections.to_string(), "--duration", &format!("{}s", load.seconds), &url, "--", body]);
    let before = machine::cpu_seconds(server.id())?;
    let before_load = machine::cpu_seconds_of_ended_children()?;
    let printed = process::read(&mut wrk)?;
    let used = machine::cpu_seconds(server.id())? - before;
    let used_by_load = machine::cpu_seconds_of_ended_children()? - before_load;

    let line = printed.lines().last().unwrap_or_default();
    let outcome: Outcome = serde_json::from_str(line)
        .map_err(|cause| Failure::new("`wrk` said something else than `bench/post.lua` tells it to", cause, "install wrk 4 or newer"))?;
    let Outcome { requests, duration_us, p50_us, p99_us, p999_us, refused, broken } = outcome;
    if requests == 0 || refused + broken > 0 {
        let why = format!("of {requests} answers {refused} were refusals, and {broken} requests had none");
        return Err(Failure::new(format!("{url} does not stand the load"), why, "look at the server's output, in target/bench"));
    }
    let seconds = duration_us as f64 / 1e6;
    Ok(Turn {
        per_second: requests as f64 / seconds,
        p50_us: p50_us as f64,
        p99_us: p99_us as f64,
        p999_us: p999_us as f64,
        cpu_seconds_per_1000: used / (requests as f64 / 1000.0),
        load_cores: used_by_load / seconds,
    })
}

/// `wrk` ends with a request under way on each connection, which a server may go on with.
fn settle(server: &Server) -> Result<(), Failure> {
    let deadline = Instant::now() + SETTLING;
    let mut used = machine::cpu_seconds(server.id())?;
    while Instant::now() < deadline {
        std::thread::sleep(QUIET);
        let before = std::mem::replace(&mut used, machine::cpu_seconds(server.id())?);
        if used <= before {
            return Ok(());
        }
    }
    Ok(())
}
