//! A process that a zygote forked: known by its descriptor, killed when nobody looks after it any more.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use crate::orphans::Awaited;

/// How long a zygote may take to say how a process of its own has ended.
const TOLD: Duration = Duration::from_secs(1);

/// A running process. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    /// Its number, for people; signals go through the descriptor.
    pub(crate) pid: u32,
    /// Readable once it has ended.
    descriptor: AsyncFd<OwnedFd>,
    /// From the zygote, which is its parent.
    status: oneshot::Receiver<ExitStatus>,
    /// It becomes our child when that one is killed.
    _awaited: Awaited,
}

/// A descriptor that tasks can wait for.
#[expect(deprecated, reason = "an `OwnedFd` keeps its descriptor open, which is what the `unsafe` successor has callers promise")]
pub fn watched(descriptor: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(descriptor)
}

/// Whether a process of this number is there, and gets time from the system: it is neither stopped, nor traced, nor over.
pub(crate) fn runs(pid: u32) -> bool {
    let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // Behind the name, which may hold anything but ends with the last parenthesis.
    let state = text.rfind(')').and_then(|end| text[end + 1..].trim_start().chars().next());
    !matches!(state, None | Some('T' | 't' | 'Z' | 'X'))
}

impl Process {
    pub(crate) fn new(pid: u32, descriptor: OwnedFd, status: oneshot::Receiver<ExitStatus>) -> std::io::Result<Self> {
        Ok(Self { pid, descriptor: watched(descriptor)?, status, _awaited: Awaited::new(pid) })
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&self) {
        // It fails for no descriptor of a process.
        let _ = self.descriptor.readable().await;
    }

    /// Waits until it has ended, and says how; `None` where that cannot be known any more.
    pub(crate) async fn status(&mut self) -> Option<ExitStatus> {
        self.ended().await;
        // When its zygote was killed, it is our child. It fails where the zygote has taken the status, or will.
        if let Ok(Some(status)) = waitid(WaitId::PidFd(self.descriptor.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
            let raw = status.exit_status().map(|code| code << 8).or(status.terminating_signal());
            return raw.map(ExitStatus::from_raw);
        }
        tokio::time::timeout(TOLD, &mut self.status).await.ok()?.ok()
    }

    pub(crate) fn kill(&self) {
        // An error means that it has ended already.
        let _ = pidfd_send_signal(self.descriptor.get_ref(), Signal::KILL);
    }
}

impl Process {
    /// Asks it where its main thread is: a worker writes that behind its page, whatever that thread does. The signal is one that is ignored
    /// unless a process takes it.
    pub(crate) fn ask_whereabouts(descriptor: impl AsFd) {
        // An error means that it has ended.
        let _ = pidfd_send_signal(descriptor, Signal::WINCH);
    }

    /// Its descriptor, for who asks it something.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    pub(crate) fn try_clone_descriptor(&self) -> std::io::Result<OwnedFd> {
        self.descriptor().try_clone_to_owned()
    }

    /// Whether somebody has stopped it: SIGSTOP, or a terminal. False where that cannot be known.
    pub(crate) fn is_stopped(&self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        // The name before it may hold anything.
        status.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
