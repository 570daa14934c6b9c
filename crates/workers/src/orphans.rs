//! Processes whose parent has ended: workers of a zygote that was killed, and what functions had started when their worker ended.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, wait};

/// How long [`end_orphans`] may take. A process that was killed ends at once, unless the system itself holds it.
const LIMIT: Duration = Duration::from_millis(500);

/// Makes this process the parent of those whose parent ends. Call it once, early.
///
/// # Errors
/// What the system said.
pub fn adopt_orphans() -> std::io::Result<()> {
    set_child_subreaper(Some(getpid()))?;
    Ok(())
}

/// Kills every child of this process, and what those leave behind, until none is left. The last thing that a host does: nobody would
/// look after what a function started once its worker is gone.
pub fn end_orphans() {
    let deadline = Instant::now() + LIMIT;
    loop {
        let children = children();
        if children.is_empty() || Instant::now() > deadline {
            return;
        }
        for child in children {
            // Nobody else takes its status, so it is there still, if only as a zombie.
            let _ = kill_process(child, Signal::KILL);
        }
        // Children of theirs come to us as they end.
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn children() -> Vec<Pid> {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    let numbers: Vec<_> = lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>()).collect();
    numbers.into_iter().filter_map(Pid::from_raw).collect()
}
