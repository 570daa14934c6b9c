//! The disk is full for a while, or does not do what it is told: what comes then is refused, what was accepted stays, and it works again by
//! itself as soon as the disk does.

use std::collections::HashSet;

use flash_store::jobs::Synchronous;

use crate::check::check;
use crate::strace;
use crate::workload::Promises;

/// So many calls in a row fail.
const LENGTH: usize = 9;

/// The workload with a window of failures at each of these calls of a thread. Gives what was refused in all.
fn fail(call: &str, error: &str, from: usize, to: usize, step: usize) -> usize {
    let mut refused = 0;
    for first in (from..to).step_by(step) {
        let home = tempfile::tempdir().unwrap();
        let inject = format!("inject={call}:error={error}:when={first}..{}", first + LENGTH - 1);
        let log = home.path().join("calls");
        let queue = home.path().join("queue");
        std::fs::create_dir(&queue).unwrap();
        let arguments = ["-e", &format!("trace={call}"), "-e", &inject, "-o", log.to_str().unwrap()];
        let done = strace::run(&arguments, "whose_disk_fails", &queue, Synchronous::Full);
        let told = strace::told(&done);
        assert!(done.status.success(), "{inject}: {told}");
        let mut promises = Promises::default();
        told.lines().for_each(|line| promises.note(line));
        assert_eq!(promises.completed.len(), 8, "{inject}: {told}");
        let lost: HashSet<_> = promises.refused.intersection(&promises.accepted).collect();
        assert!(lost.is_empty(), "{inject}: both refused and accepted: {lost:?}");
        check(&queue, &promises).unwrap_or_else(|wrong| panic!("{inject}: {wrong}\n{told}"));
        refused += promises.refused.len();
    }
    refused
}

#[test]
fn a_disk_that_is_full_for_a_while_refuses_jobs_and_loses_none() {
    let refused = fail("pwrite64", "ENOSPC", 1, 300, 17);
    assert!(refused >= 5, "{refused}: the disk was hardly ever full");
}

#[test]
fn writes_that_fail_refuse_jobs_and_lose_none() {
    let refused = fail("pwrite64", "EIO", 9, 300, 23);
    assert!(refused >= 5, "{refused}: hardly anything failed");
}

#[test]
fn syncs_that_fail_refuse_jobs_and_lose_none() {
    let refused = fail("fdatasync", "EIO", 1, 30, 2);
    assert!(refused >= 5, "{refused}: hardly anything failed");
}

#[test]
fn payloads_that_cannot_be_synced_refuse_their_jobs_and_lose_none() {
    fail("fsync", "EIO", 1, 8, 2);
}
