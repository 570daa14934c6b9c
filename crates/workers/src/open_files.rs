//! The limit on open files: raised for the host, which has several a caller, and put back for functions.

use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the limit was.
static BEFORE: OnceLock<u64> = OnceLock::new();

/// Raises this process's limit to what the system allows it; workers keep the one there was, since programs may use `select`, which is not
/// made for more than 1,024. Call it once, early.
pub fn raise_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // Where it cannot be raised the host does with what it has.
    if let Some(before) = current
        && setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok()
    {
        let _ = BEFORE.set(before); // which it is already, the second time
    }
}

/// The limit for workers; `None` where it was left alone.
pub(crate) fn for_workers() -> Option<u64> {
    BEFORE.get().copied()
}
