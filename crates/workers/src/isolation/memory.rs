//! A limit on the memory of a worker with all that it has started, kept by looking: the kernel's own takes a control group that the server may
//! change, which few servers have, and its limit on the address space counts what is reserved and never used.

use std::collections::{HashSet, VecDeque};
use std::fs;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::unix::AsyncFd;

use super::lineage::descends;
use crate::process::watched;

/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How often it is added up with care, which takes the kernel a while for a large process.
const CAREFUL: Duration = Duration::from_secs(1);
/// More processes than these of one worker are not looked at.
const MOST_PROCESSES: usize = 4096;

/// The processes of an endpoint that zygotes have forked for the host. Each is looked at by itself.
pub(crate) type Forked = Arc<Mutex<HashSet<u32>>>;

/// Ends a process, and those that it has started, when they use more than `limit` bytes; says so on its standard error. Returns when it has
/// ended. What is shared with others counts by its share: a zygote's memory is that of all who were forked from it.
pub(crate) async fn keep(pid: u32, process: OwnedFd, limit: u64, errors: OwnedFd, forked: Forked) {
    forked.lock().unwrap_or_else(PoisonError::into_inner).insert(pid);
    looked_after(pid, process, limit, errors, &forked).await;
    forked.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid);
}

async fn looked_after(pid: u32, process: OwnedFd, limit: u64, errors: OwnedFd, forked: &Forked) {
    let Ok(process) = watched(process) else { return };
    let mut next = LOOK;
    while !ended_within(&process, next).await {
        let started = below(pid, forked);
        let seen = look(started.iter().copied().chain([pid]), limit);
        next = seen.next();
        let Seen::Over(used) = seen else { continue };
        say(&errors, &format!("a worker used {used} MiB of memory, and may use {} MiB: it is ended", limit >> 20));
        kill(&started, pid);
        let _ = pidfd_send_signal(process.get_ref(), Signal::KILL);
        return;
    }
}

/// Ends what the workers of a base zygote have left behind, which has become the zygote's own, when all of it uses more than `limit` bytes.
/// Returns when the zygote has ended.
pub(crate) async fn keep_left_behind(base: u32, process: OwnedFd, limit: u64, errors: OwnedFd, forked: Forked) {
    let Ok(process) = watched(process) else { return };
    let mut next = LOOK;
    while !ended_within(&process, next).await {
        let left = below(base, &forked);
        let seen = look(left.iter().copied(), limit);
        next = seen.next();
        if let Seen::Over(used) = seen {
            let may = limit >> 20;
            say(&errors, &format!("what workers have left behind used {used} MiB of memory, and may use {may} MiB: it is ended"));
            kill(&left, base);
        }
    }
}

async fn ended_within(process: &AsyncFd<OwnedFd>, time: Duration) -> bool {
    tokio::time::timeout(time, process.readable()).await.is_ok()
}

/// What a look has shown.
enum Seen {
    Within,
    /// By its share of what is shared alone.
    WithinByShare,
    /// So many MiB.
    Over(u64),
}

impl Seen {
    /// When to look again.
    fn next(&self) -> Duration {
        match self {
            Self::Within | Self::Over(_) => LOOK,
            Self::WithinByShare => CAREFUL,
        }
    }
}

fn look(processes: impl Iterator<Item = u32> + Clone, limit: u64) -> Seen {
    if processes.clone().filter_map(resident).sum::<u64>() <= limit {
        return Seen::Within;
    }
    let used: u64 = processes.filter_map(proportional).sum();
    if used <= limit { Seen::WithinByShare } else { Seen::Over(used.div_ceil(1 << 20)) }
}

fn say(errors: &OwnedFd, text: &str) {
    // The pipe may be full, or closed.
    let _ =
        rustix::io::ioctl_fionbio(errors, true).and_then(|()| rustix::io::write(errors, format!("flash: {text}\n").as_bytes()).map(drop));
}

fn kill(processes: &[u32], ancestor: u32) {
    for started in processes {
        // A number may have become another process's; a descriptor does not. Whoever has ended need not be killed.
        let number = Pid::from_raw(started.cast_signed());
        if let Some(Ok(descriptor)) = number.map(|pid| pidfd_open(pid, PidfdFlags::empty()))
            && descends(*started, &descriptor, ancestor)
        {
            let _ = pidfd_send_signal(&descriptor, Signal::KILL);
        }
    }
}

/// The processes that a process has started, with theirs; but for those that were forked for the host, and theirs.
fn below(pid: u32, forked: &Forked) -> Vec<u32> {
    let forked = forked.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut found = Vec::new();
    let mut waiting = VecDeque::from([pid]);
    while let Some(pid) = waiting.pop_front()
        && found.len() < MOST_PROCESSES
    {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for list in threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok()) {
            let children = list.split_whitespace().filter_map(|pid| pid.parse().ok()).filter(|pid| !forked.contains(pid));
            let children: Vec<u32> = children.collect();
            found.extend(&children);
            waiting.extend(children);
        }
    }
    found
}

/// What a process has in memory that is no file's: more than is its own, for some of it is shared. Cheap.
fn resident(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(kibibytes(&status, "RssAnon:")? + kibibytes(&status, "RssShmem:")?)
}

/// The same, with what is shared divided by those who share it.
fn proportional(pid: u32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    Some(kibibytes(&rollup, "Pss_Anon:")? + kibibytes(&rollup, "Pss_Shmem:")?)
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let found = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(found.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_of_its_own() {
        let (all, share) = (resident(std::process::id()), proportional(std::process::id()));
        assert!(all > Some(0), "{all:?}");
        assert!(share > Some(0), "{share:?}");
        assert_eq!(resident(u32::MAX), None);
    }
}
