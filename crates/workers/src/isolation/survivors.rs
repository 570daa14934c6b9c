//! Processes of endpoints that have outlived their server. What a function has started and left behind ends with a server that ends in
//! order; one that was killed leaves it to the system. The next server ends it, by the users that its endpoints have.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, geteuid, getpid, pidfd_open, pidfd_send_signal};

use super::surroundings::{HOMES, USERS};

/// How long they may take to end. A process that was killed ends at once, unless the system itself holds it.
const LIMIT: Duration = Duration::from_secs(2);

/// A server's program, as the system names it.
const SERVER: &str = "flash";

/// Ends what runs as the users who own the HOMEs of this directory, but for what another server of this machine looks after: it may have given
/// the same numbers. No worker of this server may be there yet. Gives how many were ended.
pub fn end_survivors(directory: &Path) -> usize {
    let homes = directory.join(HOMES).read_dir().into_iter().flatten().flatten();
    let owners = homes.filter_map(|home| Some(home.path().symlink_metadata().ok()?.uid()));
    let users: BTreeSet<u32> = owners.filter(|user| USERS.contains(user)).collect();
    if users.is_empty() {
        return 0;
    }
    let (deadline, mut ended) = (Instant::now() + LIMIT, BTreeSet::new());
    loop {
        let left: Vec<Pid> = processes().filter(|pid| is_survivor(*pid, &users)).collect();
        if left.is_empty() || Instant::now() > deadline {
            return ended.len();
        }
        for pid in left {
            // Its number may be another's by now: what the descriptor is of is looked at again.
            let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
            if is_survivor(pid, &users) && pidfd_send_signal(&process, Signal::KILL).is_ok() {
                ended.insert(pid.as_raw_nonzero());
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn processes() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
}

fn is_survivor(pid: Pid, users: &BTreeSet<u32>) -> bool {
    let Some(status) = Status::of(pid) else { return false };
    if !users.contains(&status.user) || status.is_dead {
        return false;
    }
    let ancestors = std::iter::successors(Some(status), |status| Status::of(status.parent?));
    let is_server = |status: &Status| status.name == SERVER && status.user == geteuid().as_raw() && status.pid != getpid();
    !ancestors.skip(1).any(|ancestor| is_server(&ancestor))
}

/// What the system says of a process.
struct Status {
    pid: Pid,
    name: String,
    user: u32,
    parent: Option<Pid>,
    /// Whether nothing but its number is left.
    is_dead: bool,
}

impl Status {
    fn of(pid: Pid) -> Option<Self> {
        let text = fs::read(format!("/proc/{pid}/status")).ok()?;
        let text = String::from_utf8_lossy(&text);
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        Some(Self {
            pid,
            name: field("Name:")?.to_owned(),
            user: field("Uid:")?.split_whitespace().next()?.parse().ok()?,
            parent: Pid::from_raw(field("PPid:")?.parse().ok()?),
            is_dead: field("State:")?.starts_with(['Z', 'X']),
        })
    }
}
