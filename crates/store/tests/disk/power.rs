//! The power is cut at random moments: whatever the disk had not been told to keep is there, is gone, is old, or is torn; what was told to
//! anybody is there.
//!
//! A process of its own uses a queue, and `strace` writes down each of its writes, syncs and changes of names as they happen. From that,
//! the disk is rebuilt as a power cut may leave it (`model.rs`), opened, and held against what the process had said by then. So it is the
//! program as it ships that is tested, with files of its own as well as SQLite's, and the kernel's view of what it asked for.

use std::path::Path;

use flash_store::jobs::Synchronous;

use crate::check::check;
use crate::model::{Dice, Disk};
use crate::recording::{self, Call, Moment};
use crate::strace;
use crate::workload::Promises;

/// Moments at which the power is cut.
const CUTS: u64 = 150;

#[test]
fn nothing_that_was_told_is_lost_when_the_power_is_cut() {
    let found = cut_the_power(Synchronous::Full);
    assert!(found.is_empty(), "{} of {CUTS}:\n{}", found.len(), found[..found.len().min(5)].join("\n"));
}

#[test]
fn without_syncs_the_same_cuts_find_what_is_lost() {
    let found = cut_the_power(Synchronous::Off);
    assert!(found.len() > CUTS as usize / 10, "only {} of {CUTS} cuts lost something: they prove little", found.len());
}

/// What is wrong after some of the cuts.
fn cut_the_power(synchronous: Synchronous) -> Vec<String> {
    let home = tempfile::tempdir().unwrap();
    let log = home.path().join("calls");
    let queue = home.path().join("queue");
    std::fs::create_dir(&queue).unwrap();
    record(&log, &queue, synchronous);
    let moments = recording::read(&log, &queue);
    let syncs = moments.iter().filter(|moment| matches!(moment, Moment::End(_, Call::Sync { .. }))).count();
    assert!(moments.len() > 2000 && (syncs > 100) == (synchronous == Synchronous::Full), "{} calls, {syncs} syncs", moments.len());

    let mut dice = Dice(7);
    let mut cuts: Vec<usize> = (0..CUTS).map(|_| dice.below(moments.len() as u64) as usize).collect();
    cuts.sort_unstable();
    let (mut disk, mut promises, mut found, mut next) = (Disk::default(), Promises::default(), Vec::new(), 0);
    for cut in cuts {
        for moment in &moments[next..cut] {
            disk.see(moment);
            if let Moment::Begin(_, Call::Say(line)) = moment {
                promises.note(line);
            }
        }
        next = cut;
        let left = tempfile::tempdir().unwrap();
        disk.cut(left.path(), &mut dice);
        if let Err(wrong) = check(left.path(), &promises) {
            found.push(format!("cut after call {cut} of {}: {wrong}", moments.len()));
        }
    }
    assert!(promises.accepted.len() > 50 && promises.completed.len() > 20, "the workload did too little: {promises:?}");
    found
}

fn record(log: &Path, queue: &Path, synchronous: Synchronous) {
    let calls = "trace=openat,write,pwrite64,ftruncate,fallocate,fsync,fdatasync,unlink,unlinkat,rename,renameat,renameat2,mkdir";
    let log = log.to_str().unwrap();
    let done = strace::run(&["-y", "-xx", "-s", "1000000", "-e", calls, "-o", log], "whose_power_is_cut", queue, synchronous);
    assert!(done.status.success(), "{}", strace::told(&done));
}
