//! Servers that a task starts, talks to, and ends.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::http::{self, Answer};
use crate::process::{self, Program};
use crate::project;

/// How long a server may take until it answers.
const START: Duration = Duration::from_secs(30);

/// Where a server's own words go.
pub enum Output {
    /// To whoever started the task.
    Terminal,
    /// Into a file, so that nobody's terminal is part of a measurement.
    File(PathBuf),
}

/// A server that was seen to answer. Dropped, it is ended.
pub struct Server {
    program: Program,
    address: SocketAddr,
    shown: String,
    output: Output,
}

impl Server {
    /// Starts a server that was told to listen on `port`, and waits until it answers a GET of `path`.
    pub fn start(command: &mut Command, port: u16, path: &str, output: Output) -> Result<Self, Failure> {
        if let Output::File(file) = &output {
            write_to(command, file).map_err(|cause| {
                Failure::new(format!("`{}` could not be written", project::shown(file)), cause, "make its directory writable")
            })?;
        }
        // A group of its own: Ctrl-C reaches the task alone, and the server ends when the task says so.
        let program = Program::start(command.stdin(Stdio::null()).process_group(0))?;
        let mut server = Self { program, address: (Ipv4Addr::LOCALHOST, port).into(), shown: process::shown(command), output };
        let deadline = Instant::now() + START;
        loop {
            let trouble = match http::ask(server.address, "GET", path, None) {
                Ok(Answer { status: 200, .. }) => return Ok(server),
                Ok(answer) => format!("{} {}", answer.status, answer.body),
                Err(error) => error.to_string(),
            };
            if server.program.has_ended() {
                return Err(server.ended());
            }
            if Instant::now() > deadline {
                let why = format!("`GET {}{path}` was answered by: {trouble}", server.url());
                return Err(Failure::new(format!("`{}` does not answer", server.shown), why, server.remedy()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The number of its first process.
    pub fn id(&self) -> i32 {
        self.program.id()
    }

    /// Sends one request.
    pub fn ask(&self, method: &str, path: &str, json: Option<&str>) -> Result<Answer, Failure> {
        http::ask(self.address, method, path, json)
            .map_err(|cause| Failure::new(format!("`{method} {}{path}` was not answered", self.url()), cause, self.remedy()))
    }

    /// Waits until it ends, which it must not do before the task was told to end.
    pub fn serve_on(mut self) -> Result<(), Failure> {
        let status = self.program.wait();
        if process::told_to_end() { Ok(()) } else { Err(self.ended_with(status)) }
    }

    fn ended(&mut self) -> Failure {
        let status = self.program.wait();
        self.ended_with(status)
    }

    fn ended_with(&self, status: ExitStatus) -> Failure {
        Failure::new(format!("`{}` ended by itself", self.shown), status, self.remedy())
    }

    fn remedy(&self) -> String {
        match &self.output {
            Output::Terminal => "read what it printed above".into(),
            Output::File(file) => format!("read what it printed: less {}", project::shown(file)),
        }
    }
}

/// Has a command write both of its streams to a file.
pub fn write_to(command: &mut Command, path: &Path) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(project::root()))?;
    let file = File::create(path)?;
    command.stdout(Stdio::from(file.try_clone()?)).stderr(Stdio::from(file));
    Ok(())
}

/// A port that nobody listens on: `wanted`, if that is free.
pub fn free_port(wanted: u16) -> Result<u16, Failure> {
    let bound = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|listener| listener.local_addr());
    bound(wanted)
        .or_else(|_| bound(0))
        .map(|address| address.port())
        .map_err(|cause| Failure::new("no port is free", cause, "end some of the programs that listen on this machine"))
}
