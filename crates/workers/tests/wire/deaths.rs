//! Workers and zygotes that die.

use std::time::Duration;

use flash_testkit::Step::{Answer, Begin, Die, Hold, Stall};
use flash_testkit::{Script, scripted_worker, steps};
use flash_workers::{Call, Cancel, Error, Event, Outcome, Program, Settings};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::trial::{Trial, Worker, settings};

/// Submits three requests that begin and three that do not, in turns, to a worker that will die; tells what became of them.
async fn die(trial: &Trial, how: impl AsyncFnOnce()) -> Vec<Worker> {
    let begun = [(); 3].map(|()| (trial.send(steps([&[Begin, Hold], &[Answer]])), trial.send(steps([&[Hold], &[Answer]]))));
    how().await;
    let mut went_on = Vec::new();
    for (begun, held) in begun {
        assert!(begun.was_lost().await);
        went_on.push(held.worker().await);
    }
    went_on
}

#[tokio::test]
async fn of_a_worker_that_dies_the_begun_requests_are_lost_and_the_others_run_on_the_next_one() {
    let trial = Trial::new(settings());
    let went_on = die(&trial, async || {
        let deadly = trial.send(steps([&[Die], &[Answer]]));
        assert_eq!(deadly.worker().await.number, 2, "it had not begun");
    });
    let went_on = went_on.await;
    assert!(went_on.iter().all(|worker| worker.number == 2), "{went_on:?}");
    assert!(
        trial.printed().contains("died (signal: 9 (SIGKILL)) while it ran 3 requests, which are answered with 502"),
        "{}",
        trial.printed()
    );
}

#[tokio::test]
async fn a_worker_that_is_killed_is_replaced_in_the_same_way() {
    let trial = Trial::new(settings());
    let went_on = die(&trial, async || trial.send(steps([&[Answer]])).worker().await.kill()).await;
    assert!(went_on.iter().all(|worker| worker.number == 2), "{went_on:?}");
}

#[tokio::test]
async fn a_request_that_kills_every_worker_before_it_has_begun_is_lost_with_the_fifth() {
    let trial = Trial::new(settings());
    assert!(trial.send(steps([&[Die]])).was_lost().await);
    assert_eq!(trial.send(steps([&[Answer]])).worker().await.number, 6);
}

#[tokio::test]
async fn what_was_sent_to_a_worker_that_died_expires_while_the_next_one_starts() {
    // The second never says that it is ready.
    let start = Script(vec![vec![], vec![Stall]]);
    let settings = Settings { timeout: Duration::from_millis(300), ..settings() };
    let trial = Trial::with_config(settings, json!({ "functions": [], "start": start }));
    let deadly = trial.send(steps([&[Begin, Die]]));
    let other = trial.send(steps([&[Answer]]));
    assert!(deadly.was_lost().await);
    assert!(other.has_expired().await);
}

#[tokio::test]
async fn a_worker_that_dies_before_it_is_ready_is_replaced_before_anybody_hears_of_it() {
    let start = Script(vec![vec![Die], vec![]]);
    let trial = Trial::with_config(settings(), json!({ "functions": [], "start": start }));
    assert_eq!(trial.send(steps([&[Answer]])).worker().await.number, 2);
}

