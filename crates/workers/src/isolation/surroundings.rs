//! The directories that the processes of an endpoint live in.
//!
//! ```text
//! homes/<endpoint>/    HOME: one an endpoint, with its caches; it lasts
//! runs/<start>/work/   the working directory: links to what is in the sources
//! runs/<start>/tmp/    TMPDIR
//! ```
//!
//! A start's directories go when its processes have ended. Names are short: a socket's path in TMPDIR may have 107 characters.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use crate::error::Error;

const HOMES: &str = "homes";
const RUNS: &str = "runs";

/// The directories of one start. Dropping it removes what does not last.
#[derive(Debug)]
pub(crate) struct Surroundings {
    home: PathBuf,
    run: PathBuf,
}

impl Surroundings {
    /// Makes them, for a user.
    pub(crate) fn make(directory: &Path, endpoint: &str, sources: &Path, user: Option<u32>) -> Result<Self, Error> {
        let failed = |cause| Error::NoDirectory { path: directory.to_owned(), cause };
        let directory = std::path::absolute(directory).map_err(failed)?;
        let run = new_run(&directory.join(RUNS)).map_err(failed)?;
        let made = Self { home: directory.join(HOMES).join(endpoint), run };
        made.fill(sources, user).map_err(failed)?;
        Ok(made)
    }

    fn fill(&self, sources: &Path, user: Option<u32>) -> io::Result<()> {
        passable(self.home.parent().expect("it is below the directory for all"))?;
        // Whoever had it before, what is in it would be out of reach now.
        let owner = user.unwrap_or_else(|| rustix::process::geteuid().as_raw());
        if self.home.symlink_metadata().is_ok_and(|found| found.uid() != owner) {
            fs::remove_dir_all(&self.home)?;
        }
        for directory in [&self.home, &self.work(), &self.temporary()] {
            private(directory, user)?;
        }
        for entry in sources.read_dir()? {
            let entry = entry?;
            symlink(entry.path(), self.work().join(entry.file_name()))?;
        }
        Ok(())
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
    }
}

/// Removes what the starts of a server left behind that was killed. Nobody else may use the directory at that time.
pub fn remove_leftovers(directory: &Path) {
    let _ = fs::remove_dir_all(directory.join(RUNS)); // what cannot be removed hinders nobody
}

/// Removes an endpoint's HOME.
///
/// # Errors
/// What the system said; that there is none is no error.
pub fn forget_endpoint(directory: &Path, endpoint: &str) -> io::Result<()> {
    match fs::remove_dir_all(directory.join(HOMES).join(endpoint)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
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

fn private(path: &Path, user: Option<u32>) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    if user.is_some() { chown(path, user, user) } else { Ok(()) }
}
