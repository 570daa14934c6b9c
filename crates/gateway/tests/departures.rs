//! Callers that end their side of a connection, or leave: the first get their answers, the others' requests are given up.

mod common;

use std::time::Duration;

use common::{NEVER, PING, Server, settings, within};
use flash_gateway::Settings;
use tokio::io::AsyncWriteExt as _;

const SOON: Duration = Duration::from_millis(500);
/// A request that waits for its time to be over: no worker is there.
const WAITING: &str = "POST /lb/api/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}";

#[tokio::test]
async fn who_ends_its_side_after_whole_requests_gets_all_answers() {
    let server = Server::start(Settings { timeout: SOON, ..settings() }).await;
    for (requests, expected) in [
        (PING.to_vec(), &[204][..]),
        (PING.repeat(3), &[204, 204, 204]),
        // An interim answer comes first, which tells who waits from who is gone.
        (WAITING.as_bytes().to_vec(), &[100, 504]),
        ([PING, WAITING.as_bytes(), PING].concat(), &[204, 100, 504, 204]),
        (WAITING.repeat(3).into_bytes(), &[100, 504, 504, 100, 504]),
        (WAITING.replace("1.1", "1.0").into_bytes(), &[504]),
    ] {
        let mut caller = server.call().await;
        caller.send(&requests).await;
        within(caller.stream.shutdown()).await.expect("the connection is open");
        let mut statuses = Vec::new();
        while let Some(answer) = within(caller.maybe_answer()).await {
            statuses.push(answer.status);
        }
        assert_eq!(statuses, expected, "{:?}", String::from_utf8_lossy(&requests));
    }
    server.stop().await;
}

#[tokio::test]
async fn who_ends_its_side_while_it_waits_gets_its_answer() {
    let server = Server::start(Settings { timeout: SOON, ..settings() }).await;
    let mut caller = server.call().await;
    caller.send(WAITING.replace("Content-Length", "Expect: 100-continue\r\nContent-Length")).await;
    assert_eq!(caller.answer().await.status, 100);
    within(caller.stream.shutdown()).await.expect("the connection is open");
    assert_eq!(caller.answer().await.status, 100);
    assert_eq!(caller.answer().await.status, 504);
    caller.end().await;
    server.stop().await;
}

#[tokio::test]
async fn who_ends_its_side_within_a_request_gets_none() {
    let server = Server::start(settings()).await;
    for begun in ["G", "GET /lb/api/ping HTTP/1.1\r\nHost: localhost\r\n"] {
        let mut caller = server.call().await;
        caller.send([PING, begun.as_bytes()].concat()).await;
        within(caller.stream.shutdown()).await.expect("the connection is open");
        assert_eq!(caller.answer().await.status, 204);
        caller.end().await;
    }
    let chunked = "POST /lb/api/echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (begun, come) in [
        (WAITING[..WAITING.len() - 1].to_owned(), "after 1 of its 2 bytes"),
        (WAITING[..WAITING.len() - 2].to_owned(), "after 0 of its 2 bytes"),
        (format!("{chunked}2\r\n{{"), "before its last chunk; 1 of its bytes had come"),
        (format!("{chunked}2\r\n{{}}\r\n"), "before its last chunk; 2 of its bytes had come"),
    ] {
        let mut caller = server.call().await;
        caller.send(begun).await;
        within(caller.stream.shutdown()).await.expect("the connection is open");
        let answer = caller.answer().await;
        assert_eq!((answer.status, answer.detail().as_str()), (400, &*format!("the body broke off {come}")));
        caller.end().await;
    }
    server.stop().await;
}

#[tokio::test]
async fn the_request_of_who_has_left_is_given_up() {
    for reset in [false, true] {
        let server = Server::start(Settings { timeout: NEVER, ..settings() }).await;
        let mut callers = Vec::new();
        for _ in 0..20 {
            let mut caller = server.call().await;
            // The interim answer to this one says that the request has arrived.
            caller.send(WAITING.replace("Content-Length", "Expect: 100-continue\r\nContent-Length")).await;
            assert_eq!(caller.answer().await.status, 100);
            callers.push(caller);
        }
        for caller in callers {
            if reset {
                caller.stream.set_zero_linger().expect("it is a socket");
            }
        }
        server.until_given_up().await;
        server.stop().await;
    }
}

#[tokio::test]
async fn who_has_left_is_missed_by_what_stands_before_its_later_requests() {
    for (reset, later) in [(false, 1), (true, 1), (false, 500)] {
        let server = Server::start(Settings { timeout: NEVER, ..settings() }).await;
        let mut caller = server.call().await;
        // The interim answer to this one says that the request has arrived.
        caller.send(WAITING.replace("Content-Length", "Expect: 100-continue\r\nContent-Length")).await;
        assert_eq!(caller.answer().await.status, 100);
        caller.send(WAITING.repeat(later)).await;
        if reset {
            caller.stream.set_zero_linger().expect("it is a socket");
        }
        drop(caller);
        server.until_given_up().await;
        server.stop().await;
    }
}

#[tokio::test]
async fn who_leaves_within_a_body_costs_nothing_more() {
    let server = Server::start(settings()).await;
    for rest in ["Content-Length: 9\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n9\r\n{"] {
        let mut caller = server.call().await;
        caller.send(format!("POST /lb/api/echo HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n{rest}")).await;
        assert_eq!(caller.answer().await.status, 100);
    }
    // Its time is without end: it stops once no connection has anything to do.
    server.stop().await;
}
