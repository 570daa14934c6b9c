//! Jobs: what is heard of them, from the worker that has begun one to its output.

use std::time::Duration;

use bytes::Bytes;
use flash_testkit::Step::{self, Answer, AnswerWith, Begin, Die, Disobey, Frame, Hold};
use flash_testkit::steps;
use flash_wire::Kind;
use flash_workers::{Begun, Event, Events, Job, Limits, Outcome, Settings, Workers};
use rustix::process::{Pid, Signal, kill_process};

use crate::trial::{PATIENCE, Trial, Worker, settings};

const MORE: u8 = 1;
const PROGRESS: u8 = 2;

/// One job at a time, on so many workers.
fn sequential(workers: usize) -> Trial {
    Trial::new(Settings {
        limits: Limits { slots: 1, ..settings().limits },
        workers: Workers::fixed(workers),
        timeout: Duration::from_secs(600),
        ..settings()
    })
}

fn job(trial: &Trial, input: Bytes) -> Events {
    trial.pool.job(Job { function: 0, input, limit: None, tag: 7 })
}

fn yields(flags: u8, text: &str) -> Step {
    Frame(Kind::Yield as u8, 0, [&[flags], text.as_bytes()].concat())
}

async fn next(events: &mut Events) -> Event {
    tokio::time::timeout(PATIENCE, events.next()).await.expect("something comes").expect("it has not ended")
}

async fn begun(events: &mut Events) -> Begun {
    match next(events).await {
        Event::Begun(begun) => begun,
        other => panic!("it was not begun, but {other:?} came"),
    }
}

async fn end(events: &mut Events) -> Outcome {
    match next(events).await {
        Event::End(outcome) => {
            assert!(events.next().await.is_none(), "nothing comes after the end");
            outcome
        }
        other => panic!("it has not ended, but {other:?} came"),
    }
}

async fn worker(events: &mut Events) -> Worker {
    match end(events).await {
        Outcome::Answered(answer) => serde_json::from_slice(&answer.body).expect("a scripted worker says who it is"),
        other => panic!("it was not answered but {other:?}"),
    }
}

#[tokio::test]
async fn a_job_says_who_has_begun_it_what_it_yields_and_its_output() {
    let trial = sequential(1);
    let yielded =
        [yields(0, "1"), yields(PROGRESS, "50"), yields(MORE, "[1,"), yields(0, "2]"), AnswerWith(200, String::new(), "3".into())];
    let mut events = job(&trial, steps([&[&[Begin], &yielded[..]].concat()]));
    let at = begun(&mut events).await;
    assert!(trial.pool.runs(at.worker) && !trial.pool.runs(at.worker + 1));
    assert!(matches!(next(&mut events).await, Event::Part(part) if part == "1"));
    assert!(matches!(next(&mut events).await, Event::Progress(progress) if progress == "50"));
    assert!(matches!(next(&mut events).await, Event::Part(part) if part == "[1,2]"), "it came in two pieces");
    let Outcome::Answered(answer) = end(&mut events).await else { panic!("it was answered") };
    assert_eq!((answer.status, &*answer.body), (200, &b"3"[..]));
    let who = job(&trial, steps([&[Answer]]));
    let mut who = who;
    assert_eq!((begun(&mut who).await.pid, worker(&mut who).await.pid as u32), (at.pid, at.pid));
}

#[tokio::test]
async fn one_that_runs_is_known_to_have_begun_before_it_says_anything() {
    let trial = sequential(1);
    let mut events = job(&trial, steps([&[Begin, Hold]]));
    begun(&mut events).await;
}

#[tokio::test]
async fn jobs_run_one_at_a_time_in_the_order_in_which_they_came() {
    let trial = sequential(1);
    let mut all: Vec<_> = (0..20).map(|_| job(&trial, steps([&[Begin, Answer]]))).collect();
    for (index, events) in all.iter_mut().enumerate() {
        begun(events).await;
        assert_eq!(worker(events).await.runs, index + 1);
    }
}

