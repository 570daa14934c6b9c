//! What can go wrong with the queue, and how to mend it.

use std::path::PathBuf;

use crate::shape::Unlike;

/// Shorthand.
pub type Result<T> = std::result::Result<T, Error>;

/// Why the queue did not do what it was asked; nothing of it was done, unless the variant says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Another server has it.
    #[error("the queue in `{}` is another server's", home.display())]
    InUse {
        /// Where.
        home: PathBuf,
    },
    /// It cannot be opened, or made.
    #[error("the queue's file `{}` cannot be opened", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// A newer release has written it.
    #[error("the queue's file `{}` is of a newer release (schema {found}, this one knows {known})", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// It is a database, but not as this release makes it.
    #[error("the queue's file `{}` is not as this version of flash makes it", path.display())]
    Unlike {
        /// The file.
        path: PathBuf,
        /// What is not.
        what: Unlike,
    },
    /// It is no database, or a damaged one.
    #[error("the queue's file `{}` is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite found.
        why: String,
    },
    /// There is no room to write. It works again when there is.
    #[error("the queue cannot be written: the disk is full")]
    Full,
    /// The disk fails. It was refused; where the power is cut at this moment, it may be there all the same.
    #[error("the queue cannot be read or written")]
    Disk {
        /// What the system said.
        why: String,
    },
    /// More waits to be written than may.
    #[error("the queue is busy: too much waits to be written for `{endpoint}`")]
    Busy {
        /// The endpoint.
        endpoint: String,
    },
    /// The server ends.
    #[error("the queue is closed")]
    Closed,
    /// The idempotency key belongs to a job with another body.
    #[error("the idempotency key belongs to job `{job}`, whose request was another one")]
    KeyTaken {
        /// That job.
        job: String,
    },
    /// The id belongs to another job.
    #[error("there is a job `{id}` already")]
    IdTaken {
        /// The id.
        id: String,
    },
    /// It is no id.
    #[error("`{id}` is no job's id: letters, digits, `-` and `_`, at most {} of them", super::ID_LENGTH)]
    NoId {
        /// What was given.
        id: String,
    },
    /// The lease is not in force: its job was cancelled, has expired, or was lost and is another worker's.
    #[error("the lease is not in force any more")]
    Stale,
    /// Anything else.
    #[error("the queue has failed")]
    Other {
        /// What SQLite said.
        why: String,
    },
}

impl Error {
    pub(super) fn of_file(error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Disk { why: error.to_string() },
        }
    }

    /// Whether the disk is what fails: the same may work later.
    pub fn is_of_the_disk(&self) -> bool {
        matches!(self, Self::Full | Self::Disk { .. })
    }

    /// Why it happened.
    pub fn why(&self) -> String {
        match self {
            Self::InUse { .. } => "two servers would run the same jobs; a lock on `jobs.lock` tells that the other one runs".into(),
            Self::Open { why, .. } | Self::Damaged { why, .. } | Self::Disk { why } | Self::Other { why } => why.clone(),
            Self::Unlike { what, .. } => what.why.clone(),
            Self::Newer { .. } => "an older release might lose what it does not know".into(),
            Self::Full => "there was no room for a write; what was accepted before is whole".into(),
            Self::Busy { .. } => "the disk is slower than what comes".into(),
            Self::Closed => "the server ends".into(),
            Self::KeyTaken { .. } => "one key stands for one request".into(),
            Self::IdTaken { .. } => "one id stands for one job".into(),
            Self::NoId { .. } => "ids are part of URLs".into(),
            Self::Stale => "the job was cancelled, its time to live was over, or its worker was not seen to run".into(),
        }
    }

    /// How to mend it.
    pub fn remedy(&self) -> String {
        match self {
            Self::InUse { .. } => "stop the other server, or choose another FLASH_HOME".into(),
            Self::Open { path, .. } => format!("see that `{}` can be written by this user", path.display()),
            Self::Newer { .. } => "run the newer `flash`, or choose another FLASH_HOME".into(),
            Self::Unlike { path, what } => what.remedy(path, "begin with an empty queue"),
            Self::Damaged { path, .. } => {
                format!("put a backup in its place, or move it away and begin with an empty queue: mv {} {0}.damaged", path.display())
            }
            Self::Full => "make room on the disk of FLASH_HOME; the server goes on by itself".into(),
            Self::Disk { .. } | Self::Other { .. } => "see the disk of FLASH_HOME, and try again".into(),
            Self::Busy { .. } | Self::Closed => "try again later".into(),
            Self::KeyTaken { .. } => "use a new key for a new request".into(),
            Self::IdTaken { .. } | Self::NoId { .. } => "choose another id".into(),
            Self::Stale => "nothing needs to be done: the answer is not used".into(),
        }
    }
}

/// What SQLite says, in our words.
pub(super) fn told(error: &rusqlite::Error) -> Error {
    use rusqlite::ErrorCode;
    let why = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Error::Full,
        Some(
            ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase,
        ) => Error::Disk { why },
        _ => Error::Other { why },
    }
}
