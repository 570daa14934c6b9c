//! The directories that the processes of an endpoint live in.
//!
//! ```text
//! homes/<endpoint>/    HOME: one an endpoint, with its caches; it lasts
//! runs/<start>/work/   the working directory: links to what is in the sources
//! runs/<start>/tmp/    TMPDIR
//! ```
//!
//! A start's directories go when its processes have ended, and HOME with the last of them once its endpoint is forgotten. Names are short: a socket's path in TMPDIR may have 107 characters.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder};
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::Error;

pub(super) const HOMES: &str = "homes";
const RUNS: &str = "runs";

/// The users that endpoints get. Neither Debian nor systemd gives these numbers to anybody, and a container with 65,536 users has them.
pub(super) const USERS: RangeInclusive<u32> = 60_578..=61_183;

/// A HOME that is being removed has a name that begins so, which no endpoint's does.
const GOING: &str = ".going-";

/// The HOMEs in which processes live. An endpoint that is forgotten may be made again while those of the former one end.
static HOMES_IN_USE: Mutex<BTreeMap<PathBuf, Use>> = Mutex::new(BTreeMap::new());

/// Of one HOME.
#[derive(Default)]
struct Use {
    /// Starts whose processes are there.
    starts: usize,
    /// Whether it goes with the last of them.
    forgotten: bool,
}

/// The directories of one start. Dropping it removes what does not last.
#[derive(Debug)]
pub(crate) struct Surroundings {
    home: PathBuf,
    run: PathBuf,
    user: Option<u32>,
}

impl Surroundings {
    /// Makes them, for a user of the endpoint's own or for this process's.
    pub(crate) fn make(directory: &Path, endpoint: &str, sources: &Path, own_user: bool) -> Result<Self, Error> {
        let failed = |cause| Error::NoDirectory { path: directory.to_owned(), cause };
        let directory = std::path::absolute(directory).map_err(failed)?;
        let home = directory.join(HOMES).join(endpoint);
        let mut in_use = in_use();
        let user = if own_user {
            Some(user_for(&directory, endpoint).map_err(failed)?.ok_or(Error::NoUser)?)
        } else {
            passable(&directory.join(HOMES)).and_then(|()| own(&home, None)).map_err(failed)?;
            None
        };
        let run = new_run(&directory.join(RUNS)).map_err(failed)?;
        let used = in_use.entry(home.clone()).or_default();
        *used = Use { starts: used.starts + 1, forgotten: false };
        drop(in_use);
        let made = Self { home, run, user };
        made.fill(sources).map_err(failed)?;
        Ok(made)
    }

    fn fill(&self, sources: &Path) -> io::Result<()> {
        for directory in [self.work(), self.temporary()] {
            own(&directory, self.user)?;
        }
        for entry in sources.read_dir()? {
            let entry = entry?;
            symlink(entry.path(), self.work().join(entry.file_name()))?;
        }
        Ok(())
    }

    /// The endpoint's own user.
    pub(crate) fn user(&self) -> Option<u32> {
        self.user
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.run.join("work")
    }

    pub(crate) fn temporary(&self) -> PathBuf {
        self.run.join("tmp")
    }

    /// Where its processes may write.
    pub(crate) fn writable(&self) -> [PathBuf; 3] {
        [self.home.clone(), self.work(), self.temporary()]
    }
}

impl Drop for Surroundings {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.run) {
            tracing::debug!(directory = %self.run.display(), %error, "the directory of a start stays for now");
        }
        let mut in_use = in_use();
        let Some(used) = in_use.get_mut(&self.home) else { return };
        used.starts -= 1;
        if used.starts == 0 && in_use.remove(&self.home).is_some_and(|used| used.forgotten) {
            remove_home(&self.home);
        }
    }
}

/// Removes the HOME of an endpoint that is no more, once the last of its processes has ended; unless it is started again before.
pub fn forget_home(directory: &Path, endpoint: &str) {
    let Ok(directory) = std::path::absolute(directory) else { return };
    let home = directory.join(HOMES).join(endpoint);
    let mut in_use = in_use();
    match in_use.get_mut(&home) {
        Some(used) => used.forgotten = true,
        None => remove_home(&home),
    }
}

fn in_use() -> MutexGuard<'static, BTreeMap<PathBuf, Use>> {
    // It is changed by whole steps.
    HOMES_IN_USE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// It may hold gigabytes: who is next to have its name does not wait for that.
fn remove_home(home: &Path) {
    let mut name = [0; 8];
    let drawn = rustix::rand::getrandom(&mut name, rustix::rand::GetRandomFlags::empty());
    let going = home.with_file_name(format!("{GOING}{:016x}", u64::from_ne_bytes(name)));
    if drawn.is_ok() && fs::rename(home, &going).is_ok() {
        std::thread::spawn(move || fs::remove_dir_all(going)); // what is left goes at the next start
    }
}

