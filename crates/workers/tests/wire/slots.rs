//! Slots that are taken: by requests that nobody waits for any more, by workers that are held up, stopped, or do not obey.

use std::time::Duration;

use flash_testkit::Step::{Answer, Begin, Disobey, Hold, Inline, Release, Stall};
use flash_testkit::{Script, Step, steps};
use flash_workers::{Limits, Outcome, Settings, Status, Workers};
use rustix::process::Signal;
use tokio::task::JoinSet;

use crate::trial::{PATIENCE, Trial, Worker, settings};

/// For tests in which a deadline passes, and the grace after it.
const SHORT: Duration = Duration::from_millis(200);
/// How many requests each worker has in flight in the test of stalled ones.
const HELD: usize = 64;

fn one_slot() -> Settings {
    Settings { limits: Limits { slots: 1, waiting: 1, ..settings().limits }, ..settings() }
}

fn short() -> Settings {
    Settings { limits: Limits { grace: SHORT, ..settings().limits }, timeout: SHORT, ..settings() }
}

/// Once the first worker is ready: what is submitted now goes to it at once.
async fn ready(settings: Settings) -> Trial {
    let trial = Trial::new(settings);
    trial.pool.status().wait_for(|status| matches!(status, Status::Ready)).await.expect("the pool is there");
    trial
}

/// Asks until a worker answers in time, and until it is one that is wanted.
async fn answered_by(trial: &Trial, wanted: impl Fn(&Worker) -> bool) -> Worker {
    let answered = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Outcome::Answered(answer) = trial.send(steps([&[Answer]])).outcome().await
                && let Ok(worker) = serde_json::from_slice(&answer.body)
                && wanted(&worker)
            {
                return worker;
            }
        }
    });
    answered.await.expect("there is such a worker in the end")
}

#[tokio::test]
async fn beyond_the_slots_and_the_queue_a_request_is_refused() {
    let trial = ready(one_slot()).await;
    let _in_flight = trial.send(steps([&[Hold]]));
    let _waits = trial.send(steps([&[Answer]]));
    let third = trial.send(steps([&[Answer]])).outcome().await;
    assert!(matches!(third, Outcome::Refused), "{third:?}");
}

#[tokio::test]
async fn a_request_that_nobody_waits_for_gives_its_slot_to_the_next_when_the_worker_says_so() {
    let trial = ready(one_slot()).await;
    let left = trial.send(steps([&[Hold]]));
    let waits = trial.send(steps([&[Answer]]));
    drop(left);
    assert_eq!(waits.worker().await.number, 1);
}

#[tokio::test]
async fn a_request_whose_cancel_is_ignored_keeps_its_slot() {
    let trial = ready(Settings { timeout: SHORT, ..one_slot() }).await;
    let left = trial.send(steps([&[Disobey, Hold]]));
    let waits = trial.send(steps([&[Answer]]));
    drop(left);
    assert!(waits.has_expired().await);
}

#[tokio::test]
async fn a_worker_that_goes_on_past_the_grace_is_replaced() {
    let trial = ready(short()).await;
    let first = answered_by(&trial, |_| true).await;
    assert!(trial.send(steps([&[Disobey, Begin, Hold]])).has_expired().await);
    answered_by(&trial, |worker| worker.number == 2).await;
    first.is_gone().await;
    answered_by(&trial, |worker| worker.number == 2).await; // the host has noticed
    let printed = trial.printed();
    assert_eq!(printed.matches("goes on past its limit of 0.2 s").count(), 1, "{printed}");
    assert!(!printed.contains("died") && !printed.contains("stood still"), "{printed}");
}

#[tokio::test]
async fn a_live_endpoint_s_worker_is_kept_past_the_grace_and_gets_calls_again_once_it_answers() {
    let trial = ready(Settings { replace_stuck: false, ..short() }).await;
    let worker = answered_by(&trial, |_| true).await;
    worker.signal(Signal::STOP);
    // One after the other: when the last has expired, the first is past its grace.
    for _ in 0..3 {
        assert!(trial.send(steps([&[Begin, Answer]])).has_expired().await);
    }
    worker.signal(Signal::CONT);
    assert_eq!(answered_by(&trial, |_| true).await.pid, worker.pid);
}

#[tokio::test]
async fn while_a_call_holds_up_a_worker_the_others_get_the_requests() {
    let trial = Trial::new(Settings { workers: Workers::fixed(2), ..settings() });
    // Of two that are submitted at once, the second goes to the second worker if there is one.
    let (first, second) = loop {
        let pair = [(); 2].map(|()| trial.send(steps([&[Answer]])));
        let [one, other] = pair;
        let (one, other) = (one.worker().await.number, other.worker().await.number);
        if one != other {
            break (one, other);
        }
    };
    // The second has so many in flight that the first would be chosen.
    let held: Vec<_> = (0..HELD * 2).map(|_| trial.send(steps([&[Hold]]))).collect();
    assert_eq!(trial.send(steps([&[Release, Answer]])).worker().await.number, first);
    let held_up = trial.send(steps([&[Begin, Inline, Stall, Answer]]));

    let mut probes = JoinSet::new();
    let answered = loop {
        probes.spawn(trial.send(steps([&[Answer]])).worker());
        tokio::select! {
            Some(answered) = probes.join_next() => break answered.expect("it is answered"),
            () = tokio::time::sleep(Duration::from_millis(20)) => {} // for the next probe: the host may not have noticed yet
        }
    };
    assert_eq!(answered.number, second);
    assert!(probes.len() + 1 < HELD, "the second had more in flight than the first: {} are with that one", probes.len() + 1);

    drop(held_up);
    while let Some(answered) = probes.join_next().await {
        answered.expect("they are answered once the first goes on");
    }
    assert_eq!(trial.send(steps([&[Answer]])).worker().await.number, first);
    drop(held);
}

#[tokio::test]
async fn a_worker_that_is_told_to_drain_ends_by_itself_and_one_that_ignores_it_is_killed() {
    let script: [(&[Step], bool); 2] = [(&[Answer], true), (&[Disobey, Answer], false)];
    for (script, ends_by_itself) in script {
        let trial = Trial::new(settings());
        let worker = trial.send(Script(vec![script.to_vec()]).body(0)).worker().await;
        trial.pool.close(Duration::ZERO).await;
        worker.is_gone().await;
        assert_eq!(trial.printed().contains("drained"), ends_by_itself, "{script:?}: {}", trial.printed());
    }
}
