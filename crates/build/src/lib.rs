//! A project becomes an artifact, and an artifact a folder. `flash build` and `flash deploy` call the one, the server the other.
//!
//! An artifact is a tar.gz with the manifest, the sources below `src/` and the locked requirements where there are any. The same project
//! gives the same bytes, wherever and whenever it is built, so the SHA-256 of the file names it.
//! Nothing here knows HTTP, servers or settings: what an endpoint is set to beside its code is no part of a build.

mod foreign;
mod layout;
mod limits;
mod links;
mod lock;
mod output;
mod pack;
mod project;
mod requirements;
mod rules;
mod secrets;
mod tree;
mod unpack;
mod uv;
mod verify;

use std::path::{Path, PathBuf};

use flash_manifest::{Diagnostic, Manifest, PythonVersion};

pub use crate::limits::{Limits, size};
pub use crate::lock::Lock;
pub use crate::project::{DIRECTORY, build};
pub use crate::unpack::{Refused, unpack};

/// What to build, and how.
pub struct Request<'a> {
    /// A Python file, or a folder with everything below it: what is searched for endpoints.
    pub target: &'a Path,
    /// The value of `FLASH_APP`.
    pub flash_app: Option<&'a str>,
    /// Patterns of files to leave out, as `.gitignore` has them, from the project's root.
    pub exclude: &'a [String],
    /// The Python that requirements are locked for; without it, what the endpoints ask for, or that of `python`.
    pub python_version: Option<PythonVersion>,
    /// The interpreter that functions run in on this machine.
    pub python: Option<&'a Path>,
    /// Whether requirements are locked anew, to the newest versions that fit.
    pub upgrade: bool,
    /// Hears of what takes long.
    pub progress: &'a dyn Fn(&str),
    /// Where the artifact goes; without it `.flash/artifact.tar.gz` in the project's root.
    pub output: Option<&'a Path>,
    /// What an artifact may hold.
    pub limits: Limits,
}

impl<'a> Request<'a> {
    /// To build what is there, as it is there.
    pub fn new(target: &'a Path) -> Self {
        Self {
            target,
            flash_app: None,
            exclude: &[],
            python_version: None,
            python: None,
            upgrade: false,
            progress: &|_| {},
            output: None,
            limits: Limits::default(),
        }
    }
}

/// A build, as a file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Artifact {
    /// The file.
    pub path: PathBuf,
    /// SHA-256 of the file, in hexadecimal digits.
    pub digest: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// What it declares.
    pub manifest: Manifest,
    /// Its sources, relative to `src/`, in order.
    pub files: Vec<String>,
    /// What it requires, where it does.
    pub lock: Option<Lock>,
    /// What will surprise.
    pub warnings: Vec<Diagnostic>,
}
