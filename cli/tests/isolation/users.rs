//! The same, where the server is a plain user's.

use std::process::Command;

use flash_workers::{Level, closed_to_others};

use crate::trial::{python, repository};

/// A number that is nobody's: neither a user of the machine nor one that workers have.
const SOMEBODY: &str = "61999";

#[test]
fn a_plain_user_s_workers_are_kept_apart_as_far_as_landlock_goes() {
    if !rustix::process::geteuid().is_root() {
        return; // the others are this test
    }
    let tests = std::env::current_exe().unwrap();
    let needed = [tests.as_path(), env!("CARGO_BIN_EXE_flash").as_ref(), &python(), &repository()];
    if let Some(closed) = closed_to_others(needed) {
        eprintln!("not tried: `{}` is closed to others, and the tests are below it", closed.display());
        return;
    }
    assert!(Level::available().user);
    let place = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(place.path(), Some(SOMEBODY.parse().unwrap()), Some(SOMEBODY.parse().unwrap())).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", SOMEBODY, "--regid", SOMEBODY, "--clear-groups"]).arg(tests).args(["--test-threads", "2"]);
    let output = command.env("TMPDIR", place.path()).env("HOME", place.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("0 failed; 0 ignored"), "{said}");
}
