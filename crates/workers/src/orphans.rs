//! Processes whose parent has ended: workers of a zygote that was killed, and what functions had started when their worker ended.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid};
use tokio::signal::unix::{SignalKind, signal};

/// How long [`Orphans::end`] may take. A process that was killed ends at once, unless the system itself holds it.
const LIMIT: Duration = Duration::from_millis(500);
/// When a process that has ended and is still awaited is looked at again: who awaits it takes its status long before.
const AGAIN: Duration = Duration::from_secs(1);
/// What has ended within this is reaped by one look.
const GATHER: Duration = Duration::from_millis(20);

/// Numbers of the processes whose status this crate takes itself.
static AWAITED: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// This process is the parent of those whose parent ends.
#[derive(Debug)]
pub struct Orphans {
    /// Children from before: of the shell, say, that has become this process.
    others: Vec<Pid>,
}

impl Orphans {
    /// From now on it is. Call it once, before the first child of one's own.
    ///
    /// # Errors
    /// What the system said.
    pub fn adopt() -> std::io::Result<Self> {
        let others = children();
        set_child_subreaper(Some(getpid()))?;
        Ok(Self { others })
    }

    /// Does `work`, and meanwhile takes the status of what was adopted and has ended: nobody else would, and it would stay a zombie.
    ///
    /// Children that somebody awaits are left to them. Who starts one by other means than this crate gives it a process group of its own in
    /// the host's session, or leaves it in the host's group: what workers leave behind is in neither, unless it makes a group itself. Such
    /// a one stays a zombie until the host ends.
    ///
    /// # Errors
    /// When signals cannot be listened for.
    pub async fn reaping<T>(&self, work: impl Future<Output = T>) -> std::io::Result<T> {
        let mut ended = signal(SignalKind::child())?;
        let reaping = async {
            let mut left = false;
            loop {
                tokio::select! {
                    _ = ended.recv() => tokio::time::sleep(GATHER).await,
                    () = tokio::time::sleep(AGAIN), if left => {}
                }
                left = self.reap();
            }
        };
        tokio::select! {
            biased;
            done = work => Ok(done),
            never = reaping => never,
        }
    }

    /// True when a child that has ended is left to who awaits it.
    fn reap(&self) -> bool {
        // Held for the whole look: a child is not started, and known, in between.
        let awaited = awaited();
        // Not by the calls that have it: in a container that was entered from outside both are 0, which rustix does not expect.
        let Some(own) = Stat::of(getpid()) else { return false };
        let mut left = false;
        for child in children() {
            let Some(stat) = Stat::of(child).filter(|stat| stat.ended) else { continue };
            let pid = child.as_raw_pid();
            if awaited.contains(&pid.unsigned_abs()) {
                left = true;
            } else if stat.is_adopted(pid, &own) && !self.others.contains(&child) {
                let _ = waitpid(Some(child), WaitOptions::NOHANG); // it is a zombie, and nobody else's
            }
        }
        left
    }

    /// Kills every child of this process, and what those leave behind, until none is left. The last thing that a host does: nobody
    /// would look after what a function started once its worker is gone.
    pub fn end(self) {
        let deadline = Instant::now() + LIMIT;
        loop {
            let ours: Vec<_> = children().into_iter().filter(|child| !self.others.contains(child)).collect();
            if ours.is_empty() || Instant::now() > deadline {
                return;
            }
            for child in ours {
                // Nobody else takes its status, so it is there still, if only as a zombie. Children of its own come to us.
                let _ = kill_process(child, Signal::KILL);
                let _ = waitpid(Some(child), WaitOptions::NOHANG);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// While there is one, the process's status is left to who has it.
#[derive(Debug)]
pub(crate) struct Awaited(u32);

impl Awaited {
    /// Of a process that is there already, as another's child.
    pub(crate) fn new(pid: u32) -> Self {
        awaited().insert(pid);
        Self(pid)
    }

    /// Starts a child that is awaited from the first.
    pub(crate) fn spawn(command: &mut tokio::process::Command) -> std::io::Result<(tokio::process::Child, Self)> {
        let mut awaited = awaited();
        let child = command.spawn()?;
        let pid = child.id().unwrap_or_default(); // it was not waited for yet, so it has one
        awaited.insert(pid);
        Ok((child, Self(pid)))
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        awaited().remove(&self.0);
    }
}

fn awaited() -> MutexGuard<'static, BTreeSet<u32>> {
    AWAITED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the system says of a process.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    ended: bool,
    group: i32,
    session: i32,
}

impl Stat {
    fn of(process: Pid) -> Option<Self> {
        Self::read(&std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_pid())).ok()?)
    }

    fn read(text: &str) -> Option<Self> {
        // The name before it may hold anything.
        let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?;
        let mut numbers = fields.skip(1).map(str::parse);
        Some(Self { ended: state == "Z", group: numbers.next()?.ok()?, session: numbers.next()?.ok()? })
    }

    /// Whether a process of this number that nobody awaits is none that the host has started.
    fn is_adopted(&self, pid: i32, host: &Self) -> bool {
        self.group != host.group && !(self.group == pid && self.session == host.session)
    }
}

fn children() -> Vec<Pid> {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_of_a_child_is_read_behind_its_name() {
        let stat = |ended, group, session| Some(Stat { ended, group, session });
        assert_eq!(Stat::read("7 (sleep) S 1 5 3 0 -1"), stat(false, 5, 3));
        assert_eq!(Stat::read("7 (a ) Z 9 (b)) Z 1 5 3 0"), stat(true, 5, 3));
        assert_eq!(Stat::read("7 (sleep"), None);
    }

    #[test]
    fn what_the_host_may_have_started_is_not_taken_for_adopted() {
        let (pid, host, session, zygote) = (70, 20, 10, 30);
        let own = Stat { ended: false, group: host, session };
        let adopted = |group, session| Stat { ended: true, group, session }.is_adopted(pid, &own);
        assert!(!adopted(host, session));
        assert!(!adopted(pid, session));
        assert!(adopted(zygote, session));
        assert!(adopted(pid, pid));
        assert!(adopted(60, 60));
    }
}
