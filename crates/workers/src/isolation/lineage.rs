//! Which processes are an endpoint's own. Its modules run in its zygotes, so what these say is not to be believed: a root host would kill
//! for them whatever process they hand over.

use std::fs;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::fchown;
use rustix::process::{Gid, Pid, PidfdFlags, Uid, pidfd_open};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::{ResourceLimits, memory};

/// More generations than there are between a worker and its base zygote.
const GENERATIONS: usize = 8;

/// The processes that come of one base zygote that is kept apart.
#[derive(Debug)]
pub(crate) struct Lineage {
    /// The base zygote, as the host has started it.
    pub(crate) base: u32,
    /// The user of all of them, where that is not the host's.
    pub(crate) user: Option<u32>,
    /// How much memory each may use, with those that it has started, in bytes.
    pub(crate) memory: Option<u64>,
    /// How many processors each may keep busy.
    pub(crate) processors: Option<u32>,
    /// How many of them there were.
    placed: AtomicU32,
    /// Those whose memory is looked at.
    forked: memory::Forked,
}

impl Lineage {
    /// Those of a base zygote that is not there yet.
    pub(crate) fn new(user: Option<u32>, limits: &ResourceLimits) -> Self {
        Self {
            base: 0,
            user,
            memory: limits.memory,
            processors: limits.processors,
            placed: AtomicU32::new(0),
            forked: memory::Forked::default(),
        }
    }

    /// Has limits kept for what workers leave behind, which becomes the base zygote's; `errors` is its standard error.
    pub(crate) fn limit_left_behind(&self, errors: OwnedFd) -> std::io::Result<()> {
        if let (Some(memory), Some(base)) = (self.memory, Pid::from_raw(self.base.cast_signed())) {
            let process = pidfd_open(base, PidfdFlags::empty())?; // our child, whose status nobody has taken
            tokio::spawn(memory::keep_left_behind(self.base, process, memory, errors, self.forked.clone()));
        }
        Ok(())
    }

    /// Has limits kept for a new one, whose standard error is `errors`.
    pub(crate) fn limit(&self, pid: u32, descriptor: &OwnedFd, errors: &OwnedFd) -> std::io::Result<()> {
        if let Some(memory) = self.memory {
            tokio::spawn(memory::keep(pid, descriptor.try_clone()?, memory, errors.try_clone()?, self.forked.clone()));
        }
        if let Some(processors) = self.processors {
            let turn = self.placed.fetch_add(1, Ordering::Relaxed);
            if let Err(error) = place(pid, processors, turn) {
                // It has the processors of its zygote then, as many and in common with the others.
                tracing::debug!(pid, %error, "a worker cannot be given processors of its own");
            }
        }
        Ok(())
    }

    /// Whether the process of this descriptor has this number, and comes of the base zygote; or has ended, with its status taken.
    pub(crate) fn has(&self, pid: u32, descriptor: &OwnedFd) -> bool {
        descends(pid, descriptor, self.base)
    }

    /// Gives it what are to be its standard streams, so that programs can open them by name, as `/dev/stderr`.
    pub(crate) fn own(&self, streams: &[impl AsFd]) -> std::io::Result<()> {
        if let Some(user) = self.user {
            for stream in streams {
                fchown(stream, Some(Uid::from_raw(user)), Some(Gid::from_raw(user)))?;
            }
        }
        Ok(())
    }
}

/// Gives a process its processors: each in turn the next ones of those that this one has.
fn place(pid: u32, processors: u32, turn: u32) -> rustix::io::Result<()> {
    let offered = sched_getaffinity(None)?;
    let offered: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|processor| offered.is_set(*processor)).collect();
    let first = turn as usize * processors as usize;
    let mut taken = CpuSet::new();
    (first..first + processors as usize).take(offered.len()).for_each(|place| taken.set(offered[place % offered.len()]));
    sched_setaffinity(Pid::from_raw(pid.cast_signed()), &taken)
}

/// Whether the process of this descriptor has this number and comes of `ancestor`, or has ended, with its status taken.
pub(super) fn descends(pid: u32, descriptor: &OwnedFd, ancestor: u32) -> bool {
    let path = format!("/proc/self/fdinfo/{}", descriptor.as_raw_fd());
    let parent = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        field(&status, "PPid:").and_then(|parent| u32::try_from(parent).ok())
    };
    match fs::read_to_string(path).ok().and_then(|text| field(&text, "Pid:")) {
        Some(-1) => true,
        Some(found) if found == i64::from(pid) => {
            std::iter::successors(parent(pid), |pid| parent(*pid)).take(GENERATIONS).any(|found| found == ancestor)
        }
        _ => false,
    }
}

fn field(text: &str, name: &str) -> Option<i64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}
