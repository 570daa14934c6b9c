//! What can go wrong with a store, and how to mend it.

use std::path::PathBuf;

use crate::shape::Unlike;

/// Shorthand.
pub type Result<T> = std::result::Result<T, Error>;

/// Why the store did not do what it was asked; nothing of it was done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened, or made.
    #[error("the server's state `{}` cannot be opened", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// A release has written it whose files this one does not know.
    #[error("the server's state `{}` is of {} release (schema {found}, this one has {known})", path.display(), age(*found, *known))]
    OtherRelease {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// It is a database, but not as this release makes it.
    #[error("the server's state `{}` is not as this version of flash makes it", path.display())]
    Unlike {
        /// The file.
        path: PathBuf,
        /// What is not.
        what: Unlike,
    },
    /// It is no database, or a damaged one.
    #[error("the server's state `{}` is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite found.
        why: String,
    },
    /// It was removed, or another file is in its place, since it was opened: what is written would be gone with this process.
    #[error("the server's state `{}` was removed or replaced while the server runs", path.display())]
    Removed {
        /// The file.
        path: PathBuf,
    },
    /// There is no room to write.
    #[error("the server's state cannot be written: the disk is full")]
    Full,
    /// Somebody else keeps it locked.
    #[error("the server's state is locked by another program")]
    Locked,
    /// Anything else.
    #[error("the server's state cannot be read or written")]
    Other(String),
}

impl Error {
    /// Why it happened.
    pub fn why(&self) -> String {
        match self {
            Self::Open { why, .. } | Self::Damaged { why, .. } | Self::Other(why) => why.clone(),
            Self::OtherRelease { found, known, .. } if found > known => "an older release might lose what it does not know".into(),
            Self::OtherRelease { .. } => "its tables are from before the first release, and nothing makes those of this one of them".into(),
            Self::Unlike { what, .. } => what.why.clone(),
            Self::Removed { .. } => "what would be written now would be lost with the server's end; what is deployed serves on".into(),
            Self::Full => "SQLite found no room for a write; what was there before is whole".into(),
            Self::Locked => "it stayed locked for 5 s, by a backup or an open SQLite shell".into(),
        }
    }

    /// How to mend it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Open { path, .. } => format!("see that `{}` can be written by this user", path.display()),
            Self::OtherRelease { found, known, .. } if found > known => "run the newer `flash`, or choose another FLASH_HOME".into(),
            Self::OtherRelease { path, .. } => format!("move it away and deploy anew: mv {} {0}.old", path.display()),
            Self::Unlike { path, what } => what.remedy(path, "deploy anew"),
            Self::Damaged { path, .. } => {
                format!("put a backup in its place, or move it away and deploy anew: mv {} {0}.damaged", path.display())
            }
            Self::Removed { .. } => {
                "put the file back; or end the server, restore a backup, start it again, and deploy what is missing".into()
            }
            Self::Full => "make room on the disk of FLASH_HOME, and try again".into(),
            Self::Locked => "end the other program, and try again".into(),
            Self::Other(_) => "see the disk of FLASH_HOME, and try again".into(),
        }
    }
}

fn age(found: u32, known: u32) -> &'static str {
    if found > known { "a newer" } else { "an older" }
}
