//! Where environments are: a directory each, complete once its marker is there, made by one process at a time.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use rustix::fs::{FlockOperation, flock};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cancel::Cancel;
use crate::error::Error;
use crate::uv::TICK;

/// Written last. Its time of modification says when the environment was used last.
pub(crate) const MARKER: &str = "complete.json";

/// Makes a directory and those above it.
pub(crate) fn make(directory: &Path) -> Result<(), Error> {
    fs::create_dir_all(directory).map_err(Error::writing(directory))
}

/// Removes what was half made, or is of no use any more.
pub(crate) fn remove(directory: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(directory) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => Err(Error::writing(directory)(cause)),
        _ => Ok(()),
    }
}

/// Writes a file of an environment that is being made.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(Error::writing(path))
}

/// From now on the directory is complete. What is in it is on the disk before, as far as a crash of this process goes.
pub(crate) fn complete(directory: &Path, marker: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string(marker).expect("markers are plain data");
    let failed = || Error::writing(directory);
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed())?;
    file.write_all(text.as_bytes()).map_err(failed())?;
    file.persist(directory.join(MARKER)).map_err(|error| failed()(error.error))?;
    Ok(())
}

/// The marker of a directory that is complete; it counts as used now.
pub(crate) fn used<M: DeserializeOwned>(directory: &Path) -> Option<M> {
    serde_json::from_slice(&held(directory)?.1).ok()
}

/// As [`used`], and it counts as in use until this process ends: nobody removes it.
pub(crate) fn in_use(directory: &Path) {
    static IN_USE: Mutex<BTreeMap<PathBuf, File>> = Mutex::new(BTreeMap::new());
    let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((file, _)) = held(directory) {
        in_use.insert(directory.to_owned(), file);
    }
}

/// The open and locked marker of a directory that is complete, and what is in it. It counts as used now.
pub(crate) fn held(directory: &Path) -> Option<(File, Vec<u8>)> {
    let path = directory.join(MARKER);
    // One that cannot be written is somebody else's, who may remove it when they do not use it any more.
    let mut file = OpenOptions::new().read(true).write(true).open(&path).or_else(|_| File::open(&path)).ok()?;
    // Where the file system has no locks, nobody who removes one gets one either.
    let _ = flock(&file, FlockOperation::LockShared);
    let is_there = |found: Metadata| fs::metadata(&path).is_ok_and(|named| (named.dev(), named.ino()) == (found.dev(), found.ino()));
    if !file.metadata().is_ok_and(is_there) {
        return None; // it was removed while the lock was waited for
    }
    let _ = file.set_modified(SystemTime::now());
    let mut content = Vec::new();
    file.read_to_end(&mut content).ok()?;
    Some((file, content))
}

/// Has it count as used now.
pub(crate) fn touch(directory: &Path) {
    drop(held(directory));
}

/// Waits until nobody else makes what has this name, which is told.
pub(crate) fn alone(directory: &Path, name: &str, progress: &dyn Fn(&str), cancel: &Cancel) -> Result<Alone, Error> {
    let file = lock_file(directory, name)?;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Alone { _lock: file }),
            Err(TryLockError::Error(cause)) => return Err(Error::writing(directory)(cause)),
            Err(TryLockError::WouldBlock) => {}
        }
        if !std::mem::replace(&mut told, true) {
            progress("waiting for another process, which installs the same");
        }
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        std::thread::sleep(TICK);
    }
}

/// As [`alone`]; `None` where somebody makes it.
pub(crate) fn alone_at_once(directory: &Path, name: &str) -> Result<Option<Alone>, Error> {
    let file = lock_file(directory, name)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Alone { _lock: file })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(cause)) => Err(Error::writing(directory)(cause)),
    }
}

fn lock_file(directory: &Path, name: &str) -> Result<File, Error> {
    let path = directory.join(format!("{name}.lock"));
    OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(Error::writing(&path))
}

/// The right to make it, until this is dropped. The lock's file stays: who waits has it open.
pub(crate) struct Alone {
    _lock: File,
}

/// The directories in a directory.
pub(crate) fn within(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    let mut found: Vec<_> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    found.sort();
    found
}
