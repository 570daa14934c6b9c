//! `uv`: where it is, how it is run, and what its words mean.

use std::collections::VecDeque;
use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::cancel::Cancel;
use crate::error::Error;

/// How often it is looked whether somebody gave up.
pub(crate) const TICK: Duration = Duration::from_millis(50);
/// What is kept of what it says: the end.
const LINES: usize = 40;
/// A line that is longer is cut.
const LINE: usize = 1000;

/// Becomes `uv`, which ends when this process does, however that ends: what is set survives the change, and only a process can set it for
/// itself.
const LAUNCH: &str = r#"
import os, sys
parent, program, *arguments = sys.argv[1:]
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
    if os.getppid() != int(parent):
        os._exit(1)
os.execv(program, [program, *arguments])
"#;

/// Settings of the user's that would have it install elsewhere than it is told to.
const NOT_FOR_US: [&str; 8] = [
    "UV_SYSTEM_PYTHON",
    "UV_TARGET",
    "UV_PREFIX",
    "UV_BREAK_SYSTEM_PACKAGES",
    "UV_PYTHON",
    "UV_REQUIRE_HASHES",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
];

/// A `uv`, and who hears of what it does.
pub(crate) struct Uv<'u> {
    program: PathBuf,
    variables: &'u [(OsString, OsString)],
    python: &'u Path,
    /// Where it reads settings, and from where relative paths go.
    directory: &'u Path,
    progress: &'u dyn Fn(&str),
    cancel: &'u Cancel,
}

impl<'u> Uv<'u> {
    /// The one in `PATH`, beside this program, or in the interpreter's environment.
    pub(crate) fn find(
        variables: &'u [(OsString, OsString)],
        python: &'u Path,
        scripts: &Path,
        directory: &'u Path,
        progress: &'u dyn Fn(&str),
        cancel: &'u Cancel,
    ) -> Result<Self, Error> {
        let path = variables.iter().find(|(name, _)| name == "PATH").map(|(_, path)| path.as_os_str()).unwrap_or_default();
        let beside = env::current_exe().and_then(|program| program.canonicalize()).ok();
        let directories = env::split_paths(path)
            .chain(beside.as_deref().and_then(Path::parent).map(Path::to_owned))
            .chain(python.parent().map(Path::to_owned))
            .chain([scripts.to_owned()]);
        // An empty entry stands for the current directory, which is anybody's.
        let mut candidates = directories.filter(|directory| directory.is_absolute()).map(|directory| directory.join("uv"));
        let program = candidates.find(|candidate| is_program(candidate)).ok_or(Error::NoUv)?;
        Ok(Self { program, variables, python, directory, progress, cancel })
    }

    /// Runs it. `room` is where it writes, for messages.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>, input: &str, room: &Path) -> Result<(), Error> {
        let mut command = Command::new(self.python);
        command.args(["-I", "-S", "-c", LAUNCH]).arg(std::process::id().to_string()).arg(&self.program).args(arguments);
        command.env_clear().envs(self.variables.iter().cloned());
        command.env("NO_COLOR", "1").env("UV_NO_PROGRESS", "1").env_remove("FORCE_COLOR").env_remove("CLICOLOR_FORCE");
        for name in NOT_FOR_US {
            command.env_remove(name);
        }
        // A group of its own, so that what it starts to build packages ends with it.
        command.current_dir(self.directory).process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|cause| self.not_run(&cause))?;
        let mut stdin = child.stdin.take().expect("it is piped");
        let input = input.to_owned();
        // In a thread: who does not read must not be waited for. An error shows in how it ends.
        std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
        let said = lines(&mut child);
        let mut words = VecDeque::new();
        let status = self.follow(&mut child, &said, &mut words)?;
        if status.success() {
            return Ok(());
        }
        if status.signal().is_some() {
            return Err(Error::Killed { status });
        }
        Err(understood(&Vec::from(words).join("\n"), room))
    }

    /// Waits until it has ended.
    fn follow(&self, child: &mut Child, said: &Receiver<String>, words: &mut VecDeque<String>) -> Result<ExitStatus, Error> {
        let mut keep = |line: String| {
            (self.progress)(&line);
            if words.len() == LINES {
                words.pop_front();
            }
            words.push_back(line);
        };
        loop {
            if self.cancel.is_cancelled() {
                end(child);
                return Err(Error::Cancelled);
            }
            match said.recv_timeout(TICK) {
                Ok(line) => keep(line),
                Err(RecvTimeoutError::Disconnected) => return child.wait().map_err(|cause| self.not_run(&cause)),
                // What it started may hold the pipe: that is not waited for.
                Err(RecvTimeoutError::Timeout) => {
                    if let Some(status) = child.try_wait().map_err(|cause| self.not_run(&cause))? {
                        said.try_iter().for_each(keep);
                        return Ok(status);
                    }
                }
            }
        }
    }

    fn not_run(&self, cause: &std::io::Error) -> Error {
        Error::Failed { words: format!("{} does not run: {cause}", self.program.display()) }
    }
}

