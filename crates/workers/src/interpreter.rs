//! The program that is a base zygote, and how it is started: a Python with our package, or any other that speaks the wire.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::open_files;

/// What is started as a base zygote.
#[derive(Clone, Debug)]
pub enum Program {
    /// Python, with `runpod_flash`.
    Python(Interpreter),
    /// An executable that speaks the wire by itself (`docs/wire.md`).
    Native {
        /// Where it is; a name is looked up in `PATH`.
        path: PathBuf,
        /// What it is told before the host's options.
        arguments: Vec<OsString>,
    },
}

impl From<Interpreter> for Program {
    fn from(interpreter: Interpreter) -> Self {
        Self::Python(interpreter)
    }
}

/// An interpreter, and where the worker's package is.
#[derive(Clone, Debug)]
pub struct Interpreter {
    /// The executable; a name is looked up in `PATH`.
    pub python: PathBuf,
    /// The directory of `runpod_flash`; `None` where the interpreter has it installed. The host's own comes first, so that both ends
    /// of the wire are of one version.
    pub package: Option<PathBuf>,
    /// Whether workers serve routes, which takes pydantic; live calls do without.
    pub routes: bool,
}

/// Runs in any Python, so that one that is too old can say so itself. The package is loaded from its directory alone: the rest of
/// what is installed there belongs to another interpreter. The current directory is taken off `sys.path`: its files must not shadow
/// the standard library's.
const BOOT: &str = r#"
import sys
options = sys.argv[1]
package = sys.argv[2]
sys.path[:] = [entry for entry in sys.path if entry]
if sys.version_info < (3, 10):
    import json, os, struct
    version = ".".join(str(part) for part in sys.version_info[:3])
    report = json.dumps({
        "error": "Python %s is too old to run functions" % version,
        "why": "%s is of version %s; workers need 3.10 or newer" % (sys.executable, version),
        "try": "choose another interpreter with --python, or make a virtual environment with a newer one",
        "traceback": None,
    }).encode("utf-8")
    os.write(0, struct.pack("<IBI", len(report), 20, 0) + report)
    os._exit(1)
if package:
    import importlib.util
    spec = importlib.util.spec_from_file_location(
        "runpod_flash", package + "/__init__.py", submodule_search_locations=[package]
    )
    sys.modules["runpod_flash"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
import runpod_flash._worker.__main__
"#;

impl Program {
    /// The executable.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Python(interpreter) => &interpreter.python,
            Self::Native { path, .. } => path,
        }
    }

    /// The directory of the worker's package, where the host brings one.
    pub(crate) fn package(&self) -> Option<&Path> {
        match self {
            Self::Python(interpreter) => interpreter.package.as_deref(),
            Self::Native { .. } => None,
        }
    }

    /// The command of its base zygote; the caller sets the standard streams. `endpoint`: whose it is, where it is one's alone.
    pub(crate) fn command(&self, endpoint: Option<&str>) -> Command {
        let mut command = Command::new(self.path());
        let parent = std::process::id();
        match self {
            Self::Python(Interpreter { package, routes, .. }) => {
                let open_files = open_files::for_workers();
                let options = serde_json::json!({ "routes": routes, "parent": parent, "open_files": open_files, "endpoint": endpoint });
                command.arg("-c").arg(BOOT).arg(options.to_string());
                command.arg(package.as_deref().unwrap_or_else(|| "".as_ref()));
            }
            Self::Native { arguments, .. } => {
                command.args(arguments).arg(serde_json::json!({ "parent": parent }).to_string());
            }
        }
        // A process group of its own: Ctrl-C in the terminal is for the host, which drains.
        command.process_group(0).kill_on_drop(true);
        command
    }
}
