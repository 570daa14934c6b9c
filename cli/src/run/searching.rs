//! What a search of a project says when it takes long.

use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::lines::to_errors;

/// What takes less than this is not told.
const UNREMARKED: Duration = Duration::from_secs(2);

/// Runs `search`, which looks through `path`; says so, once, where that takes long: whoever waits would not know for what.
pub fn remarked<T>(path: &Path, search: impl FnOnce() -> T) -> T {
    let (found, is_found) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            if is_found.recv_timeout(UNREMARKED) == Err(mpsc::RecvTimeoutError::Timeout) {
                to_errors(&format!(
                    "still looking for functions in {}: what is large and none of the project's, behind a link perhaps, may be named in .flashignore\n",
                    path.display(),
                ));
            }
        });
        let project = search();
        drop(found);
        project
    })
}