#[tokio::test]
async fn where_no_worker_becomes_ready_requests_are_told_so() {
    let start = Script(vec![vec![Die]]);
    let trial = Trial::with_config(settings(), json!({ "functions": [], "start": start }));
    let outcome = trial.send(steps([&[Answer]])).outcome().await;
    assert!(matches!(&outcome, Outcome::Failed { error, .. } if matches!(**error, Error::EndedEarly { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_killed_base_zygote_takes_its_workers_along_and_another_one_serves_on() {
    let trial = Trial::new(settings());
    let first = trial.send(steps([&[Answer]])).worker().await;
    let begun = trial.send(steps([&[Begin, Hold]]));
    trial.send(steps([&[Answer]])).worker().await; // by now the other has begun
    let zygote = trial.base.zygote().await.expect("it runs").about.pid;
    kill_process(Pid::from_raw(zygote.cast_signed()).expect("it is positive"), Signal::KILL).expect("it runs");
    assert!(begun.was_lost().await);
    first.is_gone().await;
    let next = trial.send(steps([&[Answer]])).worker().await;
    assert_ne!(next.pid, first.pid);
    assert_ne!(trial.base.zygote().await.expect("it runs").about.pid, zygote);
}

#[tokio::test]
async fn a_base_zygote_that_is_killed_while_it_starts_is_started_once_more_and_who_waits_waits_on() {
    let directory = tempfile::tempdir().expect("there is room");
    let script = r#"if [ -e "$1" ]; then exec "$2" "$3"; fi; : > "$1"; kill -9 $$"#;
    let (marker, worker) = (directory.path().join("killed"), scripted_worker());
    let arguments = ["-c".into(), script.into(), "sh".into(), marker.clone().into(), worker.into()];
    let program = Program::Native { path: "sh".into(), arguments: arguments.into() };
    let trial = Trial::with_program(program, settings(), json!({ "functions": [] }));
    assert_eq!(trial.send(steps([&[Answer]])).worker().await.number, 1);
    assert!(marker.exists(), "the first was killed");
}

fn parent(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let (_, fields) = stat.rsplit_once(')').expect("the name stands in brackets");
    fields.split_whitespace().nth(1).expect("the parent is the fourth field").parse().expect("it is a number")
}

#[tokio::test]
async fn a_zygote_that_is_stopped_is_replaced_once_it_has_not_forked_in_time() {
    let settings = Settings { start_timeout: Duration::from_secs(2), timeout: Duration::from_secs(20), ..settings() };
    for config in [json!({ "functions": ["any"] }), json!({ "functions": [] })] {
        let trial = Trial::with_config(settings.clone(), config);
        let worker = trial.send(steps([&[Answer]])).worker().await;
        let zygote = parent(worker.pid.cast_unsigned());
        let stopped = Pid::from_raw(zygote.cast_signed()).expect("it is positive");
        kill_process(stopped, Signal::STOP).expect("it runs");
        worker.kill();
        let next = trial.send(steps([&[Answer]])).worker().await;
        assert_ne!(parent(next.pid.cast_unsigned()), zygote);
    }
}

#[tokio::test]
async fn workers_of_an_endpoint_with_functions_come_from_a_zygote_of_its_own() {
    let trial = Trial::with_config(settings(), json!({ "functions": ["any"] }));
    let worker = trial.send(steps([&[Answer]])).worker().await;
    let zygote = parent(worker.pid.cast_unsigned());
    assert_eq!(parent(zygote), trial.base.zygote().await.expect("it runs").about.pid);
    worker.kill();
    let next = trial.send(steps([&[Answer]])).worker().await;
    assert_eq!(parent(next.pid.cast_unsigned()), zygote);
}

#[tokio::test]
async fn the_first_live_call_after_a_death_is_told_that_state_was_lost() {
    let trial = Trial::new(settings());
    let call = async |script| {
        let mut events = trial.pool.call(Call { body: script, timeout: None, queued: false, cancel: Cancel::UnlessBegun });
        let mut told = Vec::new();
        while let Some(event) = std::future::poll_fn(|context| events.poll_next(context)).await {
            told.push(match event {
                Event::StateLost => "state lost",
                Event::Output(..) => "output",
                Event::End(Outcome::Answered(_)) => "answered",
                Event::End(Outcome::Lost(_)) => "lost",
                Event::End(_) | Event::Begun(_) | Event::Part(_) | Event::Progress(_) => "something else",
            });
        }
        told
    };
    assert_eq!(call(steps([&[Begin, Die]])).await, ["lost"]);
    assert_eq!(call(steps([&[Answer]])).await, ["state lost", "answered"]);
    assert_eq!(call(steps([&[Answer]])).await, ["answered"]);
    assert_eq!(call(steps([&[], &[Die], &[Answer]])).await, ["state lost", "answered"], "it had not begun, and runs without that state");
}
