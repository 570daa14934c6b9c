//! Watches folders, and gathers what happens in them until there is some rest.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use crate::report::Trouble;
use crate::run::burst::{Burst, Hint, hints};

/// The watched folders of a project, each by itself: those that are left out of a search must not cost a watch.
pub struct Watch {
    watcher: RecommendedWatcher,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    some: Notify,
}

#[derive(Default)]
struct State {
    burst: Burst,
    folders: HashSet<PathBuf>,
}

impl Watch {
    /// Watches nothing yet.
    pub fn new() -> Result<Self, Trouble> {
        let shared = Arc::<Shared>::default();
        let told = shared.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| match event {
            Ok(event) => told.take(&event, Instant::now()),
            Err(error) => tracing::debug!(%error, "an event of the file system is lost"),
        });
        Ok(Self { watcher: watcher.map_err(|error| trouble(&error))?, shared })
    }

    /// Watches these folders and no others. True when one of them was not watched before: what happened in it until now was not seen.
    pub fn follow(&mut self, folders: &HashSet<PathBuf>) -> Result<bool, Trouble> {
        let watched = self.shared.lock().folders.clone();
        for gone in watched.difference(folders) {
            // An error means that it is not watched, as when it was deleted.
            let _ = self.watcher.unwatch(gone);
            self.shared.lock().folders.remove(gone);
        }
        let mut some = false;
        for new in folders.difference(&watched) {
            match self.watcher.watch(new, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.shared.lock().folders.insert(new.clone());
                    some = true;
                }
                Err(error) if matches!(error.kind, notify::ErrorKind::MaxFilesWatch) => return Err(trouble(&error)),
                // It was deleted a moment ago, or may not be read: there are no modules in it then.
                Err(error) => tracing::debug!(%error, "a folder is not watched"),
            }
        }
        Ok(some)
    }

    /// Whether the folders of all these files are watched. A link is seen in its own folder, what is written to its file in the file's.
    pub fn follows_folders_of(&self, files: &BTreeSet<PathBuf>) -> bool {
        let state = self.shared.lock();
        files.iter().filter_map(|file| file.parent()).all(|folder| state.folders.contains(folder))
    }

    /// Waits until something has happened and there was some rest.
    pub async fn settled(&self) -> Burst {
        self.rested(&Burst::default()).await;
        std::mem::take(&mut self.shared.lock().burst)
    }

    /// Waits until more has happened than `seen`, and there was some rest. It is left for [`Self::settled`].
    pub async fn rested(&self, seen: &Burst) -> Burst {
        loop {
            let burst = self.shared.lock().burst.clone();
            match burst.over().filter(|_| burst != *seen) {
                None => self.shared.some.notified().await,
                // What comes meanwhile may put it off, or bring it nearer.
                Some(over) if Instant::now() < over => tokio::select! {
                    () = tokio::time::sleep_until(over.into()) => {}
                    () = self.shared.some.notified() => {}
                },
                Some(_) => return burst,
            }
        }
    }

    /// The files that were written since the last burst.
    pub fn written(&self) -> BTreeSet<PathBuf> {
        self.shared.lock().burst.written.clone()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, event: &Event, now: Instant) {
        let mut some = false;
        for hint in hints(event) {
            let mut state = self.lock();
            match hint {
                Hint::Writing(path) => state.burst.writing(path, now),
                Hint::Written(path) => state.burst.wrote(path, now),
                Hint::Came(path) if !path.is_dir() => continue,
                Hint::Gone(path) if !state.forget(path) => continue,
                Hint::Touched(_) | Hint::Came(_) | Hint::Gone(_) => state.burst.add(now),
                Hint::Anything => {
                    // Folders may have been replaced by others of the same name.
                    state.folders.clear();
                    state.burst.add(now);
                }
            }
            some = true;
        }
        if some {
            self.some.notify_one();
        }
    }
}

impl State {
    /// A folder is gone, with all below it: should there be one of its name again, that one is not watched. False for what is none.
    fn forget(&mut self, path: &Path) -> bool {
        let before = self.folders.len();
        if self.folders.contains(path) {
            self.folders.retain(|folder| !folder.starts_with(path));
        }
        self.folders.len() < before
    }
}

/// Why there is no reload, and how to mend it.
fn trouble(error: &notify::Error) -> Trouble {
    let (why, remedy) = match &error.kind {
        notify::ErrorKind::MaxFilesWatch => (
            "the system's limit on watched folders is reached (`fs.inotify.max_user_watches`)".to_owned(),
            "sudo sysctl fs.inotify.max_user_watches=524288, and start it again; or --no-reload",
        ),
        notify::ErrorKind::Io(cause) if cause.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) => (
            "the system's limit on watching programs is reached (`fs.inotify.max_user_instances`), or this process's on open files"
                .to_owned(),
            "sudo sysctl fs.inotify.max_user_instances=512, and start it again; or --no-reload",
        ),
        _ => (error.to_string(), "--no-reload starts it without"),
    };
    Trouble::new("the sources are not watched: it serves on, without reload", why, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_the_system_are_told_with_their_remedy() {
        let said = |error| {
            let Trouble { why, remedy, .. } = trouble(&error);
            (why, remedy)
        };
        let (why, remedy) = said(notify::Error::new(notify::ErrorKind::MaxFilesWatch));
        assert!(why.contains("max_user_watches") && remedy.contains("sysctl fs.inotify.max_user_watches="), "{why} {remedy}");
        let (why, remedy) = said(notify::Error::io(rustix::io::Errno::MFILE.into()));
        assert!(why.contains("max_user_instances") && remedy.contains("sysctl fs.inotify.max_user_instances="), "{why} {remedy}");
    }

    #[test]
    fn a_folder_that_is_gone_is_watched_no_more_nor_what_was_below_it() {
        let mut state = State { folders: ["/p", "/p/a", "/p/a/b", "/p/ab"].map(PathBuf::from).into(), ..State::default() };
        assert!(!state.forget(Path::new("/p/data.json")));
        assert!(state.forget(Path::new("/p/a")));
        assert_eq!(state.folders, ["/p", "/p/ab"].map(PathBuf::from).into());
    }
}