/// Removes what the starts of a server left behind that was killed, and the HOMEs of endpoints that are not known any more. No worker may be
/// there at that time.
pub fn remove_leftovers(directory: &Path, known: impl Fn(&str) -> bool) {
    let remove = |path: &Path| {
        if let Err(error) = fs::remove_dir_all(path) {
            tracing::debug!(path = %path.display(), %error, "a directory of workers stays");
        }
    };
    remove(&directory.join(RUNS));
    for home in directory.join(HOMES).read_dir().into_iter().flatten().flatten() {
        if !home.file_name().to_str().is_some_and(&known) {
            remove(&home.path());
        }
    }
}

/// The user of an endpoint, which has it as long as it has its HOME: its owner. A new one is chosen where it has none; `None` where all are taken.
///
/// # Errors
/// What the system said of the HOME, which is made.
pub fn user_for(directory: &Path, endpoint: &str) -> io::Result<Option<u32>> {
    /// Two endpoints do not choose at once. Servers with the same directory are kept from each other elsewhere.
    static CHOOSING: Mutex<()> = Mutex::new(());
    let _choosing = CHOOSING.lock().unwrap_or_else(PoisonError::into_inner);
    let homes = directory.join(HOMES);
    passable(&homes)?;
    let home = homes.join(endpoint);
    let owner = |path: &Path| path.symlink_metadata().ok().map(|found| found.uid()).filter(|user| USERS.contains(user));
    let user = match owner(&home) {
        Some(user) => Some(user),
        None => {
            let taken: BTreeSet<u32> = homes.read_dir()?.flatten().filter_map(|entry| owner(&entry.path())).collect();
            free(&taken, &(directory, endpoint))
        }
    };
    if let Some(user) = user {
        own(&home, Some(user))?;
    }
    Ok(user)
}

/// A user who is not taken; it begins somewhere else for each endpoint, for another server of this machine may have some too.
fn free(taken: &BTreeSet<u32>, of: &impl Hash) -> Option<u32> {
    let count = USERS.end() - USERS.start() + 1;
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    let first = (hasher.finish() % u64::from(count)) as u32;
    (0..count).map(|further| USERS.start() + (first + further) % count).find(|user| !taken.contains(user))
}

/// A directory for a start, with a name of its own.
fn new_run(runs: &Path) -> io::Result<PathBuf> {
    passable(runs)?;
    loop {
        let mut name = [0; 4];
        rustix::rand::getrandom(&mut name, rustix::rand::GetRandomFlags::empty())?;
        let run = runs.join(format!("{:08x}", u32::from_ne_bytes(name)));
        match DirBuilder::new().mode(0o711).create(&run) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            done => return done.map(|()| run),
        }
    }
}

/// A directory that others pass through, and do not list.
fn passable(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o711).create(path)
}

/// A directory for one user alone. What somebody else had there would be out of reach: it goes.
fn own(path: &Path, user: Option<u32>) -> io::Result<()> {
    let owner = user.unwrap_or_else(|| rustix::process::geteuid().as_raw());
    if path.symlink_metadata().is_ok_and(|found| found.uid() != owner) {
        fs::remove_dir_all(path)?;
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    if user.is_some() { chown(path, user, user) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_of_a_forgotten_endpoint_goes_with_its_last_start_unless_there_is_another() {
        let folder = tempfile::tempdir().expect("there is room");
        let sources = folder.path().join("sources");
        fs::create_dir(&sources).expect("there is room");
        let start = || Surroundings::make(folder.path(), "a+b+c", &sources, false).expect("there is room");
        let (first, second) = (start(), start());
        let (home, kept) = (first.home().to_owned(), first.home().join("kept"));
        fs::write(&kept, "").expect("there is room");
        forget_home(folder.path(), "a+b+c");
        drop(first);
        assert!(kept.exists(), "the processes of another start live there");
        let third = start();
        drop(second);
        drop(third);
        assert!(kept.exists(), "it was started again after it was forgotten");
        let last = start();
        forget_home(folder.path(), "a+b+c");
        drop(last);
        assert!(!home.exists());
        drop(start());
        assert!(home.exists() && !kept.exists());
        forget_home(folder.path(), "a+b+c");
        assert!(!home.exists(), "nobody lives there");
        forget_home(folder.path(), "a+b+d");
    }

    #[test]
    fn no_two_endpoints_have_a_user_in_common() {
        let mut taken = BTreeSet::new();
        for number in 0..606 {
            let user = free(&taken, &number).expect("there are 606");
            assert!((60_578..=61_183).contains(&user), "{user}");
            assert!(taken.insert(user), "{user} is had by two");
        }
        assert_eq!(free(&taken, &606), None);
    }
}
