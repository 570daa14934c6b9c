//! Why there is no environment.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

/// Why there is no environment.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `FLASH_HOME` cannot be written.
    #[error("cannot write to `{}`", path.display())]
    Home {
        /// What was to be written.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The interpreter does not say what it is.
    #[error("cannot ask the interpreter `{}` what it has", python.display())]
    Interpreter {
        /// Its path.
        python: PathBuf,
        /// What the system said, or it did.
        said: String,
    },
    /// There is no `uv`.
    #[error("`uv` is missing, which installs packages")]
    NoUv,
    /// Nothing satisfies all that is asked for, or what is asked for does not exist.
    #[error("the dependencies cannot be resolved")]
    Unresolved {
        /// What `uv` said.
        words: String,
    },
    /// An index cannot be reached.
    #[error("the dependencies cannot be fetched")]
    NoNetwork {
        /// What `uv` said.
        words: String,
    },
    /// There is no room.
    #[error("the disk of `{}` is full", path.display())]
    DiskFull {
        /// What was to be written.
        path: PathBuf,
        /// What `uv` or the system said.
        words: String,
    },
    /// `uv` ended without its doing.
    #[error("`uv` was killed while it installed ({status})")]
    Killed {
        /// How it ended.
        status: ExitStatus,
    },
    /// `uv` failed in another way: a package could not be built, say.
    #[error("the dependencies cannot be installed")]
    Failed {
        /// What `uv` said.
        words: String,
    },
    /// Somebody gave it up.
    #[error("the installation was given up")]
    Cancelled,
}

impl Error {
    /// Why it happened; what `uv` said may be of several lines.
    pub fn why(&self) -> String {
        match self {
            Self::Home { cause, .. } => cause.to_string(),
            Self::Interpreter { said, .. } => said.clone(),
            Self::NoUv => "it is neither in PATH, nor beside `flash`, nor in the interpreter's environment".into(),
            Self::Unresolved { words } | Self::NoNetwork { words } | Self::DiskFull { words, .. } | Self::Failed { words } => {
                format!("uv says: {words}")
            }
            Self::Killed { .. } => "by somebody, or because memory ran out".into(),
            Self::Cancelled => "nobody waits for it any more".into(),
        }
    }

    /// How to mend it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Home { .. } => "make it writable, or set FLASH_HOME to a directory that you can write".into(),
            Self::Interpreter { python, .. } => format!("run `{} -c pass` and see what it says", python.display()),
            Self::NoUv => "pip install uv".into(),
            Self::Unresolved { .. } => "see to the names and versions in `dependencies`, and to what they ask of each other".into(),
            Self::NoNetwork { .. } => {
                "see to the network, or name an index that can be reached with UV_DEFAULT_INDEX; then try again".into()
            }
            Self::DiskFull { path, .. } => {
                format!("make room: {} may be removed while nothing runs, and `uv cache clean` helps as well", path.display())
            }
            Self::Killed { .. } | Self::Cancelled => "try again: what was half made is made anew".into(),
            Self::Failed { .. } => "see what it says; a package that has no wheel for this Python needs a compiler".into(),
        }
    }

    /// The error for what could not be written.
    pub(crate) fn writing(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |cause| match cause.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path, words: cause.to_string() },
            _ => Self::Home { path, cause },
        }
    }
}
