//! Processes whose parent has ended: workers of a zygote that was killed, and what functions had started when their worker ended.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid};

/// How long [`Orphans::end`] may take. A process that was killed ends at once, unless the system itself holds it.
const LIMIT: Duration = Duration::from_millis(500);

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

fn children() -> Vec<Pid> {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect::<Vec<_>>()).collect()
}
