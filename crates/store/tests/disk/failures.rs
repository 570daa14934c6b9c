//! The disk is full for a while, or does not do what it is told: what comes then is refused, what was accepted stays, and it works again by
//! itself as soon as the disk does.
//!
//! Each call that changes the disk has its turn: it fails, alone or with those after it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};

use crate::check::check;
use crate::faults::{self, BROKEN, Faults, NO_SPACE};
use crate::strace::told;
use crate::workload::Promises;

/// So many processes at a time.
const AT_A_TIME: usize = 4;

/// Lets so many calls fail from the first one on, from the second one on, and so on, until a process does not come as far.
fn at_every_call(length: u32, error: i32, what: &str, least_refused: usize, whole: impl Fn(&Promises) + Sync) {
    let (next, refused, most) = (AtomicU32::new(1), AtomicUsize::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let faults = Faults { first: next.fetch_add(1, Relaxed), length, error };
                    let case = format!("{what}: {length} calls from the {}. on with error {error}", faults.first);
                    let home = tempfile::tempdir().unwrap();
                    let queue = home.path().join("queue");
                    std::fs::create_dir(&queue).unwrap();
                    let done = faults::run(&faults, what, home.path(), &queue);
                    let told = told(&done.output);
                    assert!(done.output.status.success(), "{case}: {told}");
                    let mut promises = Promises::default();
                    told.lines().for_each(|line| promises.note(line));
                    let lost: HashSet<_> = promises.refused.intersection(&promises.accepted).collect();
                    assert!(lost.is_empty(), "{case}: both refused and accepted: {lost:?}");
                    whole(&promises);
                    check(&queue, &promises).unwrap_or_else(|wrong| panic!("{case}: {wrong}\n{told}"));
                    if !done.met {
                        return;
                    }
                    most.fetch_max(faults.first, Relaxed);
                    refused.fetch_add(promises.refused.len(), Relaxed);
                }
            });
        }
    });
    let (refused, most) = (refused.into_inner(), most.into_inner());
    assert!(most > 60 && refused >= least_refused, "{what}: {most} calls failed, {refused} jobs were refused: hardly anything");
}

fn all_were_done(promises: &Promises) {
    assert_eq!(promises.completed.len(), 6, "{promises:?}");
}

#[test]
fn a_disk_that_is_full_for_a_while_refuses_jobs_and_loses_none() {
    at_every_call(9, NO_SPACE, "whose_disk_fails", 20, all_were_done);
}

#[test]
fn a_disk_that_breaks_for_a_while_refuses_jobs_and_loses_none() {
    at_every_call(9, BROKEN, "whose_disk_fails", 20, all_were_done);
}

#[test]
fn a_call_that_fails_once_refuses_what_needs_it_and_loses_nothing() {
    at_every_call(1, BROKEN, "whose_disk_fails", 20, all_were_done);
}

#[test]
fn what_was_refused_is_whole_or_not_there_where_the_server_is_killed_next() {
    at_every_call(1, BROKEN, "that_is_killed_once_a_job_is_refused", 10, |_| ());
}
