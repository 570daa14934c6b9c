//! Projects that are written to be measured, below `target/bench`.

use std::fmt::Display;
use std::fs;
use std::io;
use std::path::PathBuf;

use super::unexpected;
use crate::failure::Failure;
use crate::project;

/// The file of the guide's service.
pub const GUIDE: &str = "user_service.py";

/// The guide's service, with another word in the answer of `GET /health`.
pub fn guide(health: &str) -> Result<String, Failure> {
    const ANSWER: &str = r#""healthy""#;
    let text =
        fs::read_to_string(project::path("examples/guide/user_service.py")).map_err(|cause| unexpected("the guide's service", cause))?;
    if !text.contains(ANSWER) {
        return Err(unexpected("the guide's service", "it does not say that it is healthy"));
    }
    Ok(text.replace(ANSWER, &format!("\"{health}\"")))
}

/// A project's folder.
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// A folder with an empty `flash.toml`, and nothing of an earlier run.
    pub fn empty(name: &str) -> Result<Self, Failure> {
        let folder = Self { path: project::target().join("bench").join(name) };
        folder.remove("")?;
        folder.write("flash.toml", "")?;
        Ok(folder)
    }

    /// A file or folder in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file, and the folders that it is in.
    pub fn write(&self, name: &str, text: &str) -> Result<(), Failure> {
        let path = self.path(name);
        let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, text));
        written.map_err(|cause| failed(&project::shown(&path), "written", cause))
    }

    /// Removes a folder in it, or the whole, if it is there.
    pub fn remove(&self, name: &str) -> Result<(), Failure> {
        let path = self.path(name);
        match fs::remove_dir_all(&path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(failed(&project::shown(&path), "removed", cause)),
            _ => Ok(()),
        }
    }
}

fn failed(path: &str, done: &str, cause: impl Display) -> Failure {
    Failure::new(format!("`{path}` could not be {done}"), cause, "make its directory writable")
}
