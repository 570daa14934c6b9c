//! The directory in which a server keeps everything: what is where, who has it, and the credential of this machine.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use flash_jobs::Secret;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::secret;

/// `FLASH_HOME`, in the hands of this process.
pub struct Home {
    path: PathBuf,
    /// Locked for as long as it is open.
    _lock: File,
}

/// What a running server says of itself, in `server.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its process.
    pub pid: u32,
    /// When that began, as [`began`] says it: another process that has its number later is not taken for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<String>,
    /// Where it is reached from this machine.
    pub url: String,
    /// Where it takes requests with a credential without TLS, from this machine alone; where it speaks TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plain: Option<String>,
}

/// Why a directory cannot be a server's home.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another server has it.
    #[error("a server runs from `{}` already", home.display())]
    Taken {
        /// The directory.
        home: PathBuf,
        /// The other one, where it has said who it is.
        by: Option<Running>,
    },
    /// The file of the token holds another thing, which would be guessed, or is a slip.
    #[error("`{}` holds no token", path.display())]
    NoToken {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read or written.
    #[error("`{}` cannot be used", path.display())]
    Unusable {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
}

impl Error {
    /// Why it happened.
    pub fn why(&self) -> String {
        match self {
            Self::Taken { by: Some(Running { pid, url, .. }), .. } => format!("process {pid} serves {url}"),
            Self::Taken { by: None, .. } => "another process holds its lock".into(),
            Self::NoToken { .. } => "a token is 64 hexadecimal digits, drawn by chance: whoever guesses it may run code here".into(),
            Self::Unusable { cause, .. } => cause.to_string(),
        }
    }

    /// Whether the disk has no room.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Unusable { cause, .. } if is_full(cause))
    }

    /// How to mend it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Taken { .. } => "use that one; or end it first: flash stop; or choose another directory with FLASH_HOME".into(),
            Self::NoToken { .. } => "remove the file, and start again: the server draws one".into(),
            Self::Unusable { .. } => {
                "see who may write there, and that the disk has room; or choose another directory with FLASH_HOME".into()
            }
        }
    }
}

impl Home {
    /// Takes the directory, which is made where it is not there.
    ///
    /// # Errors
    /// Where another server has it, or it cannot be used.
    pub fn take(path: &Path) -> Result<Self, Error> {
        let unusable = |path: &Path| {
            let path = path.to_owned();
            move |cause| Error::Unusable { path, cause }
        };
        let path = std::path::absolute(path).map_err(unusable(path))?;
        private_directory(&path).map_err(unusable(&path))?;
        let lock = path.join("lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&lock).map_err(unusable(&lock))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(Error::Taken { by: running(&path), home: path }),
            Err(error) => return Err(unusable(&lock)(error.into())),
        }
        let home = Self { path, _lock: file };
        for directory in [home.builds(), home.logs(), home.workers()] {
            private_directory(&directory).map_err(unusable(&directory))?;
        }
        Ok(home)
    }

    /// Itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file of the store.
    pub fn state(&self) -> PathBuf {
        self.path.join("state.db")
    }

    /// What tells that a server has run from here before: it is made after the store.
    pub fn trace(&self) -> Option<PathBuf> {
        let made = [self.path.join("jobs.db"), self.path.join("token")].into_iter().find(|path| path.exists());
        let entry = || fs::read_dir(self.builds()).ok()?.next()?.ok().map(|entry| entry.path());
        made.or_else(entry)
    }

    /// Builds, a directory each by its digest.
    pub fn builds(&self) -> PathBuf {
        self.path.join("builds")
    }

    /// Where workers have their directories.
    pub fn workers(&self) -> PathBuf {
        self.path.join("workers")
    }

    /// The logs of endpoints.
    pub fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// What webhooks are signed with.
    pub fn webhook_secret(&self) -> PathBuf {
        self.path.join("webhook-secret")
    }

