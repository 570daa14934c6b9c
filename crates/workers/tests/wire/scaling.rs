//! Workers that come when they are asked for, and go when they have nothing to do.

use std::time::Duration;

use flash_testkit::Step::{Answer, Begin, Disobey, Hold, Release};
use flash_testkit::{Script, Step, steps};
use flash_workers::{Limits, Outcome, Settings, Snapshot, Status, Workers};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::json;
use tokio::task::JoinSet;

use crate::trial::{PATIENCE, Sent, Trial, Worker, settings};

/// Short enough for a test to see it pass, and long enough for a request not to.
const SOON: Duration = Duration::from_millis(100);

/// From none up to so many workers, of so many slots each; they stay when they have nothing to do.
fn scaled(max: usize, slots: usize) -> Settings {
    Settings {
        limits: Limits { slots, waiting: 2000, ..settings().limits },
        workers: Workers::scaled(0, max, PATIENCE, slots),
        ..settings()
    }
}

/// As [`scaled`], with workers that are soon stopped.
fn brief(min: usize, max: usize) -> Settings {
    Settings { workers: Workers { min, idle: SOON, ..scaled(max, 128).workers }, ..scaled(max, 128) }
}

/// Waits until the pool looks like this.
async fn until(trial: &Trial, wanted: impl Fn(&Snapshot) -> bool) -> Snapshot {
    let seen = tokio::time::timeout(PATIENCE, async {
        loop {
            let seen = trial.pool.snapshot();
            if wanted(&seen) {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    seen.await.unwrap_or_else(|_| panic!("it never looked like that, but like {:?}", trial.pool.snapshot()))
}

async fn until_none(trial: &Trial) {
    until(trial, |seen| seen.ready + seen.starting + seen.stopping == 0).await;
}

/// Answers `count` requests, and holds none of them.
async fn answered(sent: Vec<Sent>) -> Vec<Worker> {
    let mut workers = Vec::new();
    for sent in sent {
        workers.push(sent.worker().await);
    }
    workers
}

fn children(of: u32) -> Vec<i32> {
    let list = std::fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    list.split_whitespace().map(|pid| pid.parse().expect("these are numbers")).collect()
}

#[tokio::test]
async fn the_first_worker_is_started_unasked_and_stays_until_it_had_nothing_to_do_for_long() {
    let trial = Trial::new(brief(0, 4));
    let mut status = trial.pool.status();
    status.wait_for(|status| matches!(status, Status::Ready)).await.expect("the pool is there");
    until_none(&trial).await;
    assert!(trial.printed().contains("drained"), "it ended by itself: {}", trial.printed());
    assert!(!trial.printed().contains("died"), "{}", trial.printed());
    assert!(matches!(*status.borrow(), Status::Ready), "it could answer");
    let base = trial.base.zygote().await.expect("it runs").about.pid;
    assert!(children(base).is_empty(), "no process is left");
}

#[tokio::test]
async fn a_request_that_finds_no_worker_starts_one() {
    let trial = Trial::new(brief(0, 4));
    for _ in 0..3 {
        let worker = trial.send(steps([&[Answer]])).worker().await;
        until_none(&trial).await;
        worker.is_gone().await;
    }
}

#[tokio::test]
async fn a_thousand_requests_at_once_from_no_worker_are_all_answered_by_no_more_than_four() {
    let trial = Trial::new(Settings { workers: Workers { idle: SOON, ..scaled(4, 8).workers }, ..scaled(4, 8) });
    until_none(&trial).await;
    let sent: Vec<_> = (0..1000).map(|_| trial.send(steps([&[Begin, Answer]]))).collect();
    assert!(matches!(trial.pool.snapshot(), Snapshot { waiting: 1000, ready: 0, .. }));
    let mut workers = answered(sent).await;
    workers.sort_by_key(|worker| worker.pid);
    workers.dedup_by_key(|worker| worker.pid);
    assert!(workers.len() <= 4, "{workers:?}");
}

#[tokio::test]
async fn what_one_worker_cannot_take_gets_more_of_them_up_to_the_most() {
    let trial = Trial::new(scaled(4, 8));
    let held: Vec<_> = (0..40).map(|_| trial.send(steps([&[Hold]]))).collect();
    let seen = until(&trial, |seen| seen.ready == 4).await;
    assert_eq!((seen.starting, seen.in_flight, seen.waiting), (0, 32, 8));
    // Whoever answers takes another one, so that these reach all workers in the end.
    let mut releasing = JoinSet::new();
    for _ in 0..100 {
        releasing.spawn(trial.send(steps([&[Release, Answer]])).worker());
    }
    drop(held);
    while let Some(released) = releasing.join_next().await {
        released.expect("it is answered");
    }
    assert_eq!(trial.pool.snapshot().ready, 4);
}

#[tokio::test]
async fn many_in_flight_get_another_worker_before_anything_waits() {
    let workers = Workers { scaler_value: 2, ..scaled(2, 128).workers };
    let trial = Trial::new(Settings { workers, ..scaled(2, 128) });
    until(&trial, |seen| seen.ready == 1).await;
    let _few = [(); 2].map(|()| trial.send(steps([&[Hold]])));
    let _more = trial.send(steps([&[Hold]]));
    let seen = until(&trial, |seen| seen.ready == 2).await;
    assert_eq!((seen.in_flight, seen.waiting), (3, 0));
}

#[tokio::test]
async fn those_that_are_kept_are_the_oldest_and_none_of_them_is_stopped() {
    let trial = Trial::new(Settings { limits: Limits { slots: 1, waiting: 9, ..settings().limits }, ..brief(2, 4) });
    let first = until(&trial, |seen| seen.ready == 2).await;
    assert_eq!(first.min, 2);
    let kept: Vec<_> = children(trial.base.zygote().await.expect("it runs").about.pid);
    let held: Vec<_> = (0..4).map(|_| trial.send(steps([&[Hold]]))).collect();
    until(&trial, |seen| seen.ready == 4).await;
    drop(held);
    until(&trial, |seen| seen.ready == 2 && seen.stopping == 0).await;
    for pid in &kept {
        test_kill_process(Pid::from_raw(*pid).expect("it is positive")).expect("the first two are there still");
    }
    assert_eq!(trial.pool.snapshot().restarts, 0);
}

#[tokio::test]
async fn a_request_that_comes_while_the_last_worker_is_being_stopped_is_answered_by_the_next() {
    let trial = Trial::new(brief(0, 1));
    let stays = trial.send(steps([&[Disobey, Answer]])).worker().await;
    until(&trial, |seen| seen.stopping == 1).await;
    let next = trial.send(steps([&[Answer]])).worker().await;
    assert_ne!(next.pid, stays.pid);
    let seen = trial.pool.snapshot();
    assert_eq!((seen.stopping, seen.restarts), (1, 0), "the one that does not obey is given the time that a request has");
}

#[tokio::test]
async fn requests_that_come_and_go_as_workers_do_are_all_answered() {
    // Stopped as soon as it is seen that they have nothing to do.
    let trial = Trial::new(Settings { workers: Workers { idle: Duration::ZERO, ..scaled(2, 4).workers }, ..scaled(2, 4) });
    let mut pids = std::collections::HashSet::new();
    for round in 0..60_u64 {
        let sent: Vec<_> = (0..round % 7 + 1).map(|_| trial.send(steps([&[Begin, Answer]]))).collect();
        pids.extend(answered(sent).await.into_iter().map(|worker| worker.pid));
        tokio::time::sleep(Duration::from_millis(round % 23)).await; // at any moment of a worker's end
    }
    assert!(pids.len() > 5, "workers came and went: {}", pids.len());
    assert_eq!(trial.pool.snapshot().restarts, 0);
}

#[tokio::test]
async fn kills_of_workers_and_zygotes_under_load_lose_what_had_begun_and_nothing_else() {
    let workers = Workers { idle: Duration::from_millis(20), ..scaled(4, 4).workers };
    let settings = Settings { workers, ..scaled(4, 4) };
    let trial = Trial::with_config(settings, json!({ "functions": ["any"] }));
    let (mut answered, mut lost) = (0, 0);
    for round in 0..30_u64 {
        let mut sent = JoinSet::new();
        for _ in 0..20 {
            sent.spawn(trial.send(steps([&[Begin, Answer]])).outcome());
        }
        tokio::time::sleep(Duration::from_millis(round)).await; // at any moment of their lives
        let base = trial.base.zygote().await.expect("it runs or is started").about.pid;
        let zygotes = children(base);
        let workers = zygotes.iter().flat_map(|zygote| children(zygote.cast_unsigned()));
        let target = match round % 3 {
            0 => workers.last(),
            1 => zygotes.first().copied(),
            _ => Some(base.cast_signed()).filter(|_| round % 2 == 0),
        };
        if let Some(target) = target.and_then(Pid::from_raw) {
            let _ = kill_process(target, Signal::KILL); // it may have ended by itself
        }
        while let Some(outcome) = sent.join_next().await {
            match outcome.expect("it does not panic") {
                Outcome::Answered(_) => answered += 1,
                Outcome::Lost(_) => lost += 1,
                other => panic!("of {answered} answered and {lost} lost, one was neither: {other:?}"),
            }
        }
    }
    assert_eq!(answered + lost, 600);
    assert!(answered > 300, "{answered}");
    let base = trial.base.zygote().await.expect("it runs").about.pid;
    until_none(&trial).await;
    assert!(children(base).len() <= 1, "the zygote alone is left");
    trial.pool.close(Duration::ZERO).await;
    tokio::time::timeout(PATIENCE, async {
        while !children(base).is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("nobody is left without a maker");
}

#[tokio::test]
async fn an_evicted_zygote_is_made_anew_for_the_next_request_and_its_description_outlasts_it() {
    let trial = Trial::with_config(brief(0, 1), json!({ "functions": ["any"] }));
    trial.send(steps([&[Answer]])).worker().await;
    let base = trial.base.zygote().await.expect("it runs").about.pid;
    let zygote = children(base);
    assert!(!trial.pool.evict().await, "it has a worker");
    until_none(&trial).await;
    assert_eq!(children(base), zygote, "it outlasts its workers");
    assert!(trial.pool.evict().await);
    tokio::time::timeout(PATIENCE, async {
        while !children(base).is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("it ends");
    assert!(!trial.pool.evict().await, "it is not there");
    let described = trial.pool.description().await.expect("it was made before");
    assert_eq!(&described[..], br#"{"paths": {}, "components": {}}"#);
    assert!(children(base).is_empty(), "which woke nobody");
    trial.send(steps([&[Answer]])).worker().await;
    assert_ne!(children(base), zygote);
}

#[tokio::test]
async fn a_zygote_without_workers_is_evicted_after_a_while() {
    let workers = Workers { zygote_idle: SOON, ..brief(0, 1).workers };
    let trial = Trial::with_config(Settings { workers, ..brief(0, 1) }, json!({ "functions": ["any"] }));
    for _ in 0..2 {
        trial.send(steps([&[Answer]])).worker().await;
        let base = trial.base.zygote().await.expect("it runs").about.pid;
        tokio::time::timeout(PATIENCE, async {
            while !children(base).is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await
        .expect("it goes after its workers");
    }
}

#[tokio::test]
async fn a_closed_pool_waits_for_no_worker_that_was_being_stopped() {
    let trial = Trial::new(brief(0, 1));
    let stays = trial.send(Script(vec![vec![Step::Disobey, Answer]]).body(0)).worker().await;
    until(&trial, |seen| seen.stopping == 1).await;
    let closed = tokio::time::timeout(PATIENCE / 2, trial.pool.close(Duration::ZERO)).await;
    closed.expect("it has no longer as long as a request");
    stays.is_gone().await;
}
