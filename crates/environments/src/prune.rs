//! What nobody has used for long goes: environments of builds that are gone, overlays of programs that nobody runs any more.
//!
//! Whoever takes an environment holds a lock on its marker as it notes the time (`place::used`), and a process that lives on an overlay
//! holds it to its end. Who removes one must have that lock alone: so nothing is removed that is in use, and nobody takes what is about to go.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{FlockOperation, flock};

use crate::environments::Environments;
use crate::error::Error;
use crate::place::{self, MARKER};

/// What is being removed has a name that begins so.
const GOING: &str = ".going-";

impl Environments {
    /// Removes what was used last before `before` and is not in use, but for the environments of these interpreters, which count as used now.
    /// Gives what was removed. Blocks.
    ///
    /// # Errors
    /// What the system said of the first one that could not be removed; the others are.
    pub fn prune(&self, interpreters: &[PathBuf], before: SystemTime) -> Result<Vec<PathBuf>, Error> {
        let (mut removed, mut failed) = (Vec::new(), None);
        for place in place::within(self.directory()) {
            let name = place.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            if name.starts_with(GOING) {
                failed = failed.or(place::remove(&place).err()); // of a process that was killed meanwhile
                continue;
            }
            if interpreters.iter().any(|python| python.starts_with(&place)) {
                place::touch(&place);
                continue;
            }
            // Else it is being made.
            let Ok(Some(_alone)) = place::alone_at_once(self.directory(), &name) else { continue };
            let is_one = place.join(MARKER).exists() || place.join("venv").exists();
            for unit in if is_one { vec![place.clone()] } else { place::within(&place) } {
                match remove(&unit, before, self.directory()) {
                    Ok(true) => removed.push(unit),
                    Ok(false) => {}
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
            let _ = fs::remove_dir(&place); // unless something is in it
        }
        failed.map_or(Ok(removed), Err)
    }
}

/// Removes one that is of no use to anybody. False where it stays.
fn remove(unit: &Path, before: SystemTime, directory: &Path) -> Result<bool, Error> {
    let marker = File::open(unit.join(MARKER)).ok();
    // One without a marker is half made, by a process that is gone.
    let metadata = marker.as_ref().map_or_else(|| fs::metadata(unit), File::metadata);
    let old = metadata.and_then(|metadata| metadata.modified()).is_ok_and(|modified| modified < before);
    // Looked at again once nobody can take it any more.
    let free = marker.as_ref().is_none_or(|marker| flock(marker, FlockOperation::NonBlockingLockExclusive).is_ok());
    let still =
        marker.as_ref().is_none_or(|marker| marker.metadata().and_then(|found| found.modified()).is_ok_and(|modified| modified < before));
    if !(old && free && still) {
        return Ok(false);
    }
    // In one step: who looks for it finds all of it, or nothing.
    let name = unit.file_name().unwrap_or_default().to_string_lossy();
    let going = directory.join(format!("{GOING}{name}"));
    place::remove(&going)?;
    fs::rename(unit, &going).map_err(Error::writing(unit))?;
    place::remove(&going)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    struct Home {
        folder: tempfile::TempDir,
        environments: Environments,
    }

    impl Home {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("there is room");
            let environments = Environments::new(folder.path(), []);
            Self { folder, environments }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join("environments").join(name)
        }

        /// A directory that was used so many days ago; not complete where there is no marker in it.
        fn place(&self, name: &str, days: u32, complete: bool) -> PathBuf {
            let path = self.path(name);
            fs::create_dir_all(path.join("bin")).expect("there is room");
            if complete {
                place::complete(&path, &"marker").expect("there is room");
            }
            let used = File::open(if complete { path.join(MARKER) } else { path.clone() }).expect("it is there");
            used.set_modified(SystemTime::now() - DAY * days).expect("it is ours");
            path
        }

        fn prune(&self, interpreters: &[PathBuf]) -> Vec<String> {
            let removed = self.environments.prune(interpreters, SystemTime::now() - DAY * 7).expect("all can be removed");
            assert!(removed.iter().all(|path| !path.exists()));
            let root = self.folder.path().join("environments");
            removed.iter().map(|path| path.strip_prefix(&root).expect("it was there").display().to_string()).collect()
        }
    }

    #[test]
    fn what_was_not_used_for_long_goes() {
        let home = Home::new();
        assert_eq!(home.prune(&[]), [""; 0], "there is nothing at all");
        home.place("old", 8, true);
        home.place("young", 6, true);
        home.place("overlays/old", 8, true);
        home.place("overlays/young", 6, true);
        home.place("lonely/old", 8, true);
        home.place("half/old", 8, false);
        home.place("half/young", 1, false);
        home.place(".going-old", 0, true);
        assert_eq!(home.prune(&[]), ["half/old", "lonely/old", "old", "overlays/old"]);
        assert!(!home.path("lonely").exists() && !home.path(".going-old").exists());
        assert_eq!(home.prune(&[]), [""; 0]);
    }

    #[test]
    fn what_a_build_needs_stays_and_counts_as_used() {
        let home = Home::new();
        let place = home.place("needed", 100, true);
        assert_eq!(home.prune(&[place.join("venv/bin/python")]), [""; 0]);
        assert_eq!(home.prune(&[]), [""; 0], "a build that went a moment ago may come back");
    }

    #[test]
    fn what_another_process_uses_or_makes_stays() {
        let home = Home::new();
        let (used, made) = (home.place("used/one", 100, true), home.place("made", 100, false));
        let held = place::held(&used).expect("it is complete");
        let other = File::open(used.join(MARKER)).expect("it is there");
        other.set_modified(SystemTime::now() - DAY * 100).expect("it is ours");
        fs::create_dir(made.join("venv")).expect("there is room");
        let making = place::alone_at_once(&home.path(""), "made").expect("it is there").expect("nobody has it");
        File::open(&made).expect("it is there").set_modified(SystemTime::now() - DAY * 100).expect("it is ours");
        assert_eq!(home.prune(&[]), [""; 0]);
        drop((held, making));
        assert_eq!(home.prune(&[]), ["made", "used/one"]);
    }

    #[test]
    fn what_goes_meanwhile_is_not_taken() {
        let home = Home::new();
        let place = home.place("old", 100, true);
        let file = File::open(place.join(MARKER)).expect("it is there");
        flock(&file, FlockOperation::LockExclusive).expect("nobody has it");
        let taking = std::thread::spawn({
            let place = place.clone();
            move || place::used::<String>(&place)
        });
        fs::rename(&place, home.path("gone")).expect("it is ours");
        drop(file);
        assert_eq!(taking.join().expect("it does not panic"), None);
    }
}
