//! What callers of `flash run` wait for when a worker dies or the sources change.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde::Deserialize;

use super::{Row, typical};
use crate::bench::figures::Quartiles;
use crate::bench::files::{Folder, GUIDE, guide};
use crate::bench::unexpected;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::server::{Output, Server, free_port};
use crate::{process, project};

/// What `/lb/bench/process` answers.
#[derive(Deserialize)]
struct Worker {
    id: i32,
}

/// Both.
pub fn measure(environment: &Environment, server: &Server) -> Result<Vec<Row>, Failure> {
    Ok(vec![
        Row::new("a worker killed, to the answer of the next one", fork_to_first_answer(server)?),
        Row::new("a file saved, to the first answer of the new code", save_to_answer(environment)?).under(Duration::from_millis(300)),
    ])
}

/// Kills the worker and asks again at once: the time until the answer of the next one, the discovery of the death included.
fn fork_to_first_answer(server: &Server) -> Result<Quartiles, Failure> {
    let worker = || -> Result<i32, Failure> {
        let answer = server.ask("GET", "/lb/bench/process", None)?;
        let worker: Worker = serde_json::from_str(&answer.body).map_err(|cause| unexpected("bench/add.py", cause))?;
        Ok(worker.id)
    };
    typical(|| {
        let first = worker()?;
        let start = Instant::now();
        process::signal(first, Signal::KILL);
        let next = worker()?;
        let elapsed = start.elapsed();
        if next == first { Err(unexpected("bench/add.py", "a worker that was killed")) } else { Ok(elapsed) }
    })
}

/// Saves the guide's service with another answer in it, and asks until that comes.
fn save_to_answer(environment: &Environment) -> Result<Quartiles, Failure> {
    const PATH: &str = "/lb/user-service/health";
    let folder = Folder::empty("reload")?;
    let mut saved = 0;
    folder.write(GUIDE, &guide("version 0")?)?;
    let port = free_port(0)?;
    let mut command = environment.program("flash");
    command.arg("run").arg(folder.path(GUIDE)).args(["--port", &port.to_string()]);
    let server = Server::start(&mut command, port, PATH, Output::File(project::target().join("bench/reload.log")))?;
    typical(|| {
        saved += 1;
        let answer = format!("version {saved}");
        let text = guide(&answer)?;
        let start = Instant::now();
        folder.write(GUIDE, &text)?;
        while !server.ask("GET", PATH, None)?.body.contains(&answer) {}
        Ok(start.elapsed())
    })
}
