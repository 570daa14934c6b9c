//! What a worker must not send.

use flash_testkit::Step::{self, Answer, Begin, Bytes, Frame, Hold};
use flash_testkit::steps;
use flash_wire::Kind;

use crate::trial::{Trial, settings};

/// An ANSWER's payload: status 200, no flags, no head, no body.
const EMPTY_ANSWER: [u8; 7] = [200, 0, 0, 0, 0, 0, 0];

fn frame(kind: Kind, further: u32, payload: &[u8]) -> Step {
    Frame(kind as u8, further, payload.to_vec())
}

fn breaches() -> [(&'static str, Step); 10] {
    [
        ("an answer to a request that its slot is yet to have", frame(Kind::Answer, 1 << 16, &EMPTY_ANSWER)),
        ("an answer to a slot that is free", frame(Kind::Answer, 1, &EMPTY_ANSWER)),
        ("an answer to a slot that there is none of", frame(Kind::Answer, 1000, &EMPTY_ANSWER)),
        ("a chunk without its answer", frame(Kind::Chunk, 0, &[0])),
        ("a chunk without flags", frame(Kind::Chunk, 0, &[])),
        ("an answer that is cut short", frame(Kind::Answer, 0, &EMPTY_ANSWER[..6])),
        ("an answer whose head is longer than itself", frame(Kind::Answer, 0, &[200, 0, 0, 1, 0, 0, 0])),
        ("a kind that workers do not send", frame(Kind::Fork, 0, b"{}")),
        ("a kind that there is none of", Frame(99, 0, Vec::new())),
        ("a frame longer than any may be", Bytes(vec![0xFF; 9])),
    ]
}

#[tokio::test]
async fn a_breach_ends_the_worker_and_costs_the_requests_it_had_begun_and_no_other() {
    for (what, breach) in breaches() {
        let trial = Trial::new(settings());
        let begun = trial.send(steps([&[Begin, Hold], &[Answer]]));
        let held = trial.send(steps([&[Hold], &[Answer]]));
        let breaching = trial.send(steps([&[breach, Hold], &[Answer]]));
        assert_eq!(held.worker().await.number, 2, "{what}");
        assert_eq!(breaching.worker().await.number, 2, "{what}");
        assert!(begun.was_lost().await, "{what}");
    }
}

#[tokio::test]
async fn what_came_before_a_breach_is_answered() {
    let trial = Trial::new(settings());
    let answered_twice = trial.send(steps([&[Begin, Answer, Answer]]));
    assert_eq!(answered_twice.worker().await.number, 1);
    assert_eq!(trial.send(steps([&[Answer]])).worker().await.number, 2);
}
