//! What can go wrong with interpreters and workers.

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a zygote or worker says of modules that it cannot serve.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// What happened.
    #[serde(rename = "error")]
    pub what: String,
    /// Why.
    pub why: String,
    /// How to mend it.
    #[serde(rename = "try")]
    pub remedy: String,
    /// Where it is: a file, and a line if it has one.
    #[serde(default)]
    pub at: Option<String>,
    /// The text of that line.
    #[serde(default)]
    pub line: Option<String>,
    /// The traceback, trimmed to the user's own code.
    pub traceback: Option<String>,
    /// What else is wrong, where that is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Report>,
}

impl Report {
    /// All that is wrong.
    pub fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(&self.others)
    }
}

/// Why a worker does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The interpreter is not there.
    #[error("cannot start the interpreter `{}`", python.display())]
    NoInterpreter {
        /// Its path.
        python: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// It ended before it said anything.
    #[error("the interpreter `{}` ended at once ({status})", python.display())]
    NotStarted {
        /// Its path.
        python: PathBuf,
        /// How it ended.
        status: ExitStatus,
    },
    /// The directories that its processes live in cannot be made.
    #[error("the directories of the endpoint's workers cannot be made in `{}`", path.display())]
    NoDirectory {
        /// The directory for all of them.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// Each endpoint has a user of its own, and there are no more.
    #[error("there is no user left for the endpoint's workers")]
    NoUser,
    /// Other workers have the GPUs that a worker is to have to itself.
    #[error("{} for another worker", if *wanted == 1 { "no GPU is free".to_owned() } else { format!("fewer than {wanted} GPUs are free") })]
    NoDevice {
        /// How many it asks for.
        wanted: usize,
        /// How many the machine has.
        there: usize,
    },
    /// A zygote said that a process is its own, and it is not.
    #[error("a zygote handed over a process that it has not forked")]
    Foreign,
    /// It runs, and does not say that it is ready.
    #[error("the interpreter `{}` said nothing for {} s", python.display(), limit.as_secs())]
    Silent {
        /// Its path.
        python: PathBuf,
        /// How long it was waited for.
        limit: Duration,
    },
    /// It lacks a package that workers need.
    #[error("the interpreter `{}` lacks what workers need", python.display())]
    Missing {
        /// Its path.
        python: PathBuf,
        /// What the import said.
        missing: String,
    },
    /// Its `runpod_flash` speaks another version of the wire.
    #[error("the `runpod_flash` of `{}` speaks version {version} of the wire, this `flash` speaks {}", python.display(), flash_wire::VERSION)]
    OtherVersion {
        /// Its path.
        python: PathBuf,
        /// The version in its HELLO.
        version: u8,
    },
    /// The modules cannot be imported, or routes not be made of them.
    #[error("{}", .0.what)]
    CannotLoad(Box<Report>),
    /// A zygote ended while it was needed.
    #[error("the zygote has ended")]
    ZygoteGone,
    /// A zygote runs, and does not fork.
    #[error("the zygote did not fork within {} s", limit.as_secs())]
    ZygoteStuck {
        /// How long it was waited for.
        limit: Duration,
    },
    /// What a zygote is to fork is longer than a packet may be.
    #[error("the endpoint's functions do not fit into one order to a zygote ({bytes} bytes)")]
    OrderTooLong {
        /// Its length.
        bytes: usize,
    },
    /// A process ended while it imported the modules.
    #[error("the process that imports the endpoint's modules ended before it was ready")]
    EndedEarly {
        /// How, where that is known.
        status: Option<ExitStatus>,
    },
    /// A worker ended right after it was ready.
    #[error("a worker of the endpoint ended right after it was ready")]
    EndedYoung {
        /// How, where that is known.
        status: Option<ExitStatus>,
    },
    /// A worker ended while it ran what it was given first.
    #[error("a worker of the endpoint ended while it ran its first request or job")]
    EndedAtWork {
        /// How, where that is known.
        status: Option<ExitStatus>,
    },
    /// A worker was ready, and does not answer.
    #[error("a worker of the endpoint was ready, and did not answer within {} s", limit.as_secs_f64())]
    Unanswered {
        /// How long it was waited for.
        limit: Duration,
    },
    /// A process is still importing the modules after its time.
    #[error("the endpoint's modules were not imported within {} s", limit.as_secs())]
    NotReady {
        /// How long it was waited for.
        limit: Duration,
    },
    /// What describes the routes says too much.
    #[error("the description of the endpoint's routes is longer than {} MiB", limit >> 20)]
    DescriptionTooLong {
        /// How long it may be, in bytes.
        limit: usize,
    },
    /// The other side does not keep to the protocol.
    #[error("a worker does not keep to the wire protocol")]
    Protocol,
    /// The system refused a descriptor, a pipe, or the like.
    #[error("no worker could be set up")]
    System(#[source] std::io::Error),
}

impl Error {
    /// Whether it may not happen again though nothing was mended: a process was killed, say.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::EndedEarly { .. }
            | Self::EndedYoung { .. }
            | Self::EndedAtWork { .. }
            | Self::ZygoteGone
            | Self::ZygoteStuck { .. }
            | Self::Unanswered { .. }
            | Self::NoDevice { .. } => true,
            Self::NotStarted { status, .. } => status.signal().is_some(),
            Self::NoInterpreter { .. }
            | Self::Silent { .. }
            | Self::Missing { .. }
            | Self::OtherVersion { .. }
            | Self::CannotLoad(_)
            | Self::OrderTooLong { .. }
            | Self::NotReady { .. }
            | Self::DescriptionTooLong { .. }
            | Self::Protocol
            | Self::NoDirectory { .. }
            | Self::NoUser
            | Self::Foreign
            | Self::System(_) => false,
        }
    }

    /// What callers may know of it: no paths, no names.
    pub fn gist(&self) -> &'static str {
        match self {
            Self::NoInterpreter { .. }
            | Self::NotStarted { .. }
            | Self::Silent { .. }
            | Self::OtherVersion { .. }
            | Self::Missing { .. } => "its interpreter does not start as it should",
            Self::CannotLoad(_) | Self::OrderTooLong { .. } | Self::DescriptionTooLong { .. } => "its modules cannot be served",
            Self::NotReady { .. } => "its modules are not imported in time",
            Self::ZygoteGone | Self::EndedEarly { .. } => "its workers end as they start",
            Self::ZygoteStuck { .. } => "its zygote stands still",
            Self::EndedYoung { .. } => "its workers end right after they were ready",
            Self::EndedAtWork { .. } => "its workers end while they run their first request or job",
            Self::Unanswered { .. } => "its workers do not answer",
            Self::Protocol | Self::Foreign => "its workers do not keep to the wire protocol",
            Self::NoDevice { .. } => "no GPU is free for its workers",
            Self::NoDirectory { .. } | Self::NoUser | Self::System(_) => "its workers cannot be set up",
        }
    }

    /// Why it happened.
    pub fn why(&self) -> String {
        match self {
            Self::NoInterpreter { cause, .. } | Self::NoDirectory { cause, .. } | Self::System(cause) => cause.to_string(),
            Self::NoUser => "each endpoint has one of its own, and 606 of them are there".into(),
            Self::NoDevice { there, .. } => format!("a worker has its GPUs to itself, and others have those of the {there} that there are"),
            Self::Foreign => "the host would have killed it in the end, which the endpoint itself may not".into(),
            Self::NotStarted { status, .. } => format!("it said nothing first ({status})"),
            Self::Silent { .. } => "it should have imported `runpod_flash` by then; it was killed".into(),
            Self::OrderTooLong { .. } => "the names, files and paths of all of them travel in one packet, which the system bounds".into(),
            Self::Missing { missing, .. } => missing.clone(),
            Self::OtherVersion { .. } => "the two are from different releases of openflash".into(),
            Self::CannotLoad(report) => report.why.clone(),
            Self::ZygoteGone => "its process was killed, or ended by itself".into(),
            Self::ZygoteStuck { .. } => "its process was stopped, or stands still; it was killed, and another one takes its place".into(),
            Self::EndedEarly { status } | Self::EndedYoung { status } | Self::EndedAtWork { status } => {
                format!("it ended{}", how_it_ended(*status))
            }
            Self::Unanswered { .. } => {
                "something of its modules keeps the interpreter to itself: a thread in native code, say; it was killed".into()
            }
            Self::NotReady { .. } => "one of them waits for something, or takes very long; the process was killed".into(),
            Self::DescriptionTooLong { .. } => "the JSON schemas of the parameters and answers of all routes are in it".into(),
            Self::Protocol => "what it sent is not a frame that it may send".into(),
        }
    }

    /// How to mend it.
    pub fn remedy(&self) -> String {
        match self {
            Self::NoInterpreter { .. } => "name an existing interpreter with --python, or activate a virtual environment".into(),
            Self::NoDirectory { .. } => {
                "see who may write there, and that the disk has room; or choose another directory with FLASH_HOME".into()
            }
            Self::NoUser => "remove endpoints that nobody needs: flash undeploy".into(),
            Self::NoDevice { .. } => {
                "give other endpoints fewer workers; and `rollout = \"replace\"` to one whose new build would need the GPUs of the old"
                    .into()
            }
            Self::Foreign => "see which of its modules changes `os.fork` or `os.pidfd_open`".into(),
            Self::OrderTooLong { .. } => "spread the functions over several endpoints, each a resource of its own".into(),
            Self::NotStarted { python, .. } | Self::Silent { python, .. } => {
                format!("run `{} -c pass` and see what it says", python.display())
            }
            Self::Missing { python, .. } => format!("{} -m pip install pydantic cloudpickle", python.display()),
            Self::OtherVersion { python, .. } => format!("install openflash for {} from where this `flash` came", python.display()),
            Self::CannotLoad(report) => report.remedy.clone(),
            Self::Unanswered { .. } => "see what the modules start when they are imported, and start it with the first request".into(),
            Self::ZygoteStuck { .. } => {
                "see who stops processes of this machine (SIGSTOP, a debugger), and whether it has memory left".into()
            }
            Self::ZygoteGone | Self::EndedEarly { .. } | Self::EndedYoung { .. } => {
                "see what it printed before; memory running out is a frequent cause".into()
            }
            Self::EndedAtWork { .. } => {
                "see which request or job that was (`flash logs`), and what its function does: each of them takes a worker with it".into()
            }
            Self::NotReady { .. } => "import them by hand, `python -X importtime -c 'import ...'`, and see which one it is".into(),
            Self::DescriptionTooLong { .. } => "give large types a short schema of their own, with `pydantic.WithJsonSchema`".into(),
            Self::Protocol => "reinstall openflash, so that `flash` and `runpod_flash` are of one release".into(),
            Self::System(_) => "see the limits on memory, open files and their size (`ulimit -a`)".into(),
        }
    }
}

/// How a process ended, behind a sentence about it: ` (exit status: 3)`; nothing where it is not known.
pub(crate) fn shown(status: Option<ExitStatus>) -> String {
    status.map_or_else(String::new, |status| format!(" ({status})"))
}

/// Behind `the process ended`: ` (signal: 9 (SIGKILL)): killed by somebody, ...`.
pub fn how_it_ended(status: Option<ExitStatus>) -> String {
    let causes = match status.map(|status| status.signal()) {
        None => "killed, out of memory, a crash in native code, or `os._exit`",
        Some(None) => "by `os._exit`, or by native code",
        Some(Some(9)) => "killed by somebody, or because memory ran out",
        Some(Some(_)) => "a crash in native code, or somebody sent the signal",
    };
    format!("{}: {causes}", shown(status))
}
