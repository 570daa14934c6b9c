//! What keeps the processes of a deployed endpoint apart from the server, from other endpoints and from the machine.
//!
//! The host writes down what holds for them ([`Isolation`], told to the launcher as an `Order`). The launcher, `flash confine`, brings it
//! about on itself and then becomes the base zygote ([`confine()`]): all that it forks inherits it, and cannot undo it. What each level
//! protects from, and what it does not, is in `docs/isolation.md`.

mod confine;
mod level;
mod lineage;
mod memory;
mod order;
mod readable;
mod surroundings;
mod survivors;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::error::Error;
use crate::interpreter::Program;
use crate::open_files;

pub use confine::confine;
pub use level::{Landlock, Level, closed_to_others};
pub(crate) use lineage::Lineage;
pub(crate) use order::Order;
pub(crate) use surroundings::Surroundings;
pub use surroundings::{forget_home, remove_leftovers, user_for};
pub use survivors::end_survivors;

/// Variables of the server that its workers get as well: what the machine speaks, and what time it has.
const PASSED_ON: [&str; 2] = ["LANG", "TZ"];
/// Where programs are, behind those of the interpreter's own directory.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// What holds for the processes of one endpoint: of its base zygote, and so of all that comes from it.
#[derive(Clone, Debug)]
pub struct Isolation {
    /// The `flash` whose `confine` brings it about; `/proc/self/exe` is the one that runs.
    pub launcher: PathBuf,
    /// Whether they have a user of their own, and whether they see no other files than those named here and the system's. What this machine
    /// does not offer is an error.
    pub level: Level,
    /// A directory for all endpoints' workers, below which theirs are made: HOME, which lasts, and those of each start.
    pub directory: PathBuf,
    /// What tells the endpoint apart there: a file's name.
    pub endpoint: String,
    /// Its build's sources: what relative paths name.
    pub sources: PathBuf,
    /// What they may read beside the sources, the interpreter, its environment and the system.
    pub readable: Vec<PathBuf>,
    /// Variables of its own, before those that each endpoint's workers get.
    pub environment: BTreeMap<String, String>,
    /// What they may use.
    pub limits: ResourceLimits,
}

/// What the processes of an endpoint may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceLimits {
    /// Files that one process may have open.
    pub open_files: u64,
    /// Processes and threads of all its workers together. The system counts by user, so it holds for those with one of their own.
    pub processes: u64,
    /// Processors that a worker may keep busy.
    pub processors: Option<u32>,
    /// Memory that a worker may use, with the processes that it has started, in bytes.
    pub memory: Option<u64>,
}

impl ResourceLimits {
    /// Limits for an endpoint of at most so many workers: far above what a sound one needs.
    pub fn of(workers: usize) -> Self {
        // 40 threads for functions, as many again for libraries on each processor of a large machine, and some processes.
        const EACH: u64 = 512;
        Self { open_files: 65_536, processes: EACH * (workers as u64 + 1), processors: None, memory: None }
    }
}

impl Isolation {
    /// Makes the directories of one start, and writes down what the launcher is to do. `server` is the server's environment.
    ///
    /// # Errors
    /// [`Error::NoInterpreter`], or [`Error::NoDirectory`].
    pub(crate) fn prepare(&self, program: &Program, server: impl Fn(&str) -> Option<OsString>) -> Result<(Order, Surroundings), Error> {
        let command = program.command(Some(&self.endpoint));
        let command = command.as_std();
        let search = server("PATH").unwrap_or_else(|| PATH.into());
        let Some(path) = find(program.path(), &search) else {
            let cause = io::Error::new(io::ErrorKind::NotFound, "there is no such file");
            return Err(Error::NoInterpreter { python: program.path().to_owned(), cause });
        };
        let own_user = self.level.user;
        let surroundings = Surroundings::make(&self.directory, &self.endpoint, &self.sources, own_user)?;
        let mut readable = readable::system(own_user);
        readable.extend(readable::interpreter(&path));
        readable.extend(program.package().map(Path::to_owned));
        readable.extend([self.sources.clone()]);
        readable.extend(self.readable.iter().cloned());
        let order = Order {
            arguments: command.get_args().map(Into::into).collect(),
            environment: self.environment(&path, &surroundings, server).into_iter().collect(),
            directory: surroundings.work(),
            user: surroundings.user(),
            landlock: self.level.landlock != Landlock::No,
            readable,
            writable: surroundings.writable().into_iter().chain(readable::shared_memory()).collect(),
            devices: readable::devices(own_user),
            soft_open_files: open_files::for_workers(),
            open_files: self.limits.open_files.max(open_files::for_workers().unwrap_or_default()),
            processes: own_user.then_some(self.limits.processes),
            processors: self.limits.processors,
            program: path,
        };
        Ok((order, surroundings))
    }

    /// The launcher, which waits for its order on its standard input. It is given nothing of the server's.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.launcher);
        command.arg("confine").env_clear().current_dir("/").kill_on_drop(true);
        command
    }

    /// What the processes find in their environment. An endpoint may replace each.
    fn environment(
        &self,
        python: &Path,
        surroundings: &Surroundings,
        server: impl Fn(&str) -> Option<OsString>,
    ) -> BTreeMap<OsString, OsString> {
        let mut path = python.parent().unwrap_or_else(|| Path::new("/usr/bin")).as_os_str().to_owned();
        path.push(":");
        path.push(PATH);
        let home = surroundings.home();
        let mut environment: BTreeMap<OsString, OsString> = [
            ("PATH", path),
            ("LANG", "C.UTF-8".into()),
            ("HOME", home.into()),
            ("XDG_CACHE_HOME", home.join(".cache").into()),
            ("TMPDIR", surroundings.temporary().into()),
            // The user has no entry in the system's list, where programs would look.
            ("USER", "flash".into()),
            ("LOGNAME", "flash".into()),
        ]
        .map(|(name, value)| (name.into(), value))
        .into();
        environment.extend(PASSED_ON.into_iter().filter_map(|name| Some((name.into(), server(name)?))));
        environment.extend(self.environment.iter().map(|(name, value)| (name.into(), value.into())));
        environment
    }
}

/// The path of a program, absolute; a name alone is looked up.
fn find(program: &Path, search: &OsString) -> Option<PathBuf> {
    let named = program.components().count() > 1;
    let candidates =
        if named { vec![program.to_owned()] } else { std::env::split_paths(search).map(|place| place.join(program)).collect() };
    let found = candidates.into_iter().find(|candidate| candidate.is_file())?;
    std::path::absolute(found).ok() // not resolved: a virtual environment's interpreter is a link out of it
}
