//! What workers answer, and what becomes of it in HTTP.

use flash_testkit::Step::{AnswerBytes, AnswerWith, Begin};
use flash_testkit::steps;
use serde_json::json;

use crate::trial::{Answer, Trial, pool_settings};

async fn answer(status: u16, head: &str, body: &str) -> Answer {
    let trial = Trial::new(pool_settings()).await;
    trial.post(steps([&[Begin, AnswerWith(status, head.into(), body.into())]])).await
}

#[tokio::test]
async fn a_status_that_http_has_no_final_answer_for_is_a_failure_with_the_request_s_id() {
    for status in [0, 42, 100, 101, 199, 1000, u16::MAX] {
        let answer = answer(status, "", "1").await;
        let id = answer.header("x-request-id").expect("every answer has one").to_owned();
        assert_eq!((answer.status, answer.json()), (500, json!({ "detail": "Internal Server Error", "request_id": id })), "{status}");
    }
}

#[tokio::test]
async fn a_500_without_anything_has_the_request_s_id_and_one_with_a_body_keeps_it() {
    let bare = answer(500, "", "").await;
    assert_eq!(bare.json()["request_id"].as_str(), bare.header("x-request-id"));
    let told = answer(500, "", r#"{"mine": 1}"#).await;
    assert_eq!((told.status, told.json()), (500, json!({ "mine": 1 })));
}

#[tokio::test]
async fn any_other_status_is_passed_on_with_its_body_unless_it_has_none() {
    for status in [200, 201, 299, 302, 404, 418, 599, 999] {
        let answer = answer(status, "", "1").await;
        assert_eq!((answer.status, &answer.body[..], answer.header("content-type")), (status, &b"1"[..], Some("application/json")));
    }
    for status in [204, 304] {
        let trial = Trial::new(pool_settings()).await;
        let answer = trial.post(steps([&[Begin, AnswerWith(status, String::new(), "1".into())]])).await;
        assert_eq!((answer.status, &answer.body[..]), (status, &b""[..]));
    }
}

#[tokio::test]
async fn headers_are_passed_on_but_for_the_gateway_s_own_and_those_that_http_does_not_allow() {
    let head = json!([
        ["content-type", "text/plain"],
        ["X-Mine", "1"],
        ["Set-Cookie", "a=1"],
        ["set-cookie", "b=2"],
        ["content-length", "1000"],
        ["Transfer-Encoding", "chunked"],
        ["connection", "close"],
        ["upgrade", "h2c"],
        ["no name", "1"],
        ["x-lines", "1\r\nx-smuggled: 1"],
        ["x-request-id", "not mine"],
    ]);
    let answer = answer(200, &head.to_string(), "text").await;
    let mut lines: Vec<&str> = answer.head.lines().skip(1).filter(|line| !line.starts_with("date: ")).collect();
    lines.sort_unstable();
    let [.., id] = lines[..] else { panic!("every answer has an id") };
    assert!(id.starts_with("x-request-id: 0"), "{id}");
    assert_eq!(
        lines[..lines.len() - 1],
        ["content-length: 4", "content-type: text/plain", "set-cookie: a=1", "set-cookie: b=2", "x-mine: 1"]
    );
}

#[tokio::test]
async fn a_head_that_is_not_what_it_should_be_counts_as_none() {
    for head in ["{}", "nonsense", r#"[["x-mine", 1]]"#, r#"[["x-mine"]]"#] {
        let answer = answer(201, head, "1").await;
        assert_eq!(
            (answer.status, answer.header("content-type"), answer.header("x-mine")),
            (201, Some("application/json"), None),
            "{head}"
        );
    }
}

#[tokio::test]
async fn an_answer_has_no_content_type_where_the_function_gave_it_none() {
    for head in ["[]", r#"[["x-mine", "1"]]"#] {
        let answer = answer(200, head, "text").await;
        assert_eq!((answer.status, &answer.body[..], answer.header("content-type")), (200, &b"text"[..], None), "{head}");
    }
}

#[tokio::test]
async fn a_large_answer_comes_whole() {
    let trial = Trial::new(pool_settings()).await;
    let answer = trial.post(steps([&[Begin, AnswerBytes(20 << 20)]])).await;
    assert!(answer.body.len() == 20 << 20 && answer.body.iter().all(|byte| *byte == b'x'));
}
