//! Inputs and outputs: small ones in the database, large ones in files beside it, which are on the disk before the row that names them.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rusqlite::Row;

/// A payload, where it is kept.
#[derive(Clone, Debug)]
pub(super) enum Stored {
    /// In the row.
    Inline(Bytes),
    /// In this file.
    File { name: String, bytes: u64 },
}

impl Stored {
    /// From the columns `bytes`, `body` and `file`, of which this is the first.
    pub(super) fn read(row: &Row<'_>, index: usize) -> rusqlite::Result<Self> {
        if let Some(name) = row.get(index + 2)? {
            return Ok(Self::File { name, bytes: row.get(index)? });
        }
        let body: Vec<u8> = row.get(index + 1)?;
        Ok(Self::Inline(body.into()))
    }

    pub(super) fn file(&self) -> Option<&str> {
        match self {
            Self::Inline(_) => None,
            Self::File { name, .. } => Some(name),
        }
    }
}

/// An output that is in a file, which stays readable as long as this is there.
#[derive(Debug)]
pub struct Large {
    /// From its first byte on.
    pub file: File,
    /// How many there are.
    pub bytes: u64,
}

impl Large {
    /// All of it. Blocks.
    ///
    /// # Errors
    /// Where the disk fails.
    pub fn read(mut self) -> io::Result<Bytes> {
        let mut body = Vec::with_capacity(usize::try_from(self.bytes).unwrap_or_default());
        io::Read::read_to_end(&mut self.file, &mut body)?;
        Ok(body.into())
    }
}

/// The folder of large payloads.
#[derive(Debug)]
pub(super) struct Payloads {
    folder: PathBuf,
    /// The names of this server's files begin like this; those that begin otherwise are of servers before it.
    life: String,
    next: AtomicU64,
}

impl Payloads {
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).create(folder)?;
        fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let life = format!("{:x}-{:x}", start.as_nanos(), std::process::id());
        Ok(Self { folder: folder.to_owned(), life, next: AtomicU64::new(0) })
    }

    /// Writes a file, so that it stays there when the power is cut. Blocks.
    pub(super) fn write(&self, body: &[u8]) -> io::Result<Stored> {
        let name = format!("{}-{:x}", self.life, self.next.fetch_add(1, Ordering::Relaxed));
        let path = self.folder.join(&name);
        let written = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).and_then(|mut file| {
            file.write_all(body)?;
            file.sync_all()?;
            // The name is part of the folder, not of the file.
            File::open(&self.folder)?.sync_all()
        });
        if let Err(error) = written {
            self.remove(&name);
            return Err(error);
        }
        Ok(Stored::File { name, bytes: body.len() as u64 })
    }

    /// Blocks.
    pub(super) fn read(&self, name: &str) -> io::Result<Bytes> {
        fs::read(self.folder.join(name)).map(Bytes::from)
    }

    /// Opens a file that has so many bytes. Blocks.
    pub(super) fn large(&self, name: &str, bytes: u64) -> io::Result<Large> {
        let file = File::open(self.folder.join(name))?;
        let found = file.metadata()?.len();
        if found != bytes {
            let why = format!("its file has {found} bytes in the place of {bytes}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(Large { file, bytes })
    }

    /// Removes a file that no row names. What stays there for an error goes with the next start.
    pub(super) fn remove(&self, name: &str) {
        let path = self.folder.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => tracing::warn!("cannot remove `{}`: {error}", path.display()),
            _ => {}
        }
    }

    /// The files of servers before this one.
    pub(super) fn former(&self) -> io::Result<impl Iterator<Item = String>> {
        let files = fs::read_dir(&self.folder)?;
        let names = files.filter_map(|file| file.ok()?.file_name().into_string().ok());
        Ok(names.filter(|name| !name.starts_with(&self.life)))
    }
}
