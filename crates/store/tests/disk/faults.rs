//! A process that uses a queue on a disk of which chosen calls fail (`tests/faults/faults.c`).

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use crate::workload;

/// Which calls fail, of those that change files below the queue's folder.
pub struct Faults {
    /// The first one, counted from 1.
    pub first: u32,
    /// How many in a row.
    pub length: u32,
    /// With this error; syncs with `EIO` whatever it is.
    pub error: i32,
}

pub const NO_SPACE: i32 = 28;
pub const BROKEN: i32 = 5;

/// What came of it.
pub struct Done {
    pub output: Output,
    /// Whether the process came as far as the first call that was to fail.
    pub met: bool,
}

/// Runs one of the tests that are for this, and waits for its end.
pub fn run(faults: &Faults, what: &str, home: &Path, queue: &Path) -> Done {
    let told = home.join("met");
    let output = Command::new(std::env::current_exe().unwrap())
        .args([&*format!("workload::what_the_process_does_{what}"), "--exact", "--ignored", "--nocapture"])
        .env(workload::HOME, queue)
        .env("LD_PRELOAD", library())
        .env("FAULTS_UNDER", queue)
        .env("FAULTS_FIRST", faults.first.to_string())
        .env("FAULTS_LENGTH", faults.length.to_string())
        .env("FAULTS_ERROR", faults.error.to_string())
        .env("FAULTS_TOLD", &told)
        .env("FAULTS_UNSYNCED", "")
        .output()
        .unwrap();
    Done { output, met: told.exists() }
}

/// The file layer, made once.
fn library() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/faults/faults.c");
        let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("faults-{}.so", std::process::id()));
        let compiler = Command::new("cc")
            .args(["-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o"])
            .arg(&made)
            .arg(source)
            .arg("-ldl")
            .status();
        let compiled = compiler.unwrap_or_else(|error| panic!("`cc` does not start: {error}; try: apt-get install gcc"));
        assert!(compiled.success());
        made
    })
}
