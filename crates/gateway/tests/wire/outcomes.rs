//! Requests that no worker answers, or not the first.

use std::time::Duration;

use flash_testkit::Step::{Answer, Begin, Die, Disobey, Hold};
use flash_testkit::{Script, steps};
use flash_workers::{Limits, Settings};
use serde_json::json;

use crate::trial::{Trial, pool_settings};

fn one_slot() -> Settings {
    Settings { limits: Limits { slots: 1, waiting: 1, ..pool_settings().limits }, ..pool_settings() }
}

#[tokio::test]
async fn a_request_that_its_dead_worker_had_begun_is_a_502_and_the_others_are_answered_by_the_next() {
    let trial = Trial::new(pool_settings()).await;
    let (mut begun, mut held) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        begun.push(trial.send(steps([&[Begin, Hold], &[Answer]])).await);
        held.push(trial.send(steps([&[Hold], &[Answer]])).await);
    }
    // Connections are served in any order: this one asks until the worker has all of them.
    while trial.post(steps([&[Answer]])).await.json()["held"] != 20 {}
    assert_eq!(trial.post(steps([&[Die], &[Answer]])).await.worker(), 2);
    for request in begun {
        let answer = request.answer().await;
        assert_eq!(answer.status, 502);
        let id = answer.header("x-request-id").expect("every answer has one");
        assert_eq!(answer.json(), json!({ "detail": "the worker that ran this request died", "request_id": id }));
    }
    let mut runs = Vec::new();
    for request in held {
        let answer = request.answer().await;
        assert_eq!((answer.status, answer.worker()), (200, 2));
        runs.push(answer.json()["runs"].as_u64().expect("it counts"));
    }
    runs.sort_unstable();
    assert_eq!(runs, (1..=10).collect::<Vec<_>>(), "they went on before the one that came last, each once");
}

#[tokio::test]
async fn beyond_the_slots_and_the_queue_callers_are_told_to_come_again() {
    let trial = Trial::new(one_slot()).await;
    let mut sent = Vec::new();
    for _ in 0..3 {
        sent.push(trial.send(steps([&[Hold]])).await);
    }
    // Which of the three is served last is not ours to say: two have no answer yet.
    let refused = tokio::select! {
        biased;
        answer = sent.remove(0).answer() => answer,
        answer = sent.remove(0).answer() => answer,
        answer = sent.remove(0).answer() => answer,
    };
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(refused.json()["detail"], "too many requests are waiting");
}

#[tokio::test]
async fn a_request_past_its_deadline_is_a_504_and_its_late_answer_goes_nowhere() {
    let trial = Trial::starting(Settings { timeout: Duration::from_millis(200), ..pool_settings() }, json!({ "functions": [] })).await;
    while trial.post(steps([&[Answer]])).await.status != 200 {} // the worker may take its time to start
    let answer = trial.post(steps([&[Disobey, Begin, Hold]])).await;
    assert_eq!((answer.status, answer.json()["detail"].as_str()), (504, Some("Execution timeout on trial after 0.2s")));
    assert_eq!(trial.post(steps([&[Answer, flash_testkit::Step::Release]])).await.worker(), 1);
    assert_eq!(trial.post(steps([&[Answer]])).await.worker(), 1, "the late answer was no breach");
}

#[tokio::test]
async fn a_request_that_waited_for_a_slot_until_its_deadline_is_told_so() {
    let trial = Trial::starting(Settings { timeout: Duration::from_millis(200), ..one_slot() }, json!({ "functions": [] })).await;
    while trial.post(steps([&[Answer]])).await.status != 200 {} // the worker may take its time to start
    let sent = [trial.send(steps([&[Begin, Hold]])).await, trial.send(steps([&[Begin, Hold]])).await];
    let mut details = Vec::new();
    for sent in sent {
        let answer = sent.answer().await;
        assert_eq!(answer.status, 504);
        details.push(answer.json()["detail"].as_str().unwrap_or_default().to_owned());
    }
    details.sort_unstable();
    let waited = "Execution timeout on trial after 0.2s: the request had not begun, for no worker had a free slot; \
                  raise workersMax, max_concurrency or executionTimeoutMs";
    assert_eq!(details, ["Execution timeout on trial after 0.2s", waited]);
}

#[tokio::test]
async fn where_no_worker_can_start_requests_and_ping_are_told_so() {
    let config = json!({ "functions": [], "start": Script(vec![vec![Die]]) });
    let trial = Trial::starting(pool_settings(), config).await;
    let answer = trial.post(steps([&[Answer]])).await;
    let why = "trial cannot run: its workers end as they start; see its log";
    assert_eq!((answer.status, answer.json()["detail"].as_str()), (503, Some(why)));
    assert_eq!(answer.header("retry-after"), Some("1"), "the next try is less than a second away");
    let ping = trial.get("/lb/trial/ping").await;
    assert_eq!((ping.status, ping.json()), (503, json!({ "status": "unhealthy", "detail": why })));
}

#[tokio::test]
async fn a_caller_that_leaves_gives_the_slot_to_the_next() {
    let trial = Trial::new(one_slot()).await;
    let leaves = trial.send(steps([&[Hold]])).await;
    let stays = trial.send(steps([&[Answer]])).await;
    drop(leaves);
    assert_eq!(stays.answer().await.worker(), 1);
}

#[tokio::test]
async fn a_caller_that_leaves_before_its_body_is_whole_has_asked_nothing() {
    let trial = Trial::new(pool_settings()).await;
    let body = Script(vec![vec![Answer]]).body(1000);
    let head = b"POST /lb/trial/run HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1001\r\n\r\n";
    drop(trial.send_raw(&[head, &body[..]].concat()).await);
    assert_eq!(trial.post(steps([&[Answer]])).await.json()["runs"], 2, "the first was that of the trial itself");
}
