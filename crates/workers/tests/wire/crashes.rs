//! Workers that end as they start, or right after that, or that hang.

use std::sync::Arc;
use std::time::Duration;

use flash_testkit::Step::{self, Answer, Begin, Die, Frame, Hang};
use flash_testkit::{Script, steps};
use flash_wire::Kind;
use flash_workers::{Error, Outcome, Settings, State, Status, Workers};
use serde_json::json;

use crate::trial::{PATIENCE, Trial, settings};

fn scaled(min: usize) -> Settings {
    Settings { workers: Workers::scaled(min, 2, PATIENCE, 128), ..settings() }
}

fn starting_with(settings: Settings, scripts: Vec<Vec<Step>>) -> Trial {
    Trial::with_config(settings, json!({ "functions": [], "start": Script(scripts) }))
}

/// What a worker says that is ready, and has answered the probe.
fn ready() -> [Step; 2] {
    [Frame(Kind::Ready as u8, 0, br#"{"routes": []}"#.to_vec()), Frame(Kind::Pong as u8, 0, Vec::new())]
}

/// Waits until it is a crash loop with so many failures; tells the last one.
async fn crash_loop(trial: &Trial, wanted: u32) -> Arc<Error> {
    let seen = tokio::time::timeout(PATIENCE, async {
        loop {
            if let State::CrashLoop { failures, last_error, next_try_in } = trial.pool.snapshot().state
                && failures >= wanted
            {
                assert!(next_try_in <= Duration::from_secs(30));
                return last_error;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    seen.await.unwrap_or_else(|_| panic!("there is none: {:?}", trial.pool.snapshot()))
}

#[tokio::test]
async fn a_worker_that_ends_as_it_starts_is_a_crash_loop_that_requests_need_not_wait_for() {
    let trial = starting_with(scaled(0), vec![vec![Die]]);
    let waits = trial.send(steps([&[Answer]])).outcome().await;
    assert!(matches!(&waits, Outcome::Failed { error, .. } if matches!(**error, Error::EndedEarly { .. })), "{waits:?}");
    assert!(matches!(*crash_loop(&trial, 3).await, Error::EndedEarly { .. }));
    assert!(matches!(&*trial.pool.status().borrow(), Status::Failed(_)));
    let Outcome::Failed { retry_in, .. } = trial.send(steps([&[Answer]])).outcome().await else { panic!("nobody could answer") };
    assert!(retry_in > Duration::ZERO && retry_in <= Duration::from_secs(30), "{retry_in:?}");
}

#[tokio::test]
async fn a_worker_that_ends_right_after_it_was_ready_is_a_crash_loop() {
    let trial = starting_with(scaled(1), vec![[&ready()[..], &[Die]].concat()]);
    assert!(matches!(*crash_loop(&trial, 3).await, Error::EndedYoung { .. }));
    assert!(trial.pool.snapshot().restarts >= 3);
}

#[tokio::test]
async fn a_worker_that_ends_at_its_first_request_is_a_crash_loop_and_each_request_hears_of_its_own() {
    let trial = Trial::new(scaled(0));
    let mut lost = 0;
    let refused = loop {
        match trial.send(steps([&[Begin, Die]])).outcome().await {
            Outcome::Lost(_) => lost += 1,
            other => break other,
        }
    };
    assert!(lost >= 3, "{lost}");
    assert!(matches!(&refused, Outcome::Failed { error, .. } if matches!(**error, Error::EndedAtWork { .. })), "{refused:?}");
    assert!(matches!(*crash_loop(&trial, 3).await, Error::EndedAtWork { .. }));
}

#[tokio::test]
async fn where_a_user_looks_on_a_call_gets_the_next_worker_however_often_they_died() {
    let trial = Trial::new(settings());
    for _ in 0..6 {
        assert!(trial.send(steps([&[Begin, Die]])).was_lost().await);
    }
    assert_eq!(trial.send(steps([&[Answer]])).worker().await.number, 7);
}

#[tokio::test]
async fn a_crash_loop_ends_with_a_worker_that_works_and_what_comes_then_is_answered() {
    let trial = starting_with(scaled(1), vec![vec![Die], vec![Die], vec![Die], vec![Die], vec![], vec![Die], vec![]]);
    crash_loop(&trial, 4).await;
    let mut status = trial.pool.status();
    status.wait_for(|status| matches!(status, Status::Ready)).await.expect("it is tried again");
    let worker = trial.send(steps([&[Answer]])).worker().await;
    assert!(matches!(trial.pool.snapshot().state, State::Ready), "{:?}", trial.pool.snapshot());
    worker.kill();
    let next = trial.send(steps([&[Answer]])).worker().await;
    assert_eq!(next.number, 7, "failures are counted anew: after one, who waits waits on");
}

#[tokio::test]
async fn a_build_that_worked_is_never_called_failed() {
    let failed = json!({ "error": "no modules", "why": "a test", "try": "nothing", "traceback": null }).to_string();
    let fails = vec![Frame(Kind::Failed as u8, 0, failed.into()), Die];
    let never = starting_with(scaled(0), vec![fails.clone()]);
    never.pool.status().wait_for(|status| matches!(status, Status::Failed(_))).await.expect("the pool is there");
    assert!(matches!(never.pool.snapshot().state, State::Failed(_)), "{:?}", never.pool.snapshot());

    let once = starting_with(scaled(1), vec![vec![], fails]);
    once.send(steps([&[Answer]])).worker().await.kill();
    assert!(matches!(*crash_loop(&once, 1).await, Error::CannotLoad(_)));
}

#[tokio::test]
async fn a_request_waits_for_the_next_try_unless_that_comes_after_its_deadline() {
    // Each is tried once only: the first time after 100 ms.
    let trial = starting_with(scaled(0), vec![vec![Die], vec![]]);
    assert_eq!(trial.send(steps([&[Answer]])).worker().await.number, 2);

    let short = Settings { timeout: Duration::from_millis(30), ..scaled(0) };
    let trial = starting_with(short, vec![vec![Die], vec![]]);
    let outcome = trial.send(steps([&[Answer]])).outcome().await;
    assert!(matches!(outcome, Outcome::Failed { .. } | Outcome::Expired), "{outcome:?}");
}

#[tokio::test]
async fn a_worker_that_is_ready_and_hangs_is_not_taken_for_one_that_works() {
    let hangs = vec![ready()[0].clone(), Hang];
    let probing = Workers { probe_timeout: Duration::from_millis(50), ..scaled(0).workers };
    let trial = starting_with(Settings { workers: probing, ..scaled(0) }, vec![hangs]);
    let mut status = trial.pool.status();
    let settled = status.wait_for(|status| !matches!(status, Status::Starting)).await.expect("the pool is there").clone();
    assert!(matches!(&settled, Status::Failed(error) if matches!(**error, Error::Unanswered { .. })), "{settled:?}");
}

#[tokio::test]
async fn a_worker_with_other_routes_than_were_promised_is_not_taken() {
    let says = [Frame(Kind::Ready as u8, 0, br#"{"routes": []}"#.to_vec()), Frame(Kind::Pong as u8, 0, Vec::new())];
    let trial = Trial::with_config(settings(), json!({ "functions": ["one"], "start": Script(vec![says.to_vec()]) }));
    let mut status = trial.pool.status();
    let settled = status.wait_for(|status| !matches!(status, Status::Starting)).await.expect("the pool is there").clone();
    assert!(matches!(&settled, Status::Failed(error) if matches!(**error, Error::Protocol)), "{settled:?}");
}
