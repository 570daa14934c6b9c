//! A limit on the memory of a worker with all that it has started, kept by looking: the kernel's own takes a control group that the server may
//! change, which few servers have, and its limit on the address space counts what is reserved and never used.

use std::collections::VecDeque;
use std::fs;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::lineage::descends;
use crate::process::watched;

/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How often it is added up with care, which takes the kernel a while for a large process.
const CAREFUL: Duration = Duration::from_secs(1);
/// More processes than these of one worker are not looked at.
const MOST_PROCESSES: usize = 4096;

/// Ends a process, and those that it has started, when they use more than `limit` bytes; says so on its standard error. Returns when it has
/// ended. What is shared with others counts by its share: a zygote's memory is that of all who were forked from it.
pub(crate) async fn keep(pid: u32, process: OwnedFd, limit: u64, errors: OwnedFd) {
    let Ok(process) = watched(process) else { return };
    let mut next = LOOK;
    loop {
        tokio::select! {
            _ = process.readable() => return,
            () = tokio::time::sleep(next) => {}
        }
        next = LOOK;
        let processes = tree(pid);
        if processes.iter().filter_map(|pid| resident(*pid)).sum::<u64>() <= limit {
            continue;
        }
        let used: u64 = processes.iter().filter_map(|pid| proportional(*pid)).sum();
        if used <= limit {
            next = CAREFUL;
            continue;
        }
        let text = format!("flash: a worker used {} MiB of memory, and may use {} MiB: it is ended\n", used.div_ceil(1 << 20), limit >> 20);
        // The pipe may be full, or closed; and whoever has ended need not be killed.
        let _ = rustix::io::ioctl_fionbio(&errors, true).and_then(|()| rustix::io::write(&errors, text.as_bytes()).map(drop));
        for started in processes.into_iter().skip(1) {
            // A number may have become another process's; a descriptor does not.
            let number = Pid::from_raw(started.cast_signed());
            if let Some(Ok(descriptor)) = number.map(|pid| pidfd_open(pid, PidfdFlags::empty()))
                && descends(started, &descriptor, pid)
            {
                let _ = pidfd_send_signal(&descriptor, Signal::KILL);
            }
        }
        let _ = pidfd_send_signal(process.get_ref(), Signal::KILL);
        return;
    }
}

/// A process and those that it has started, with theirs.
fn tree(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut waiting = VecDeque::from([pid]);
    while let Some(pid) = waiting.pop_front()
        && found.len() < MOST_PROCESSES
    {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for list in threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok()) {
            let children: Vec<u32> = list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
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
