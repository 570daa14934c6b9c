//! What an interpreter is and has, by its own word.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::error::Error;

/// The rules by which the SDK finds what is missing, which run by themselves.
const REQUIREMENTS: &str = include_str!("../../../python/runpod_flash/_requirements.py");

/// What an interpreter says of itself.
#[derive(Debug, Deserialize)]
pub(crate) struct About {
    /// What decides which packages fit: its kind, version, ABI and platform.
    pub(crate) identity: Vec<String>,
    /// The interpreter that a virtual environment of it is made of.
    pub(crate) base: PathBuf,
    /// Where its environment has its programs.
    pub(crate) scripts: PathBuf,
    /// What it has installed, by normal name.
    pub(crate) installed: BTreeMap<String, String>,
    /// What it was asked for and lacks.
    pub(crate) missing: Vec<String>,
    /// What it was asked for and has: the versions that are allowed.
    pub(crate) bounds: Vec<String>,
}

/// Asks it. `path` has the directories in which it would find modules, where they are not its own.
pub(crate) fn ask(
    python: &Path,
    variables: &[(OsString, OsString)],
    path: Option<&[String]>,
    requirements: &[String],
) -> Result<About, Error> {
    let failed = |said: String| Error::Interpreter { python: python.to_owned(), said };
    let mut command = Command::new(python);
    // A group of its own: Ctrl-C in the terminal is for our maker.
    command.args(["-c", REQUIREMENTS]).env_clear().envs(variables.iter().cloned()).process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|cause| failed(cause.to_string()))?;
    let asked = serde_json::json!({ "path": path, "requirements": requirements }).to_string();
    let mut stdin = child.stdin.take().expect("it is piped");
    // It reads all of it before it writes anything; an error shows in how it ends.
    let _ = stdin.write_all(asked.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().map_err(|cause| failed(cause.to_string()))?;
    serde_json::from_slice(&output.stdout).map_err(|_| {
        let errors = String::from_utf8_lossy(&output.stderr);
        let last = errors.lines().last().unwrap_or_default();
        failed(format!("it ended ({}), and said: {last}", output.status))
    })
}
