//! Where the scripted worker is.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The scripted worker's program, compiled from the sources as they are now: for a package's tests cargo compiles no program of
/// another package.
///
/// # Panics
/// When it cannot be compiled.
pub fn scripted_worker() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--locked", "--package", "flash-testkit", "--bin", "scripted-worker"]);
        build.args(["--message-format", "json-render-diagnostics"]).current_dir(env!("CARGO_MANIFEST_DIR"));
        let built = build.stderr(Stdio::inherit()).output().expect("cargo is there, for it runs the tests");
        let messages = String::from_utf8(built.stdout).expect("cargo writes JSON");
        let executable = messages.lines().find_map(|message| {
            let message: serde_json::Value = serde_json::from_str(message).ok()?;
            message["executable"].as_str().map(PathBuf::from)
        });
        executable.expect("the scripted worker can be compiled")
    })
}
