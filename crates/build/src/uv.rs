//! `uv`, which resolves requirements: where it is, and how it is asked.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use flash_manifest::{Diagnostic, PythonVersion};

/// Settings of the user's that would have it look at something else than what it is given.
const NOT_FOR_US: [&str; 6] = ["UV_PYTHON", "UV_REQUIRE_HASHES", "UV_SYSTEM_PYTHON", "VIRTUAL_ENV", "CONDA_PREFIX", "FORCE_COLOR"];

/// What is to be resolved.
pub(crate) struct Question<'a> {
    /// The project's root: from where it reads its settings.
    pub(crate) root: &'a Path,
    /// The requirements, as a requirements file.
    pub(crate) input: &'a str,
    /// A file of constraints.
    pub(crate) constraints: Option<&'a Path>,
    /// Where the answer goes. What is there already is kept to where it still fits.
    pub(crate) output: &'a Path,
    /// Packages of this Python and newer ones.
    pub(crate) version: Option<PythonVersion>,
    /// The interpreter that builds what has to be built for its metadata.
    pub(crate) python: Option<&'a Path>,
    /// Whether pre-releases may be chosen.
    pub(crate) prereleases: bool,
    /// Hosts that are believed without a certificate.
    pub(crate) trusted: &'a [&'a str],
    /// Whether to take the newest that fits, whatever was chosen before.
    pub(crate) upgrade: bool,
}

/// Asks it, for all platforms at once: where a build is made and where it runs need not be of one kind.
pub(crate) fn compile(question: &Question<'_>) -> Result<(), Diagnostic> {
    let program = find().ok_or_else(|| {
        let why = "the project has requirements, which `uv` locks; it is neither in PATH nor beside flash";
        Diagnostic::error("`uv` is not there", why, "pip install uv")
    })?;
    let mut command = Command::new(&program);
    command.args(["pip", "compile", "-", "--universal", "--generate-hashes", "--no-header", "--no-annotate", "--quiet"]);
    command.args(["--no-progress", "--no-python-downloads", "--color", "never", "--output-file"]).arg(question.output);
    if let Some(constraints) = question.constraints {
        command.arg("--constraints").arg(constraints);
    }
    if let Some(version) = question.version {
        command.args(["--python-version", version.as_str()]);
    }
    if let Some(python) = question.python {
        command.arg("--python").arg(python);
    }
    if question.prereleases {
        command.args(["--prerelease", "allow"]);
    }
    for host in question.trusted {
        command.args(["--allow-insecure-host", host]);
    }
    if question.upgrade {
        command.arg("--upgrade");
    }
    for name in NOT_FOR_US {
        command.env_remove(name);
    }
    command.env("NO_COLOR", "1").current_dir(question.root);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let failed = |error: io::Error| {
        let what = format!("`{}` does not run: {error}", program.display());
        Diagnostic::error(what, "it locks the project's requirements", "pip install --force-reinstall uv")
    };
    let mut child = command.spawn().map_err(failed)?;
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = question.input.to_owned();
    // In a thread: it may end, or say much, before it has read all.
    let writing = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let done = child.wait_with_output().map_err(failed)?;
    // Where it did not read everything, its own words say why.
    drop(writing.join());
    if done.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&done.stderr);
    let words: Vec<&str> = words.lines().map(str::trim_end).filter(|line| !line.trim().is_empty()).collect();
    let words = if words.is_empty() { format!("uv ended with {}", done.status) } else { words.join("\n") };
    let words = words.strip_prefix("error: ").unwrap_or(&words);
    Err(Diagnostic::error(
        "the requirements cannot be locked",
        words,
        "change what requirements.txt, pyproject.toml or `dependencies` ask for",
    ))
}

/// The first one of `PATH`, else the one beside this program.
fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let beside = std::env::current_exe().and_then(|program| program.canonicalize()).ok();
    let folders = std::env::split_paths(&path).chain(beside.as_deref().and_then(Path::parent).map(Path::to_owned));
    // A relative entry would take whatever the project has of that name.
    folders.filter(|folder| folder.is_absolute()).map(|folder| folder.join("uv")).find(|program| is_program(program))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
