//! The process is killed at random moments.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use flash_store::jobs::Synchronous;

use crate::check::check;
use crate::model::Dice;
use crate::workload::{self, Promises};

#[test]
fn nothing_that_was_told_is_lost_when_the_server_is_killed() {
    let mut dice = Dice(11);
    for _ in 0..10 {
        let home = tempfile::tempdir().unwrap();
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["workload::what_the_process_does_whose_power_is_cut", "--exact", "--ignored", "--nocapture"])
            .env(workload::HOME, home.path())
            .env(workload::SYNCHRONOUS, format!("{:?}", Synchronous::Full))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let last = 1 + dice.below(200) as usize;
        let mut promises = Promises::default();
        for (number, line) in lines.map_while(Result::ok).enumerate() {
            promises.note(&line);
            // What it says after that was said all the same, and is read to the end.
            if number == last {
                process.kill().unwrap();
            }
        }
        process.wait().unwrap();
        assert!(!promises.accepted.is_empty());
        check(home.path(), &promises).unwrap_or_else(|wrong| panic!("killed after {last} lines: {wrong}"));
    }
}
