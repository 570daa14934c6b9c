//! A file of Python: scanning it ends with a project or with messages.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("the system has room for a folder"));

fuzz_target!(|data: &[u8]| {
    let file = FOLDER.path().join("app.py");
    std::fs::write(&file, data).expect("it can be written");
    match flash_scan::scan(&file, Some("app")) {
        Ok(project) => assert!(!project.endpoints.is_empty()),
        Err(problems) => assert!(!problems.is_empty() && problems.iter().all(|problem| !problem.to_string().is_empty())),
    }
});