    /// The secret that webhooks are signed with: the one that is there, else a new one.
    ///
    /// # Errors
    /// Where it cannot be read or written, or is no secret.
    pub fn secret(&self) -> Result<Secret, Error> {
        let path = self.webhook_secret();
        let unusable = |cause| Error::Unusable { path: path.clone(), cause };
        match Secret::of_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let text = Secret::draw().map_err(unusable)?;
                replace(&path, format!("{text}\n").as_bytes()).map_err(unusable)?;
                Secret::of_file(&path).map_err(unusable)
            }
            found => found.map_err(unusable),
        }
    }

    /// The credential of this machine's users who may read this user's files: the one that is there, else a new one.
    ///
    /// # Errors
    /// Where it cannot be read or written, or holds something else.
    pub fn token(&self) -> Result<String, Error> {
        let path = self.path.join("token");
        let unusable = |cause| Error::Unusable { path: path.clone(), cause };
        let mut text = String::new();
        let read = File::open(&path).and_then(|file| file.take(1024).read_to_string(&mut text));
        if read.is_ok() && secret::is_secret(text.trim()) {
            let mode = fs::metadata(&path).map_err(unusable)?.permissions().mode();
            if mode & 0o077 != 0 {
                fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(unusable)?;
                tracing::warn!(path = %path.display(), "others could read the token, and cannot any more; where one may have, remove the file");
            }
            return Ok(text.trim().to_owned());
        }
        if !text.trim().is_empty() {
            return Err(Error::NoToken { path });
        }
        let token = secret::draw().map_err(unusable)?;
        replace(&path, format!("{token}\n").as_bytes()).map_err(unusable)?;
        Ok(token)
    }

    /// Says that this process serves. On a disk that is full, the file that a killed server has left is written over.
    ///
    /// # Errors
    /// Where that cannot be written.
    pub fn announce(&self, running: &Running) -> Result<(), Error> {
        let path = self.path.join("server.json");
        let text = serde_json::to_vec(running).expect("it is plain data");
        let written = match replace(&path, &text) {
            Err(error) if is_full(&error) => write_over(&path, text).map_err(|_| error),
            written => written,
        };
        written.map_err(|cause| Error::Unusable { path, cause })
    }

    /// Says that it serves no longer.
    pub fn withdraw(&self) {
        let _ = fs::remove_file(self.path.join("server.json")); // the next server replaces it
    }
}

/// The server that runs from this directory, or ran last.
pub fn running(home: &Path) -> Option<Running> {
    serde_json::from_slice(&fs::read(home.join("server.json")).ok()?).ok()
}

/// When a process began: the boot of the system, and the clock ticks from it to the process's start (proc_pid_stat(5), field 22). No two
/// processes of one number have the same. `None` where there is no such process, or the system has no `/proc`.
pub fn began(pid: u32) -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?; // a name may have anything in it
    let ticks = after_name.split_ascii_whitespace().nth(19)?;
    Some(format!("{} {ticks}", boot.trim()))
}

/// Whether a server has this directory: one that ends does so until its last process has ended.
pub fn is_taken(home: &Path) -> bool {
    let lock = File::open(home.join("lock"));
    lock.is_ok_and(|lock| flock(lock, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK))
}

fn private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// In one step, for nobody but its owner: nobody reads half of it, and no link is followed.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = path.with_added_extension("new");
    let _ = fs::remove_file(&beside); // of a process that was killed
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    let replaced = file.write_all(content).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&beside, path));
    if replaced.is_err() {
        let _ = fs::remove_file(&beside); // the first error is the one to tell
    }
    replaced
}

/// In place, where its room is taken already. By one write that leaves nothing of what was there, as spaces are nothing to JSON: who reads it
/// meanwhile finds the old or the new.
fn write_over(path: &Path, mut json: Vec<u8>) -> io::Result<()> {
    let file = OpenOptions::new().write(true).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed()).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() || found.len() > 64 << 10 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    json.resize(json.len().max(found.len() as usize), b' ');
    file.write_all_at(&json, 0)?;
    file.sync_all()
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_closed_to_others_and_what_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::take(folder.path()).unwrap();
        let (path, token) = (home.path().join("token"), home.token().unwrap());
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(home.token().unwrap(), token);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for text in ["abc", &token[1..], &token.replace(|digit: char| digit.is_ascii_digit(), "x")] {
            fs::write(&path, text).unwrap();
            assert!(matches!(home.token(), Err(Error::NoToken { .. })), "{text}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        fs::write(&path, "").unwrap();
        assert_ne!(home.token().unwrap(), token);
    }
}