/// Kills it and what it has started.
fn end(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It has not been waited for, so the number is its own.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
}

/// What it says on standard error, line by line.
fn lines(child: &mut Child) -> Receiver<String> {
    let stderr = child.stderr.take().expect("it is piped");
    let (sender, receiver) = sync_channel(LINES);
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
            let line: String = String::from_utf8_lossy(&line).trim_end().chars().take(LINE).collect();
            if !line.is_empty() && sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn is_program(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

/// What went wrong, by its words: it has one exit code for all.
fn understood(said: &str, room: &Path) -> Error {
    let words = trimmed(said);
    let has = |signs: &[&str]| signs.iter().any(|sign| said.contains(sign));
    if has(&["No space left on device", "os error 28", "Disk quota exceeded"]) {
        return Error::DiskFull { path: room.to_owned(), words };
    }
    if has(&["error sending request", "dns error", "Could not connect", "network was disabled", "network connectivity is disabled"]) {
        return Error::NoNetwork { words };
    }
    if has(&[
        "No solution found",
        "unsatisfiable",
        "not found in the package registry",
        "Couldn't parse requirement",
        "Distribution not found",
    ]) {
        return Error::Unresolved { words };
    }
    Error::Failed { words }
}

/// Its words without what led to them.
fn trimmed(said: &str) -> String {
    let lines: Vec<&str> = said.lines().map(str::trim).collect();
    let begins = |line: &&str| line.starts_with("error") || line.starts_with('×');
    let first = lines.iter().position(begins).unwrap_or(0);
    let words = lines[first..].join("\n");
    let words = words.strip_prefix("error: ").unwrap_or(&words);
    if words.is_empty() { "nothing".into() } else { words.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_uv_says_tells_what_went_wrong() {
        let of = |said: &str| understood(said, Path::new("/home/environments"));
        let unresolved = "Using CPython 3.11.7\nerror: No solution found when resolving dependencies\n  cause: Because a was not found";
        let Error::Unresolved { words } = of(unresolved) else { panic!("it was not understood") };
        assert_eq!(words, "No solution found when resolving dependencies\ncause: Because a was not found");
        assert!(matches!(of("  × No solution found when resolving dependencies:\n  ╰─▶ Because"), Error::Unresolved { .. }));
        let refused = "error: Request failed after 3 retries\n  cause: error sending request for url (http://127.0.0.1:9/simple/a/)";
        assert!(matches!(of(refused), Error::NoNetwork { .. }));
        let offline = "error: No solution found\n\nhint: Packages were unavailable because the network was disabled.";
        assert!(matches!(of(offline), Error::NoNetwork { .. }));
        let full = "error: Failed to install: a.whl\n  cause: failed to write to file: No space left on device (os error 28)";
        let Error::DiskFull { path, .. } = of(full) else { panic!("it was not understood") };
        assert_eq!(path, Path::new("/home/environments"));
        let Error::Failed { words } = of("error: Failed to build `a`") else { panic!("it was not understood") };
        assert_eq!(words, "Failed to build `a`");
        assert!(matches!(of(""), Error::Failed { words } if words == "nothing"));
    }
}
