//! Workers whose loops stand still: others get what they have not begun, and take their places.

use std::time::Duration;

use flash_testkit::Step::{Answer, Begin, Hang};
use flash_testkit::steps;
use flash_workers::{Settings, Status, Workers};
use rustix::process::Signal;

use crate::trial::{PATIENCE, Trial, settings};

/// Longer than it takes until a loop is known to stand still.
const LIMIT: Duration = Duration::from_secs(2);

async fn ready(settings: Settings) -> Trial {
    let trial = Trial::new(settings);
    trial.pool.status().wait_for(|status| matches!(status, Status::Ready)).await.expect("the pool is there");
    trial
}

async fn until(condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await; // between two looks
        }
    };
    tokio::time::timeout(PATIENCE, holds).await.expect("it holds in the end");
}

#[tokio::test]
async fn of_the_requests_of_a_worker_that_stands_still_the_one_that_holds_it_expires_and_the_others_are_answered() {
    let trial = ready(Settings { timeout: LIMIT, ..settings() }).await;
    let first = trial.send(steps([&[Answer]])).worker().await;
    let holds = trial.send(steps([&[Begin, Hang]]));
    let others: Vec<_> = (0..3).map(|_| trial.send(steps([&[Hang], &[Begin, Answer]]))).collect();
    assert!(holds.has_expired().await);
    let mut runs = Vec::new();
    for other in others {
        let worker = other.worker().await;
        assert_eq!(worker.number, 2);
        runs.push(worker.runs);
    }
    assert_eq!(runs, [1, 2, 3], "in their order, each once");
    first.is_gone().await;
    until(|| trial.pool.snapshot().restarts == 1).await;
    assert!(trial.printed().contains("another takes its place"), "{}", trial.printed());
    assert!(!trial.printed().contains("died"), "{}", trial.printed());
}

#[tokio::test]
async fn a_stopped_worker_s_place_is_taken_though_nothing_it_has_has_begun() {
    let trial = ready(settings()).await;
    let first = trial.send(steps([&[Answer]])).worker().await;
    first.signal(Signal::STOP);
    let waiting: Vec<_> = (0..3).map(|_| trial.send(steps([&[Answer]]))).collect();
    for waits in waiting {
        assert_eq!(waits.worker().await.number, 2);
    }
    first.is_gone().await;
    assert!(trial.printed().contains("was stopped (SIGSTOP)"), "{}", trial.printed());
}

#[tokio::test]
async fn a_worker_that_stands_still_though_nothing_has_begun_is_given_up_after_half_of_a_limit() {
    let trial = ready(Settings { timeout: LIMIT, ..settings() }).await;
    let first = trial.send(steps([&[Answer]])).worker().await;
    // It takes it, and does not say that it begins.
    let held = trial.send(steps([&[Hang], &[Answer]]));
    assert_eq!(held.worker().await.number, 2);
    first.is_gone().await;
    assert!(trial.printed().contains("while requests wait"), "{}", trial.printed());
}

#[tokio::test]
async fn a_second_worker_takes_over_before_anything_has_expired_and_the_first_stays() {
    let trial = Trial::new(Settings { workers: Workers::fixed(2), ..settings() });
    until(|| trial.pool.snapshot().ready == 2).await;
    let first = trial.send(steps([&[Answer]])).worker().await;
    // Of equals the oldest: it goes where the one before has gone.
    let _holds = trial.send(steps([&[Begin, Hang]]));
    // Some of them go to the first.
    let others: Vec<_> = (0..6).map(|_| trial.send(steps([&[Answer]]))).collect();
    for other in others {
        assert_ne!(other.worker().await.pid, first.pid);
    }
    assert_eq!(trial.pool.snapshot().ready, 2, "it has a minute");
}

#[tokio::test]
async fn a_deployment_s_worker_that_stands_still_at_once_is_no_failed_start() {
    let workers = Workers::scaled(1, 1, Duration::MAX, 1);
    let trial = ready(Settings { timeout: LIMIT, workers, ..settings() }).await;
    for _ in 0..3 {
        assert!(trial.send(steps([&[Begin, Hang]])).has_expired().await);
    }
    assert_eq!(trial.send(steps([&[Answer]])).worker().await.number, 4);
}
