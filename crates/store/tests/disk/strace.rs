//! A process that uses a queue, under `strace`.

use std::path::Path;
use std::process::{Command, Output};

use flash_store::jobs::Synchronous;

use crate::workload;

/// Runs one of the tests that are for this, and waits for its end.
pub fn run(arguments: &[&str], what: &str, queue: &Path, synchronous: Synchronous) -> Output {
    let strace = Command::new("strace")
        .args(["-f", "-q", "-e", "signal=none"])
        .args(arguments)
        .arg(std::env::current_exe().unwrap())
        .args([&*format!("workload::what_the_process_does_{what}"), "--exact", "--ignored", "--nocapture"])
        .env(workload::HOME, queue)
        .env(workload::SYNCHRONOUS, format!("{synchronous:?}"))
        .output();
    strace.unwrap_or_else(|error| panic!("`strace` does not start: {error}; try: apt-get install strace"))
}

/// All that it printed.
pub fn told(done: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
}
