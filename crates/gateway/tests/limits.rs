//! Limits on what a request may be, and what is answered before it is all there.

mod common;

use common::{Answer, Caller, PING, Server, settings};
use flash_gateway::Settings;
use tokio::io::AsyncWriteExt as _;

fn get(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")
}

#[tokio::test]
async fn answers_come_in_the_order_of_their_requests() {
    let server = Server::start(settings()).await;
    let mut caller = server.call().await;
    let requests: String = (0..200).map(|number| get(["/lb/api/ping", "/lb/api/echo", "/none"][number % 3], "")).collect();
    caller.send(requests).await;
    for number in 0..200 {
        assert_eq!(caller.answer().await.status, [204, 405, 404][number % 3], "request {number}");
    }
    assert!(caller.goes_on().await);
    server.stop().await;
}

#[tokio::test]
async fn who_expects_to_be_told_to_continue_is() {
    let server = Server::start(Settings { timeout: std::time::Duration::from_millis(300), ..settings() }).await;
    for rest in ["Content-Length: 2\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n"] {
        let mut caller = server.call().await;
        caller.send(format!("POST /lb/api/echo HTTP/1.1\r\nHost: localhost\r\nExpect: 100-Continue\r\n{rest}")).await;
        assert_eq!(caller.answer().await.status, 100);
        caller.send(if rest.starts_with('C') { "{}" } else { "2\r\n{}\r\n0\r\n\r\n" }).await;
        assert_eq!(caller.answer().await.status, 504, "no worker is there");
        assert!(caller.goes_on().await);
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_refused_for_its_head_is_refused_before_its_body_is_sent() {
    let server = Server::start(Settings { body_bytes: 1000, ..settings() }).await;
    for expect in ["", "Expect: 100-continue\r\n"] {
        for (target, length, status) in [("/lb/api/echo", 1001, 413), ("/lb/api/none", 10, 404), ("/lb/api/ping", 10, 405)] {
            let mut caller = server.call().await;
            caller.send(format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n{expect}Content-Length: {length}\r\n\r\n")).await;
            let answer = caller.answer().await;
            assert_eq!(answer.status, status, "{target}");
            // Whether the body comes after all cannot be known: what comes next is taken for nothing.
            let _ = caller.stream.write_all(PING).await;
            caller.end().await;
        }
    }
    let mut caller = server.call().await;
    let chunk = format!("200\r\n{}\r\n", " ".repeat(512));
    caller.send(format!("POST /lb/api/echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}{chunk}")).await;
    let answer = caller.answer().await;
    assert_eq!((answer.status, answer.detail().as_str()), (413, "the body is longer than the 1000 bytes that are allowed"));
    caller.end().await;
    server.stop().await;
}

#[tokio::test]
async fn large_bodies_have_a_limit_together() {
    let server = Server::start(Settings { bodies_bytes: 900 << 10, ..settings() }).await;
    /// A caller that ends its side after this many bytes: if they are taken it is asked whether it is there, for there is no worker.
    async fn sent(server: &Server, length: usize) -> (Caller, Answer) {
        let mut caller = server.call().await;
        caller.send(format!("POST /lb/api/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n")).await;
        let _ = caller.stream.write_all(" ".repeat(length).as_bytes()).await; // it may be refused half-way
        let _ = caller.stream.shutdown().await;
        let answer = caller.answer().await;
        (caller, answer)
    }
    const LARGE: usize = 500 << 10;
    let (first, taken) = sent(&server, LARGE).await;
    let (second, also_taken) = sent(&server, LARGE).await;
    assert_eq!((taken.status, also_taken.status), (100, 100));

    let (mut third, refused) = sent(&server, LARGE).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{refused:?}");
    assert_eq!(refused.detail(), "too many large bodies are being read or worked on");
    third.end().await;
    assert_eq!(sent(&server, 60 << 10).await.1.status, 100, "small ones are not counted");

    for caller in [first, second] {
        caller.stream.set_zero_linger().expect("it is a socket");
    }
    // It takes a moment until it is known that they have left.
    common::within(async { while sent(&server, LARGE).await.1.status == 503 {} }).await;
}

#[tokio::test]
async fn heads_have_a_limit_in_bytes_and_in_fields() {
    let server = Server::start(settings()).await;
    let fields = |count: usize| (0..count).map(|number| format!("X-{number}: y\r\n")).collect::<String>();
    for (name, request, status) in [
        ("99 fields and a host", get("/lb/api/ping", &fields(99)), 204),
        ("100 fields and a host", get("/lb/api/ping", &fields(100)), 431),
        ("100,000 fields", get("/lb/api/ping", &fields(100_000)), 431),
        ("a field of 60 KiB", get("/lb/api/ping", &format!("X: {}\r\n", "y".repeat(60 << 10))), 204),
        ("a field of 64 KiB", get("/lb/api/ping", &format!("X: {}\r\n", "y".repeat(64 << 10))), 431),
        ("a field of 8 MiB", get("/lb/api/ping", &format!("X: {}\r\n", "y".repeat(8 << 20))), 431),
        ("a name of 63 KiB", get("/lb/api/ping", &format!("{}: y\r\n", "X".repeat(63 << 10))), 204),
        ("a name of 65 KiB", get("/lb/api/ping", &format!("{}: y\r\n", "X".repeat(65 << 10))), 431),
        ("a URL of 60 KiB", get(&format!("/lb/api/ping?{}", "q".repeat(60 << 10)), ""), 204),
        ("a URL of 65,000 bytes", get(&format!("/{}", "q".repeat(65_000)), ""), 404),
        ("a URL of 64 KiB", get(&format!("/{}", "q".repeat(64 << 10)), ""), 414),
        ("a URL of 8 MiB", get(&format!("/{}", "q".repeat(8 << 20)), ""), 431),
        ("a method of 60 KiB", get("/", "").replace("GET", &"G".repeat(60 << 10)), 404),
    ] {
        let mut caller = server.call().await;
        // It may be refused before all of it is sent.
        let _ = caller.stream.write_all(request.as_bytes()).await;
        let answer = caller.answer().await;
        assert_eq!(answer.status, status, "{name}");
        assert!(status < 400 || !answer.detail().is_empty(), "{name}");
        if status == 431 {
            let reason =
                if name.contains("fields") { "more than the 100 fields that are allowed: 1" } else { "longer than the 65536 bytes" };
            assert!(answer.detail().contains(reason), "{name}: {}", answer.detail());
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_path_is_decoded_once() {
    let server = Server::start(settings()).await;
    for (target, status) in [
        ("/lb/api/%70ing", 204),
        ("/lb/%61pi/ping", 204),
        ("/lb/api%2Fping", 404),
        ("/lb/api/%2570ing", 404),
        (&format!("/lb/api/%{}70ing", "25".repeat(20_000)), 404),
        ("/lb/api/%", 404),
        ("/lb/api/%zz", 404),
        ("/lb/api/%ff%00", 404),
        ("/lb/api/../api/ping", 404),
        ("/lb/api/%2e%2e/api/ping", 404),
        ("//lb/api/ping", 404),
        ("/lb//ping", 404),
        ("/lb/api/ping#fragment", 204),
        ("/lb/api/ping?%", 204),
    ] {
        let mut caller = server.call().await;
        caller.send(get(target, "")).await;
        assert_eq!(caller.answer().await.status, status, "{target:.60}");
        assert!(caller.goes_on().await);
    }
    server.stop().await;
}
