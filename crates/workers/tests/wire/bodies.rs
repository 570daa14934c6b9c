//! Bodies of any size, and what is printed.

use bytes::Bytes;
use flash_testkit::Step::{Answer, AnswerBytes, AnswerHalf, Begin, Frame, Print, Release};
use flash_testkit::{Script, steps};
use flash_wire::Kind;
use flash_workers::{Call, Cancel, Event, Limits, Settings};

use crate::trial::{Trial, settings};

/// Many frames, and more than any socket buffers.
const LARGE: usize = 20 << 20;

#[tokio::test]
async fn a_large_answer_comes_whole() {
    let trial = Trial::new(settings());
    let body = trial.send(steps([&[Begin, AnswerBytes(LARGE)]])).body().await;
    assert!(body.len() == LARGE && body.iter().all(|byte| *byte == b'x'));
}

#[tokio::test]
async fn a_large_request_goes_whole_and_small_ones_pass_it() {
    let trial = Trial::new(settings());
    let large = trial.send(Script(vec![vec![Answer]]).body(LARGE));
    for nth in 1..=3 {
        // The second is sent when the large one is on its way.
        assert_eq!(trial.send(steps([&[Answer]])).worker().await.runs, nth);
    }
    let large = large.worker().await;
    assert_eq!((large.runs, large.bytes), (4, LARGE));
}

#[tokio::test]
async fn answers_in_pieces_may_be_interleaved() {
    let trial = Trial::new(settings());
    let halves = [(); 2].map(|()| trial.send(steps([&[Begin, AnswerHalf]])));
    assert_eq!(trial.send(steps([&[Begin, Answer, Release]])).worker().await.number, 1);
    for half in halves {
        assert_eq!(half.body().await, "half, and the rest");
    }
}

#[tokio::test]
async fn a_request_given_up_while_its_body_travels_never_runs_and_its_slot_comes_back() {
    let trial = Trial::new(Settings { limits: Limits { slots: 1, ..settings().limits }, ..settings() });
    trial.send(steps([&[Answer]])).worker().await;
    drop(trial.send(Script(vec![vec![Print("it ran".into()), Answer]]).body(LARGE)));
    assert_eq!(trial.send(steps([&[Answer]])).worker().await.number, 1);
    assert_eq!(trial.printed(), "");
}

fn output(text: &str) -> flash_testkit::Step {
    Frame(Kind::Output as u8, 0, [b"\x01", text.as_bytes()].concat())
}

#[tokio::test]
async fn what_a_request_prints_has_its_tag_and_comes_before_its_answer() {
    let trial = Trial::new(settings());
    let script = steps([&[Begin, output("by seven\n"), Answer]]);
    trial.send_tagged(script, 7).worker().await;
    assert_eq!(trial.printed(), "Some(7) 1: by seven\n");
}

#[tokio::test]
async fn what_a_live_call_prints_in_either_way_comes_before_its_answer() {
    let trial = Trial::new(settings());
    let body = steps([&[Begin, Print("by the descriptor".into()), output("by a frame\n"), Answer]]);
    let mut events = trial.pool.call(Call { body, timeout: None, queued: false, cancel: Cancel::UnlessBegun });
    let mut texts = Vec::new();
    while let Some(event) = std::future::poll_fn(|context| events.poll_next(context)).await {
        match event {
            Event::Output(stream, text) => texts.push((stream, text)),
            other => assert!(matches!(other, Event::End(_))),
        }
    }
    texts.sort();
    assert_eq!(texts, [(1, Bytes::from("by a frame\n")), (1, Bytes::from("by the descriptor\n"))]);
    assert_eq!(trial.printed(), "", "none of it is for the log");
}
