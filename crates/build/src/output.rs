//! Where an artifact goes: what is at its place already decides how it gets there.

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use flash_manifest::Diagnostic;

use crate::pack::Failure;

/// As many links the system follows at most.
const LINKS: u32 = 40;

/// A place that can take an artifact.
#[derive(Debug)]
pub(crate) enum Output {
    /// A file, or none yet: it is replaced in one step. This is where links lead.
    File(PathBuf),
    /// A pipe or a device, which others have open: it is written to.
    Through(PathBuf),
}

impl Output {
    /// What is at `path`, which is absolute.
    pub(crate) fn at(path: &Path) -> Result<Self, Diagnostic> {
        let kind = match fs::metadata(path) {
            Ok(found) => found.file_type(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return target(path).map(Self::File).map_err(|error| unwritable(path, &error));
            }
            Err(error) => return Err(unwritable(path, &error)),
        };
        if kind.is_char_device() || kind.is_fifo() {
            return Ok(Self::Through(path.to_owned()));
        }
        let what = match kind {
            kind if kind.is_file() => return fs::canonicalize(path).map(Self::File).map_err(|error| unwritable(path, &error)),
            kind if kind.is_dir() => "a directory",
            kind if kind.is_socket() => "a socket",
            _ => "a disk",
        };
        let what = format!("`{}` cannot be written: it is {what}", path.display());
        Err(Diagnostic::error(what, "an artifact goes into a file, a pipe or a character device", "name another place: --output FILE"))
    }

    /// The file that is replaced, if one is.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Through(_) => None,
        }
    }

    /// Has it written. A file is written beside its place, and moved there once it is whole.
    pub(crate) fn write<T>(&self, fill: impl FnOnce(&mut BufWriter<&mut File>) -> Result<T, Failure>) -> Result<T, Diagnostic> {
        let (Self::File(path) | Self::Through(path)) = self;
        let failed = |error: io::Error| unwritable(path, &error);
        let filled = |file: &mut File| {
            fill(&mut BufWriter::with_capacity(64 * 1024, file)).map_err(|failure| match failure {
                Failure::Source(problem) => problem,
                Failure::Output(error) => failed(error),
            })
        };
        match self {
            Self::Through(path) => filled(&mut File::options().write(true).open(path).map_err(failed)?),
            Self::File(path) => {
                let folder = path.parent().unwrap_or(Path::new("/"));
                fs::create_dir_all(folder).map_err(failed)?;
                let mut file = new_file(folder).map_err(failed)?;
                let filled = filled(file.as_file_mut())?;
                file.persist(path).map_err(|error| failed(error.error))?;
                Ok(filled)
            }
        }
    }
}

/// Where links lead to what is not there.
fn target(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        match fs::read_link(&path) {
            Ok(to) => path = path.parent().unwrap_or(Path::new("/")).join(to),
            Err(_) => return Ok(path), // it is no link, or not there
        }
    }
    Err(io::Error::other("too many links lead on from there"))
}

/// A file that goes away unless it is moved to its place, with the permissions that any new file has.
pub(crate) fn new_file(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new().prefix(".new-").permissions(fs::Permissions::from_mode(0o666)).tempfile_in(folder)
}

pub(crate) fn unwritable(path: &Path, error: &io::Error) -> Diagnostic {
    let what = format!("`{}` cannot be written: {error}", path.display());
    Diagnostic::error(what, "the artifact goes there", "make room or mend the permissions there, or name another place: --output FILE")
}
