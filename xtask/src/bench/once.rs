//! How long things take that happen once: a script's first call, a worker's replacement, a reload.

use std::fmt::{self, Display};
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde::Deserialize;

use super::figures::median;
use super::report::shown;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::server::{Output, Server, free_port};
use crate::{process, project};

/// How often each of these is measured.
const TIMES: usize = 20;

/// All are medians, but for the memory.
pub struct Once {
    /// A Python that does nothing, from start to end.
    python: Duration,
    /// A script with one live call, from start to end.
    script: Duration,
    /// A later live call of a `def`.
    later_def: Duration,
    /// A later live call of an `async def`.
    later_async: Duration,
    /// A worker killed, to the answer of the next one.
    after_kill: Duration,
    /// A file saved, to the first answer of the new code.
    after_save: Duration,
    /// What `flash run` held of the memory before the first request.
    idle_bytes: u64,
}

/// The line that `bench/later_calls.py` prints.
#[derive(Deserialize)]
struct LaterCalls {
    #[serde(rename = "def")]
    def_us: f64,
    #[serde(rename = "async def")]
    async_us: f64,
}

/// What `/lb/bench/process` answers.
#[derive(Deserialize)]
struct Worker {
    id: i32,
}

impl Once {
    /// Measures what scripts wait for, and what a server's callers do when a worker dies or sources change.
    pub fn measure(environment: &Environment, server: &Server, idle_bytes: u64) -> Result<Self, Failure> {
        let python = |arguments: &[&str]| {
            let mut command = environment.program("python");
            command.args(arguments);
            command
        };
        let printed = process::read(&mut python(&["bench/later_calls.py"]))?;
        let later: LaterCalls = serde_json::from_str(&printed).map_err(|cause| unexpected("bench/later_calls.py", cause))?;
        Ok(Self {
            python: typical(|| timed(python(&["-c", "pass"])))?,
            script: typical(|| timed(python(&["examples/guide/greet.py"])))?,
            later_def: Duration::from_secs_f64(later.def_us / 1e6),
            later_async: Duration::from_secs_f64(later.async_us / 1e6),
            after_kill: fork_to_first_answer(server)?,
            after_save: save_to_answer(environment)?,
            idle_bytes,
        })
    }
}

impl Display for Once {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { python, script, later_def, later_async, after_kill, after_save, idle_bytes } = self;
        writeln!(formatter, "\n| | measured | to be |\n|---|--:|--:|")?;
        writeln!(formatter, "| a script with one live call, from start to end | {} | under 400 ms |", shown(*script))?;
        writeln!(formatter, "| of that, Python alone (`python -c pass`) | {} | |", shown(*python))?;
        writeln!(formatter, "| a later live call of a `def` | {} | under 1 ms |", shown(*later_def))?;
        writeln!(formatter, "| a later live call of an `async def` | {} | under 1 ms |", shown(*later_async))?;
        writeln!(formatter, "| a worker killed, to the answer of the next one | {} | |", shown(*after_kill))?;
        writeln!(formatter, "| a file saved, to the first answer of the new code | {} | under 300 ms |", shown(*after_save))?;
        writeln!(formatter, "| memory of the server, idle (RSS of `flash run`) | {:.1} MB | under 30 MB |", *idle_bytes as f64 / 1e6)
    }
}

/// Kills the worker and asks again at once: the time until the answer of the next one, the discovery of the death included.
fn fork_to_first_answer(server: &Server) -> Result<Duration, Failure> {
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
fn save_to_answer(environment: &Environment) -> Result<Duration, Failure> {
    const PATH: &str = "/lb/user-service/health";
    const ANSWER: &str = r#""healthy""#;
    let folder = project::target().join("bench/reload");
    let file = folder.join("user_service.py");
    let unwritable =
        |cause| Failure::new(format!("`{}` could not be written", project::shown(&file)), cause, "make its directory writable");
    fs::create_dir_all(&folder).map_err(unwritable)?;
    fs::write(folder.join("flash.toml"), "").map_err(unwritable)?;
    let text =
        fs::read_to_string(project::path("examples/guide/user_service.py")).map_err(|cause| unexpected("the guide's service", cause))?;
    if !text.contains(ANSWER) {
        return Err(unexpected("the guide's service", "it does not say that it is healthy"));
    }
    fs::write(&file, &text).map_err(unwritable)?;
    let port = free_port(0)?;
    let mut command = environment.program("flash");
    command.arg("run").arg(&file).args(["--port", &port.to_string()]);
    let server = Server::start(&mut command, port, PATH, Output::File(project::target().join("bench/reload.log")))?;
    let mut saved = 0;
    typical(|| {
        saved += 1;
        let answer = format!(r#""version {saved}""#);
        let start = Instant::now();
        fs::write(&file, text.replace(ANSWER, &answer)).map_err(unwritable)?;
        while !server.ask("GET", PATH, None)?.body.contains(&answer) {}
        Ok(start.elapsed())
    })
}

fn timed(mut command: Command) -> Result<Duration, Failure> {
    let start = Instant::now();
    process::read(&mut command)?;
    Ok(start.elapsed())
}

/// The median of several, after one that does not count: it fills caches.
fn typical(mut measure: impl FnMut() -> Result<Duration, Failure>) -> Result<Duration, Failure> {
    measure()?;
    let times = (0..TIMES).map(|_| Ok(measure()?.as_secs_f64())).collect::<Result<_, Failure>>()?;
    Ok(Duration::from_secs_f64(median(times)))
}

fn unexpected(program: &str, cause: impl std::fmt::Display) -> Failure {
    Failure::new(format!("`{program}` answered something else than the bench expects"), cause, "run it yourself")
}
