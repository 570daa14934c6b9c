//! Which processes are an endpoint's own. Its modules run in its zygotes, so what these say is not to be believed: a root host would kill
//! for them whatever process they hand over.

use std::fs;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};

use rustix::fs::fchown;
use rustix::process::{Gid, Uid};

/// More generations than there are between a worker and its base zygote.
const GENERATIONS: usize = 8;

/// The processes that come of one base zygote that is kept apart.
#[derive(Debug)]
pub(crate) struct Lineage {
    /// The base zygote, as the host has started it.
    pub(crate) base: u32,
    /// The user of all of them, where that is not the host's.
    pub(crate) user: Option<u32>,
}

impl Lineage {
    /// Whether the process of this descriptor has this number, and comes of the base zygote; or has ended, with its status taken.
    pub(crate) fn has(&self, pid: u32, descriptor: &OwnedFd) -> bool {
        let path = format!("/proc/self/fdinfo/{}", descriptor.as_raw_fd());
        match fs::read_to_string(path).ok().and_then(|text| field(&text, "Pid:")) {
            Some(-1) => true,
            Some(found) => found == i64::from(pid) && self.descends(pid),
            None => false,
        }
    }

    fn descends(&self, pid: u32) -> bool {
        let parent = |pid: u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            field(&status, "PPid:").and_then(|parent| u32::try_from(parent).ok())
        };
        std::iter::successors(parent(pid), |pid| parent(*pid)).take(GENERATIONS).any(|ancestor| ancestor == self.base)
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

fn field(text: &str, name: &str) -> Option<i64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}
