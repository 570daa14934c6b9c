//! Programs that tasks start. Whichever way a task ends, they end first.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::failure::Failure;
use crate::project;

/// How long a program may take to end in good order.
const GRACE: Duration = Duration::from_secs(10);

/// The programs that run now. A number in here has not been waited for, so it is nobody else's.
static RUNNING: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());
static TOLD_TO_END: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C and a plain `kill` end the programs that run; the task sees them end, and ends by itself.
pub fn end_children_when_told_to() -> Result<(), Failure> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(|cause| Failure::new("signals cannot be handled", cause, "run the task in an ordinary terminal"))?;
    std::thread::spawn(move || {
        for _ in signals.forever() {
            TOLD_TO_END.store(true, Ordering::Relaxed);
            for &child in running().iter() {
                signal(child, Signal::TERM);
            }
        }
    });
    Ok(())
}

/// Whether somebody wants the task to end.
pub fn told_to_end() -> bool {
    TOLD_TO_END.load(Ordering::Relaxed)
}

/// Shows a command, runs it in the root of the repository, and takes anything but success as a failure.
pub fn run(command: &mut Command) -> Result<(), Failure> {
    eprintln!("$ {}", shown(command));
    let status = Program::start(command.stdin(Stdio::null()))?.wait();
    if status.success() { Ok(()) } else { Err(failed(command, status, "read what it printed above")) }
}

/// Runs a command quietly in the root of the repository; answers what it wrote to standard output.
pub fn read(command: &mut Command) -> Result<String, Failure> {
    let mut program = Program::start(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let (stdout, stderr) = (program.child.stdout.take(), program.child.stderr.take());
    // Both at once: a program that fills one pipe while we read the other would wait for ever.
    let complaints = std::thread::spawn(move || read_all(stderr));
    let output = read_all(stdout);
    let complaints = complaints.join().expect("reading does not panic");
    let status = program.wait();
    if status.success() { Ok(output) } else { Err(failed(command, status, format!("run it yourself; it says: {}", complaints.trim()))) }
}

/// Whether a program can be started by its name.
pub fn is_installed(program: impl AsRef<OsStr>) -> bool {
    read(Command::new(program).arg("--version")).is_ok()
}

/// A command as a person would type it in the root.
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let root = format!("{}/", project::root().display());
    words.map(|word| word.to_string_lossy().replace(&root, "")).collect::<Vec<_>>().join(" ")
}

fn failed(command: &Command, status: ExitStatus, remedy: impl std::fmt::Display) -> Failure {
    Failure::new(format!("`{}` failed", shown(command)), status, remedy)
}

fn read_all(stream: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        // What came before an error is all there is to tell.
        let _ = stream.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A program that runs. Dropped, it is told to end, and waited for.
pub struct Program {
    /// Its standard streams are in here.
    pub child: Child,
    ended: Option<ExitStatus>,
}

impl Program {
    /// Starts a command in the root of the repository, unless it says where.
    pub fn start(command: &mut Command) -> Result<Self, Failure> {
        if command.get_current_dir().is_none() {
            command.current_dir(project::root());
        }
        // One lock for both: a signal comes before the start, which is then refused, or finds the number.
        let mut running = running();
        if told_to_end() {
            return Err(Failure::new(format!("`{}` was not started", shown(command)), "the task was interrupted", "run the task again"));
        }
        let child = command.spawn().map_err(|cause| {
            Failure::new(
                format!("`{}` could not be started", shown(command)),
                cause,
                format!("install `{}`, or put it on PATH", command.get_program().display()),
            )
        })?;
        running.insert(child.id().cast_signed());
        Ok(Self { child, ended: None })
    }

    /// Its number.
    pub fn id(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Waits until it ends.
    pub fn wait(&mut self) -> ExitStatus {
        if self.ended.is_none() {
            self.see_end(WaitIdOptions::empty());
        }
        self.reap()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.ended.is_some() || self.see_end(WaitIdOptions::NOHANG)
    }

    /// Notices an end without taking the number away from those who may signal it.
    fn see_end(&self, options: WaitIdOptions) -> bool {
        let id = WaitId::Pid(Pid::from_child(&self.child));
        loop {
            match rustix::process::waitid(id.clone(), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | options) {
                Err(rustix::io::Errno::INTR) => {}
                seen => return seen.expect("a child can be waited for until it is reaped").is_some(),
            }
        }
    }

    fn reap(&mut self) -> ExitStatus {
        if let Some(status) = self.ended {
            return status;
        }
        let mut running = running();
        let status = self.child.wait().expect("it was seen to end");
        running.remove(&self.id());
        self.ended = Some(status);
        status
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.has_ended() {
            self.reap();
            return;
        }
        signal(self.id(), Signal::TERM);
        let deadline = Instant::now() + GRACE;
        while !self.has_ended() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        if !self.has_ended() {
            signal(self.id(), Signal::KILL);
        }
        self.wait();
    }
}

fn running() -> MutexGuard<'static, BTreeSet<i32>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends a signal; a process that is gone needs none.
pub fn signal(process: i32, signal: Signal) {
    if let Some(process) = Pid::from_raw(process) {
        let _ = rustix::process::kill_process(process, signal);
    }
}
