//! Where environments are: a directory each, complete once its marker is there, made by one process at a time.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cancel::Cancel;
use crate::error::Error;
use crate::uv::TICK;

/// Written last. Its time of modification says when the environment was used last.
const MARKER: &str = "complete.json";

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
    let path = directory.join(MARKER);
    let marker = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
    // One that cannot be written is somebody else's, who may remove it when they do not use it any more.
    if let Ok(file) = OpenOptions::new().write(true).open(&path) {
        let _ = file.set_modified(SystemTime::now());
    }
    Some(marker)
}

/// Waits until nobody else makes what has this name, which is told.
pub(crate) fn alone(directory: &Path, name: &str, progress: &dyn Fn(&str), cancel: &Cancel) -> Result<Alone, Error> {
    let path = directory.join(format!("{name}.lock"));
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(Error::writing(&path))?;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Alone { _lock: file }),
            Err(TryLockError::Error(cause)) => return Err(Error::writing(path)(cause)),
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
