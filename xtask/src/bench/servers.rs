//! The servers that are measured, and how each is started.

use std::process::Command;

use crate::environment::Environment;
use crate::failure::Failure;
use crate::project;
use crate::server::{Output, Server, free_port};

/// A server that is yet to be started.
pub struct Start {
    command: Command,
    port: u16,
    /// Answers 200 to a GET once the server can do its work.
    ready: &'static str,
    log: String,
}

impl Start {
    /// Bare hyper.
    pub fn hyper() -> Result<Self, Failure> {
        let port = free_port(0)?;
        let mut command = Command::new(program("bare-hyper"));
        command.arg(port.to_string());
        Ok(Self { command, port, ready: "/", log: "hyper".into() })
    }

    /// `flash run` on a file, its lines in a file of their own, as a service's would be.
    pub fn flash(environment: &Environment, file: &str, ready: &'static str, workers: u32) -> Result<Self, Failure> {
        let port = free_port(0)?;
        let mut command = environment.program("flash");
        command.args(["run", file, "--port", &port.to_string(), "--workers", &workers.to_string()]);
        Ok(Self { command, port, ready, log: format!("flash-{}-{workers}", file.replace('/', "-")) })
    }

    /// The same, with a worker in Rust that answers a constant.
    pub fn flash_without_python(environment: &Environment, file: &str, ready: &'static str) -> Result<Self, Failure> {
        let mut start = Self::flash(environment, file, ready, 1)?;
        start.command.arg("--runtime").arg(program("constant-worker"));
        start.log = "flash-without-python".into();
        Ok(start)
    }

    /// FastAPI under uvicorn.
    pub fn fastapi(environment: &Environment, processes: u32) -> Result<Self, Failure> {
        let port = free_port(0)?;
        let mut command = environment.program("python");
        command.args(["-m", "uvicorn", "--app-dir", "bench", "fastapi_app:app", "--loop", "uvloop", "--http", "httptools"]);
        command.args(["--no-access-log", "--port", &port.to_string(), "--workers", &processes.to_string()]);
        Ok(Self { command, port, ready: "/ping", log: format!("fastapi-{processes}") })
    }

    /// The same FastAPI under Granian.
    pub fn granian(environment: &Environment, processes: u32) -> Result<Self, Failure> {
        let port = free_port(0)?;
        let mut command = environment.program("granian");
        command.args(["fastapi_app:app", "--working-dir", "bench", "--interface", "asgi", "--loop", "uvloop", "--http", "1"]);
        command.args(["--port", &port.to_string(), "--workers", &processes.to_string()]);
        Ok(Self { command, port, ready: "/ping", log: format!("granian-{processes}") })
    }

    /// Allows all of its processes these cores alone.
    pub fn on(mut self, cores: &[u32]) -> Self {
        let cores: Vec<String> = cores.iter().map(u32::to_string).collect();
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", &cores.join(",")]).arg(self.command.get_program()).args(self.command.get_args());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        self.command = command;
        self
    }

    /// Starts it, and waits until it answers.
    pub fn now(mut self) -> Result<Server, Failure> {
        // Where to look when something is odd.
        let log = project::target().join("bench").join(self.log).with_extension("log");
        Server::start(&mut self.command, self.port, self.ready, Output::File(log))
    }
}

fn program(name: &str) -> std::path::PathBuf {
    project::target().join("release").join(name)
}