#[tokio::test]
async fn a_job_that_was_begun_is_lost_with_its_worker_and_one_that_was_not_goes_to_the_next() {
    let trial = sequential(1);
    let mut first = job(&trial, steps([&[Begin, Die], &[Answer]]));
    let at = begun(&mut first).await;
    assert!(matches!(end(&mut first).await, Outcome::Lost(Some(_))));
    assert!(!trial.pool.runs(at.worker), "it is gone");
    let mut second = job(&trial, steps([&[], &[Die], &[Begin, Answer]]));
    assert_eq!(begun(&mut second).await.worker, 3);
    assert_eq!(worker(&mut second).await.number, 3);
    assert!(trial.printed().contains("died (signal: 9 (SIGKILL)) while it ran a job"), "{}", trial.printed());
}

#[tokio::test]
async fn a_job_that_kills_five_workers_before_it_is_begun_is_lost_and_was_not_begun() {
    let trial = sequential(1);
    let mut events = job(&trial, steps([&[Die]]));
    assert!(matches!(end(&mut events).await, Outcome::Lost(_)));
}

#[tokio::test]
async fn a_stopped_worker_does_not_run_and_can_be_killed() {
    let trial = sequential(1);
    let mut events = job(&trial, steps([&[Begin, Hold]]));
    let at = begun(&mut events).await;
    kill_process(Pid::from_raw(at.pid.cast_signed()).expect("a number"), Signal::STOP).expect("it is there");
    let stopped = tokio::time::timeout(PATIENCE, async {
        while trial.pool.runs(at.worker) {
            tokio::time::sleep(Duration::from_millis(1)).await; // the signal takes a moment
        }
    });
    stopped.await.expect("it stops");
    trial.pool.kill(at.worker);
    assert!(matches!(end(&mut events).await, Outcome::Lost(Some(_))));
}

#[tokio::test]
async fn the_time_of_a_job_begins_when_a_worker_has_it() {
    let trial = sequential(1);
    let limit = Duration::from_millis(100);
    let first = job(&trial, steps([&[Begin, Hold]]));
    let mut second = trial.pool.job(Job { function: 0, input: steps([&[Begin, Answer]]), limit: Some(limit), tag: 0 });
    tokio::time::sleep(limit * 3).await; // there is nothing to wait for: it must not have ended
    drop(first);
    begun(&mut second).await;
    worker(&mut second).await;
    let mut third = trial.pool.job(Job { function: 0, input: steps([&[Begin, Hold]]), limit: Some(limit), tag: 0 });
    begun(&mut third).await;
    assert!(matches!(end(&mut third).await, Outcome::Expired));
    worker_after(&trial).await;
}

/// The slot is free again.
async fn worker_after(trial: &Trial) -> Worker {
    let mut events = job(trial, steps([&[Answer]]));
    begun(&mut events).await;
    worker(&mut events).await
}

#[tokio::test]
async fn a_job_that_is_given_up_is_forgotten_or_stopped() {
    let trial = sequential(1);
    let mut first = job(&trial, steps([&[Begin, Hold]]));
    begun(&mut first).await;
    drop(job(&trial, steps([&[Begin, Hold]])));
    drop(first);
    let after = worker_after(&trial).await;
    assert_eq!((after.number, after.runs), (1, 2), "of the two, the worker had the first alone");
}

#[tokio::test]
async fn a_worker_that_goes_on_with_a_job_that_was_given_up_is_replaced_after_the_grace() {
    let grace = Duration::from_millis(100);
    let trial = Trial::new(Settings { limits: Limits { slots: 1, ahead: 0, waiting: 8, grace }, ..settings() });
    let mut first = job(&trial, steps([&[Begin, Disobey, Hold], &[Answer]]));
    begun(&mut first).await;
    drop(first);
    assert_eq!(worker_after(&trial).await.number, 2);
}
