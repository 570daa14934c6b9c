//! What is measured: servers that answer the same request with the same answer.

use std::collections::BTreeMap;
use std::fmt;
use std::process::Command;

use super::figures::Turn;
use super::load::{self, Load};
use crate::environment::Environment;
use crate::failure::Failure;
use crate::project;
use crate::server::{Output, Server, free_port};

const REQUEST: &str = r#"{"x":5,"y":3}"#;
const ANSWER: &str = r#"{"result":8}"#;

/// Somebody who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// Bare hyper, answering a constant.
    Hyper,
    /// `flash run`, one worker, a `def`.
    Def,
    /// The same worker, an `async def`.
    Async,
    /// FastAPI (an `async def`) under uvicorn with uvloop and httptools, one process.
    FastApi,
    /// The same with so many processes.
    FastApiSeveral(u32),
}

impl Subject {
    /// Where it answers the request.
    fn path(self) -> &'static str {
        match self {
            Self::Hyper => "/",
            Self::Def => "/lb/bench/def",
            Self::Async => "/lb/bench/async",
            Self::FastApi | Self::FastApiSeveral(_) => "/async",
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hyper => formatter.write_str("bare hyper, a constant"),
            Self::Def => formatter.write_str("flash, `def`"),
            Self::Async => formatter.write_str("flash, `async def`"),
            Self::FastApi => formatter.write_str("FastAPI, 1 process"),
            Self::FastApiSeveral(processes) => write!(formatter, "FastAPI, {processes} processes"),
        }
    }
}

/// All servers, up at once.
pub struct Servers {
    hyper: Server,
    flash: Server,
    /// By the number of processes.
    fastapi: BTreeMap<u32, Server>,
}

impl Servers {
    /// Starts bare hyper, `flash run`, and FastAPI with one process.
    pub fn start(ours: &Environment, theirs: &Environment) -> Result<Self, Failure> {
        let port = free_port(0)?;
        let mut hyper = Command::new(project::target().join("release/bare-hyper"));
        let hyper = Server::start(hyper.arg(port.to_string()), port, "/", log("hyper"))?;
        Ok(Self { hyper, flash: start_flash(ours)?, fastapi: BTreeMap::from([(1, start_fastapi(theirs, 1)?)]) })
    }

    /// Starts FastAPI with so many processes.
    pub fn start_several(&mut self, theirs: &Environment, processes: u32) -> Result<(), Failure> {
        self.fastapi.insert(processes, start_fastapi(theirs, processes)?);
        Ok(())
    }

    /// A subject's server.
    pub fn of(&self, subject: Subject) -> &Server {
        match subject {
            Subject::Hyper => &self.hyper,
            Subject::Def | Subject::Async => &self.flash,
            Subject::FastApi => &self.fastapi[&1],
            Subject::FastApiSeveral(processes) => &self.fastapi[&processes],
        }
    }

    /// One turn, after a look at the answer.
    pub fn measure(&self, subject: Subject, load: Load) -> Result<Turn, Failure> {
        let server = self.of(subject);
        let answer = server.ask("POST", subject.path(), Some(REQUEST))?;
        if answer.status != 200 || answer.body != ANSWER {
            let why = format!("it answers {} {}", answer.status, answer.body);
            return Err(Failure::new(format!("`{subject}` does not do what is measured"), why, format!("make it answer 200 {ANSWER}")));
        }
        load::make(server, subject.path(), load)
    }
}

/// `flash run`, its lines in a file, as a service's would be.
fn start_flash(environment: &Environment) -> Result<Server, Failure> {
    let port = free_port(0)?;
    let mut command = environment.program("flash");
    command.args(["run", "bench/add.py", "--port", &port.to_string()]);
    Server::start(&mut command, port, "/lb/bench/ping", log("flash"))
}

fn start_fastapi(environment: &Environment, processes: u32) -> Result<Server, Failure> {
    let port = free_port(0)?;
    let mut command = environment.program("python");
    command.args(["-m", "uvicorn", "--app-dir", "bench", "fastapi_app:app", "--loop", "uvloop", "--http", "httptools", "--no-access-log"]);
    command.args(["--port", &port.to_string(), "--workers", &processes.to_string()]);
    Server::start(&mut command, port, "/ping", log(&format!("fastapi-{processes}")))
}

/// Where to look when something is odd.
fn log(name: &str) -> Output {
    Output::File(project::target().join("bench").join(name).with_extension("log"))
}
