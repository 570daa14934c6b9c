//! Programs that run while something is measured, and speak whatever they speak.

use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::bench::machine;
use crate::failure::Failure;
use crate::process::{self, Program};
use crate::{project, server};

/// How long one may take until it is ready.
const START: Duration = Duration::from_secs(30);

/// A program that was seen to be ready. Dropped, it is ended.
pub struct Daemon {
    program: Program,
    shown: String,
    log: PathBuf,
}

impl Daemon {
    /// Starts a program, its words in `target/bench/{log}.log`, and waits until it is ready.
    pub fn start(command: &mut Command, log: &str, ready: impl Fn() -> bool) -> Result<Self, Failure> {
        let log = project::target().join("bench").join(log).with_extension("log");
        server::write_to(command, &log).map_err(|cause| {
            Failure::new(format!("`{}` could not be written", project::shown(&log)), cause, "make its directory writable")
        })?;
        // A group of its own: Ctrl-C reaches the task alone, and the program ends when the task says so.
        let program = Program::start(command.stdin(Stdio::null()).process_group(0))?;
        let mut daemon = Self { program, shown: process::shown(command), log };
        let deadline = Instant::now() + START;
        while !ready() {
            daemon.check()?;
            if Instant::now() > deadline {
                return Err(daemon.failed("it is not ready after half a minute"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(daemon)
    }

    /// The number of its first process.
    pub fn id(&self) -> i32 {
        self.program.id()
    }

    /// Seconds of processor time that all of its processes have used.
    pub fn cpu_seconds(&self) -> Result<f64, Failure> {
        machine::cpu_seconds(self.id())
    }

    /// Whether it still runs.
    pub fn check(&mut self) -> Result<(), Failure> {
        if self.program.has_ended() { Err(self.failed("it ended by itself")) } else { Ok(()) }
    }

    fn failed(&self, why: &str) -> Failure {
        Failure::new(format!("`{}` does not run", self.shown), why, format!("read what it printed: less {}", project::shown(&self.log)))
    }
}

/// Whether somebody listens there.
pub fn listens(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}
