//! Servers that a task starts, talks to, and ends.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::http::{self, Answer};
use crate::process::{self, Program};

/// How long a server may take until it answers.
const START: Duration = Duration::from_secs(30);

/// A server that was seen to answer. Dropped, it is ended.
pub struct Server {
    program: Program,
    address: SocketAddr,
    shown: String,
}

impl Server {
    /// Starts a server that was told to listen on `port`, and waits until it answers a GET of `path`.
    pub fn start(command: &mut Command, port: u16, path: &str) -> Result<Self, Failure> {
        // A group of its own: Ctrl-C reaches the task alone, and the server ends when the task says so.
        let program = Program::start(command.stdin(Stdio::null()).process_group(0))?;
        let mut server = Self { program, address: (Ipv4Addr::LOCALHOST, port).into(), shown: process::shown(command) };
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
                return Err(Failure::new(format!("`{}` does not answer", server.shown), why, "read what it printed above"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The number of its first process.
    pub fn id(&self) -> i32 {
        self.program.id()
    }

    /// Sends one request.
    pub fn ask(&self, method: &str, path: &str, json: Option<&str>) -> Result<Answer, Failure> {
        http::ask(self.address, method, path, json).map_err(|cause| {
            let what = format!("`{method} {}{path}` was not answered", self.url());
            Failure::new(what, cause, format!("read what `{}` printed", self.shown))
        })
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
        Failure::new(format!("`{}` ended by itself", self.shown), status, "read what it printed above")
    }
}

/// A port that nobody listens on: `wanted`, if that is free.
pub fn free_port(wanted: u16) -> Result<u16, Failure> {
    let bound = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|listener| listener.local_addr());
    bound(wanted)
        .or_else(|_| bound(0))
        .map(|address| address.port())
        .map_err(|cause| Failure::new("no port is free", cause, "end some of the programs that listen on this machine"))
}
