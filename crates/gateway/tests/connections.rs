//! How long a connection may wait for its caller, and how many there may be.

mod common;

use std::time::Duration;

use common::{Caller, PING, Server, settings, within};
use flash_gateway::Settings;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::AsyncWriteExt as _;

/// A limit that a test meets. It waits for what comes of it, however long that takes.
const SOON: Duration = Duration::from_millis(100);

/// A request that is answered when its time is over: no worker is there.
const UNANSWERED: &[u8] = b"POST /lb/api/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}";

/// Goes on sending a byte at a time until there is an answer.
async fn trickle(caller: &mut Caller, byte: &[u8]) -> common::Answer {
    within(async {
        loop {
            let _ = caller.stream.write_all(byte).await; // it may have been closed
            tokio::select! {
                answer = caller.answer() => return answer,
                () = tokio::time::sleep(SOON / 10) => {}
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_head_that_trickles_in_is_answered_when_its_time_is_over() {
    let server = Server::start(Settings { head_timeout: SOON, ..settings() }).await;
    for begun in ["P", "PRI * HTTP/2", "GET /lb/api/ping HT", "GET /lb/api/ping HTTP/1.1\r\nHost: localhost\r\nX: "] {
        for before in [0, 2] {
            let mut caller = server.call().await;
            for _ in 0..before {
                assert!(caller.goes_on().await);
            }
            caller.send(begun).await;
            let answer = trickle(&mut caller, b"a").await;
            // After other first bytes a letter makes nonsense of the line.
            if begun.contains('\n') {
                assert_eq!((answer.status, answer.header("connection")), (408, Some("close")), "{begun:?}: {answer:?}");
                assert_eq!(answer.detail(), "the request's head did not come in time");
                assert_eq!(answer.header("x-request-id").map(str::len), Some(16));
            }
            caller.end().await;
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_head_that_stops_is_answered_when_its_time_is_over() {
    let server = Server::start(Settings { head_timeout: SOON, ..settings() }).await;
    for begun in ["P", "PRI * HTTP/2", "G", "GET /lb/api/ping HTTP/1.1\r\n", "\r\n\r\nGET /lb/api/ping HTTP/1.1\r\nHost: localhost\r\n"] {
        let mut caller = server.call().await;
        caller.send(begun).await;
        assert_eq!(caller.answer().await.status, 408, "{begun:?}");
        caller.end().await;
    }
    server.stop().await;
}

#[tokio::test]
async fn who_sends_nothing_is_closed_without_a_word() {
    let server = Server::start(Settings { head_timeout: SOON, ..settings() }).await;
    server.call().await.end().await;
    let mut empty_lines = server.call().await;
    empty_lines.send("\r\n\r\n").await;
    empty_lines.end().await;
    server.stop().await;

    let server = Server::start(Settings { idle_timeout: SOON, ..settings() }).await;
    let mut used = server.call().await;
    assert!(used.goes_on().await);
    used.end().await;
    server.stop().await;
}

#[tokio::test]
async fn between_requests_the_limit_on_heads_does_not_hold() {
    let server = Server::start(Settings { head_timeout: SOON, ..settings() }).await;
    let (mut idle, mut slow) = (server.call().await, server.call().await);
    assert!(idle.goes_on().await);
    slow.send("GET /").await;
    assert_eq!(slow.answer().await.status, 408);
    assert!(idle.goes_on().await);
    server.stop().await;
}

#[tokio::test]
async fn while_a_request_is_answered_no_limit_on_waits_holds() {
    let server = Server::start(Settings { head_timeout: SOON / 10, idle_timeout: SOON / 10, timeout: 5 * SOON, ..settings() }).await;
    let mut caller = server.call().await;
    // Part of the next head is there, whose time begins when its turn has come.
    caller.send([UNANSWERED, b"GET /"].concat()).await;
    assert_eq!(caller.answer().await.status, 504);
    assert_eq!(caller.answer().await.status, 408);
    caller.end().await;
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_trickles_in_is_answered_when_its_time_is_over() {
    let server = Server::start(Settings { timeout: 2 * SOON, ..settings() }).await;
    for head in ["Content-Length: 1000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\nfffff\r\n"] {
        let mut caller = server.call().await;
        caller.send(format!("POST /lb/api/echo HTTP/1.1\r\nHost: localhost\r\n{head}")).await;
        let answer = trickle(&mut caller, b" ").await;
        assert_eq!((answer.status, answer.detail().as_str()), (408, "the body did not come in time"));
        caller.end().await;
    }
    server.stop().await;
}

#[tokio::test]
async fn who_reads_no_answers_is_not_waited_for() {
    let server = Server::start(Settings { write_timeout: SOON, ..settings() }).await;
    let mut deaf = server.call().await;
    let many = PING.repeat(1000);
    // Its answers fill all buffers, and then nothing is read from it either.
    while within(deaf.stream.write_all(&many)).await.is_ok() {}
    server.stop().await;
}

#[tokio::test]
async fn who_has_waited_longest_for_a_request_makes_way() {
    let server = Server::start(Settings { connections: 3, head_timeout: SOON * 20, ..settings() }).await;
    let (mut first, mut second, mut third) = (server.call().await, server.call().await, server.call().await);
    for caller in [&mut first, &mut second, &mut third] {
        assert!(caller.goes_on().await);
    }
    let mut next = server.call().await;
    next.send(PING).await;
    let answer = within(async {
        loop {
            // These two are at work meanwhile.
            assert!(second.goes_on().await && third.goes_on().await);
            tokio::select! {
                answer = next.answer() => return answer,
                () = tokio::task::yield_now() => {}
            }
        }
    });
    let answer = answer.await;
    assert_eq!(answer.status, 204);
    first.end().await;
    assert!(second.goes_on().await && third.goes_on().await && next.goes_on().await);
    server.stop().await;
}

#[tokio::test]
async fn a_head_that_has_stopped_makes_way_with_an_answer() {
    let server = Server::start(Settings { connections: 1, ..settings() }).await;
    let mut stopped = server.call().await;
    stopped.send("GET / HTTP/1.1\r\n").await;
    let mut next = server.call().await;
    assert!(next.goes_on().await);
    let answer = stopped.answer().await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert_eq!(answer.detail(), "too many connections are open");
    stopped.end().await;
    server.stop().await;
}

#[tokio::test]
async fn where_all_are_at_work_the_next_one_waits() {
    let server = Server::start(Settings { connections: 2, timeout: 5 * SOON, ..settings() }).await;
    let (mut first, mut second) = (server.call().await, server.call().await);
    first.send(UNANSWERED).await;
    second.send(UNANSWERED).await;
    let mut next = server.call().await;
    next.send(PING).await;
    assert_eq!((first.answer().await.status, second.answer().await.status), (504, 504));
    assert_eq!(next.answer().await.status, 204);
    server.stop().await;
}

#[tokio::test]
async fn a_thousand_idle_connections_disturb_nobody() {
    allow_descriptors(2500);
    let server = Server::start(settings()).await;
    let mut idle = Vec::new();
    for number in 0..1000 {
        let mut caller = server.call().await;
        if number % 2 == 0 {
            assert!(caller.goes_on().await);
        }
        idle.push(caller);
    }
    let mut working = server.call().await;
    for _ in 0..1000 {
        assert!(working.goes_on().await);
    }
    for caller in &mut idle {
        assert!(caller.goes_on().await);
    }
    server.stop().await;
}

/// Both ends of all connections are in this process.
fn allow_descriptors(count: u64) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < count) {
        let raised = Rlimit { current: Some(count), maximum: limit.maximum };
        setrlimit(Resource::Nofile, raised).expect("the system lets a process have some thousand descriptors");
    }
}
