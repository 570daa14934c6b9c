//! The power is cut at random moments: whatever the disk had not been told to keep is there, is gone, is old, or is torn; what was told to
//! anybody is there.
//!
//! A process of its own uses a queue, and `strace` writes down each of its writes, syncs and changes of names as they happen. From that,
//! the disk is rebuilt as a power cut may leave it (`disk.rs`), opened, and held against what the process had said by then. So it is the
//! program as it ships that is tested, with files of its own as well as SQLite's, and the kernel's view of what it asked for.
#![cfg(target_os = "linux")]

mod disk;
mod recording;
mod workload;

use std::path::Path;
use std::process::Command;

use flash_store::jobs::{Jobs, Settings, State, Synchronous};

use disk::{Dice, Disk};
use recording::{Call, Moment};
use workload::{Promises, input, output};

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
    let strace = Command::new("strace")
        .args(["-f", "-y", "-xx", "-s", "1000000", "-e", "signal=none"])
        .args(["-e", "trace=openat,write,pwrite64,ftruncate,fallocate,fsync,fdatasync,unlink,unlinkat,rename,renameat,renameat2,mkdir"])
        .arg("-o")
        .arg(log)
        .arg(std::env::current_exe().unwrap())
        .args(["workload::what_the_process_does_whose_power_is_cut", "--exact", "--ignored", "--nocapture"])
        .env(workload::HOME, queue)
        .env(workload::SYNCHRONOUS, format!("{synchronous:?}"))
        .output();
    let done =
        strace.unwrap_or_else(|error| panic!("strace, which writes down what is written, does not start: {error}; apt-get install strace"));
    assert!(done.status.success(), "{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
}

/// Opens what is left, and looks for everything that was said.
fn check(home: &Path, promises: &Promises) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let settings = Settings { synchronous: Synchronous::Off, ..workload::settings() };
        let jobs = Jobs::open(home, settings).map_err(|error| format!("{error}: {}", error.why()))?;
        for id in &promises.accepted {
            let job =
                jobs.get(id).await.map_err(|error| format!("{id}: {error}"))?.ok_or_else(|| format!("{id} was accepted, and is lost"))?;
            let found = jobs.input(id).await.map_err(|error| format!("the input of {id}: {error}: {}", error.why()))?;
            if found.as_deref() != Some(&input(id)[..]) {
                return Err(format!("the input of {id} is another one"));
            }
            if promises.completed.contains(id) && job.output.as_deref() != Some(&output(id)[..]) {
                return Err(format!("{id} had completed, and is {:?}", job.life.state));
            }
            if promises.cancelled.contains(id) && job.life.state != State::Cancelled {
                return Err(format!("{id} was cancelled, and is {:?}", job.life.state));
            }
        }
        // It is whole, and goes on.
        let open = jobs.counts("e").open();
        let mut claimed = 0;
        while let Some(job) = jobs.claim("e", 1).await.map_err(|error| error.to_string())?.pop() {
            workload::complete(&jobs, job).await.map_err(|error| error.to_string())?;
            claimed += 1;
        }
        drop(jobs);
        let connection = rusqlite::Connection::open(home.join("jobs.db")).unwrap();
        let whole: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).map_err(|error| error.to_string())?;
        if whole != "ok" || open != claimed { Err(format!("{whole}; {open} jobs were open, {claimed} could be claimed")) } else { Ok(()) }
    })
}
