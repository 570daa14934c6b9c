//! Requests that could be read in more than one way, and odd ones that are in order: what each is answered, and whether its connection
//! serves another. A request in doubt is refused, its connection ends, and nothing after it is taken for a request.

mod common;

use common::{PING, Server, settings, within};
use tokio::io::AsyncWriteExt as _;

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Open,
    Closed,
}
use Then::{Closed, Open};

/// What a smuggler wants to have taken for a request: it would be answered with 204.
const SMUGGLED: &str = "GET /lb/api/ping HTTP/1.1\r\nHost: localhost\r\n\r\n";

async fn check(server: &Server, name: &str, request: &[u8], status: u16, then: Then) {
    check_in_pieces(server, name, request, status, then, &[request.len(), 1, 7]).await;
}

async fn check_in_pieces(server: &Server, name: &str, request: &[u8], status: u16, then: Then, lengths: &[usize]) {
    for pieces in lengths.iter().copied() {
        let mut caller = server.call().await;
        let _ = caller.stream.set_nodelay(true);
        for piece in request.chunks(pieces) {
            let _ = caller.stream.write_all(piece).await; // it may have been refused by then
            tokio::task::yield_now().await;
        }
        let Some(answer) = within(caller.maybe_answer()).await else { panic!("{name}, in pieces of {pieces}: no answer") };
        assert_eq!(answer.status, status, "{name}, in pieces of {pieces}: {answer:?}");
        if status >= 400 {
            assert!(!answer.detail().is_empty(), "{name}");
        }
        assert_eq!(answer.header("x-request-id").map(str::len), Some(16), "{name}");
        match then {
            Open => assert!(caller.goes_on().await, "{name}, in pieces of {pieces}: the connection was closed"),
            Closed => caller.end().await,
        }
    }
}

/// A POST with these lines in its head, that is refused for its path alone when all else is in order.
fn post(lines: &str, body: &str) -> Vec<u8> {
    format!("POST /lb/none/x HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n{body}").into_bytes()
}

#[tokio::test]
async fn a_body_whose_length_is_in_doubt_is_refused() {
    let server = Server::start(settings()).await;
    let smuggled = format!("0\r\n\r\n{SMUGGLED}");
    let length = format!("Content-Length: {}\r\n", smuggled.len());
    for (name, lines, body, status) in [
        ("both, length first", format!("{length}Transfer-Encoding: chunked\r\n"), &*smuggled, 400),
        ("both, coding first", format!("Transfer-Encoding: chunked\r\n{length}"), &smuggled, 400),
        ("two lengths", format!("{length}Content-Length: 5\r\n"), &smuggled, 400),
        ("the same length twice", format!("{length}{length}"), &smuggled, 400),
        ("a list of lengths", "Content-Length: 3, 3\r\n".into(), "abc", 400),
        ("a signed length", "Content-Length: +3\r\n".into(), "abc", 400),
        ("a negative length", "Content-Length: -1\r\n".into(), SMUGGLED, 400),
        ("a length in hex", "Content-Length: 0x3\r\n".into(), "abc", 400),
        ("no length", "Content-Length:\r\n".into(), SMUGGLED, 400),
        ("the highest length", "Content-Length: 18446744073709551615\r\n".into(), "a", 413),
        ("the highest but one", "Content-Length: 18446744073709551614\r\n".into(), "a", 413),
        ("a length beyond 64 bits", "Content-Length: 18446744073709551617\r\n".into(), "a", 400),
        ("chunked is not last", "Transfer-Encoding: chunked, identity\r\n".into(), &smuggled, 400),
        ("chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n".into(), &smuggled, 400),
        ("chunked twice in a list", "Transfer-Encoding: chunked, chunked\r\n".into(), &smuggled, 501),
        ("another coding", "Transfer-Encoding: gzip\r\n".into(), &smuggled, 400),
        ("a coding before chunked", "Transfer-Encoding: gzip, chunked\r\n".into(), &smuggled, 501),
        ("almost chunked", "Transfer-Encoding: xchunked\r\n".into(), &smuggled, 400),
        ("chunked in quotes", "Transfer-Encoding: \"chunked\"\r\n".into(), &smuggled, 400),
        ("chunked after a control byte", "Transfer-Encoding: \x0bchunked\r\n".into(), &smuggled, 400),
    ] {
        check(&server, name, &post(&lines, body), status, Closed).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_head_with_doubtful_lines_is_refused() {
    let server = Server::start(settings()).await;
    for (name, request) in [
        ("bare LF after the first line", "GET /lb/api/ping HTTP/1.1\nHost: localhost\r\n\r\n"),
        ("bare LF after a field", "GET /lb/api/ping HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n"),
        ("bare LF after what is no request either", "\x19GET / HTTP/1.1\nHost: localhost\r\n\r\n"),
        ("bare LF at the end", "GET /lb/api/ping HTTP/1.1\r\nHost: localhost\r\n\n"),
        ("bare CR in a value", "GET /lb/api/ping HTTP/1.1\r\nHost: localhost\r\nX: a\rb\r\n\r\n"),
        ("bare CR between lines", "GET /lb/api/ping HTTP/1.1\r\nHost: localhost\rX: y\r\n\r\n"),
        ("a folded field", "GET /lb/api/ping HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n"),
        ("a folded field, by a tab", "GET /lb/api/ping HTTP/1.1\r\nHost: localhost\r\nX: a\r\n\tb\r\n\r\n"),
        ("a fold before the first field", "GET /lb/api/ping HTTP/1.1\r\n X: a\r\nHost: localhost\r\n\r\n"),
        ("white space before the colon", "GET /lb/api/ping HTTP/1.1\r\nHost : localhost\r\n\r\n"),
        ("a tab before the colon", "POST /lb/none/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n"),
        ("a field without a name", "GET /lb/api/ping HTTP/1.1\r\nHost: localhost\r\n: x\r\n\r\n"),
        ("a field without a colon", "GET /lb/api/ping HTTP/1.1\r\nHost: localhost\r\nnothing\r\n\r\n"),
        ("a byte 0 in a value", "GET /lb/api/ping HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n"),
        ("a control byte in a value", "GET /lb/api/ping HTTP/1.1\r\nHost: localhost\r\nX: a\x01b\r\n\r\n"),
        ("DEL in a value", "GET /lb/api/ping HTTP/1.1\r\nHost: localhost\r\nX: a\x7fb\r\n\r\n"),
        ("a byte 0 in a name", "GET /lb/api/ping HTTP/1.1\r\nHost: localhost\r\nX\0: a\r\n\r\n"),
        ("a byte 0 in the target", "GET /lb/api/ping\0 HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("two spaces in the first line", "GET  /lb/api/ping HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("a tab in the first line", "GET\t/lb/api/ping HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("a space in the target", "GET /lb/api /ping HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("no version", "GET /lb/api/ping\r\nHost: localhost\r\n\r\n"),
        ("another version", "GET /lb/api/ping HTTP/1.2\r\nHost: localhost\r\n\r\n"),
        ("a version in small letters", "GET /lb/api/ping http/1.1\r\nHost: localhost\r\n\r\n"),
        ("the version of HTTP/2", "GET /lb/api/ping HTTP/2.0\r\nHost: localhost\r\n\r\n"),
    ] {
        check(&server, name, request.as_bytes(), 400, Closed).await;
    }
    for (request, told) in [
        ("GET /lb/api/ping\r\nHost: localhost\r\n\r\n", "its first line has no version at its end, as in `GET / HTTP/1.1`"),
        ("GET /lb/api/ping HTTP/1.1 \r\n\r\n", "its first line ends with white space: it ends with the version, as in `GET / HTTP/1.1`"),
        ("GET /lb/api/ping HTTP/1.1\r\nHost: localhost\r\nX\r\n\r\n", "line 3 of its head has no colon, as in `name: value`"),
    ] {
        let mut caller = server.call().await;
        caller.send([PING, request.as_bytes()].concat()).await;
        assert_eq!(caller.answer().await.status, 204);
        assert_eq!(caller.answer().await.detail(), format!("the request cannot be read: {told}"));
    }
    let mut caller = server.call().await;
    caller.send([PING, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"].concat()).await;
    assert_eq!((caller.answer().await.status, caller.answer().await.status), (204, 400), "the preface of HTTP/2, later");
    caller.end().await;
    server.stop().await;
}

#[tokio::test]
async fn a_chunk_in_doubt_ends_the_connection() {
    let server = Server::start(settings()).await;
    let chunked = |body: &str| {
        let head = "POST /lb/api/echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
        format!("{head}{body}").into_bytes()
    };
    for (name, body) in [
        ("no size", "\r\nabc\r\n0\r\n\r\n"),
        ("a size that is no number", "x\r\nabc\r\n0\r\n\r\n"),
        ("a signed size", "+3\r\nabc\r\n0\r\n\r\n"),
        ("a size in C's hex", "0x3\r\nabc\r\n0\r\n\r\n"),
        ("a size after white space", " 3\r\nabc\r\n0\r\n\r\n"),
        ("a size beyond 64 bits", "10000000000000003\r\nabc\r\n0\r\n\r\n"),
        ("a size with endless zeros", "000000000000000000003\r\nabc\r\n0\r\n\r\n"),
        ("bare LF after a size", "3\nabc\r\n0\r\n\r\n"),
        ("bare LF after a chunk", "3\r\nabc\n0\r\n\r\n"),
        ("bare LF in an extension", "3;a\nbc\r\n0\r\n\r\n"),
        ("bare CR in an extension", "3;a\rb\r\nabc\r\n0\r\n\r\n"),
        ("a byte 0 in an extension", "3;a=\0\r\nabc\r\n0\r\n\r\n"),
        ("a chunk that is longer than its size", "3\r\nabcd\r\n0\r\n\r\n"),
        ("bare LF after the trailers", "0\r\nX: y\r\n\n"),
        ("bare LF in the trailers", "0\r\nX: y\n\r\n"),
        ("white space before a trailer's colon", "0\r\nX : y\r\n\r\n"),
        ("a folded trailer", "0\r\nX: y\r\n z\r\n\r\n"),
    ] {
        check(&server, name, &chunked(&format!("{body}{SMUGGLED}")), 400, Closed).await;
    }
    let long = format!("3;{}\r\nabc\r\n0\r\n\r\n", "a".repeat(17 << 10));
    check(&server, "an endless extension", &chunked(&long), 400, Closed).await;
    let long = format!("0\r\nX: {}\r\n\r\n", "a".repeat(17 << 10));
    check(&server, "an endless trailer", &chunked(&long), 400, Closed).await;
    server.stop().await;
}

#[tokio::test]
async fn what_is_odd_and_in_order_is_served() {
    let server = Server::start(settings()).await;
    for (name, request, status, then) in [
        ("empty lines before the request", "\r\n\r\nGET /lb/api/ping HTTP/1.1\r\nHost: localhost\r\n\r\n", 204, Open),
        ("bare LF before the request", "\nGET /lb/api/ping HTTP/1.1\r\nHost: localhost\r\n\r\n", 204, Open),
        ("white space around values", "GET /lb/api/ping HTTP/1.1\r\nHost:\t localhost \t\r\n\r\n", 204, Open),
        ("bytes beyond ASCII in a value", "GET /lb/api/ping HTTP/1.1\r\nHost: localhost\r\nX: é\r\n\r\n", 204, Open),
        ("a length that is a prefix of others", "GET /lb/api/ping HTTP/1.1\r\nHost: localhost\r\nContent-Length-X: y\r\n\r\n", 204, Open),
        ("an upgrade to h2c", "GET /lb/api/ping HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 204, Open),
        (
            "an upgrade to WebSocket",
            "GET /lb/api/ping HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            204,
            Open,
        ),
        ("an expectation that nobody knows", "GET /lb/api/ping HTTP/1.1\r\nHost: localhost\r\nExpect: gifts\r\n\r\n", 204, Open),
        ("the last request", "GET /lb/api/ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 204, Closed),
        ("close wins", "GET /lb/api/ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n", 204, Closed),
    ] {
        check(&server, name, request.as_bytes(), status, then).await;
    }
    // Their bodies are not read: the connection goes on where they are there already.
    for (name, request, status) in [
        ("a length with zeros before it", "POST /lb/none/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 003\r\n\r\nabc", 404),
        ("a body of a GET", "GET /lb/api/ping HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc", 204),
        (
            "chunks with extensions and trailers",
            "POST /lb/none/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: CHUNKED\r\n\r\n03 ;a=\"b\"\r\nabc\r\n0\r\nX: y\r\n\r\n",
            404,
        ),
    ] {
        check_in_pieces(&server, name, request.as_bytes(), status, Open, &[request.len()]).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_target_and_a_host_name_one_host() {
    let server = Server::start(settings()).await;
    for (name, request, status, then) in [
        ("no host", "GET /lb/api/ping HTTP/1.1\r\n\r\n", 400, Closed),
        ("two hosts", "GET /lb/api/ping HTTP/1.1\r\nHost: localhost\r\nHost: attacker.example\r\n\r\n", 400, Closed),
        ("one host twice", "GET /lb/api/ping HTTP/1.1\r\nHost: localhost\r\nhost: localhost\r\n\r\n", 400, Closed),
        ("an empty host", "GET /lb/api/ping HTTP/1.1\r\nHost:\r\n\r\n", 400, Closed),
        ("a list of hosts", "GET /lb/api/ping HTTP/1.1\r\nHost: localhost, localhost\r\n\r\n", 400, Closed),
        ("a host with a path", "GET /lb/api/ping HTTP/1.1\r\nHost: localhost/x\r\n\r\n", 400, Closed),
        ("a host with a user", "GET /lb/api/ping HTTP/1.1\r\nHost: localhost@attacker.example\r\n\r\n", 400, Closed),
        ("a host with a port that there is not", "GET /lb/api/ping HTTP/1.1\r\nHost: localhost:99999\r\n\r\n", 400, Closed),
        ("a host as the root of all names has it", "GET /lb/api/ping HTTP/1.1\r\nHost: LOCALHOST.\r\n\r\n", 204, Open),
        ("a host with a strange port", "GET /lb/api/ping HTTP/1.1\r\nHost: localhost:http\r\n\r\n", 400, Closed),
        ("another's host", "GET /lb/api/ping HTTP/1.1\r\nHost: attacker.example\r\n\r\n", 421, Open),
        ("a whole URL", "GET http://localhost/lb/api/ping HTTP/1.1\r\nHost: localhost\r\n\r\n", 204, Open),
        ("a whole URL wins over the host", "GET http://localhost/lb/api/ping HTTP/1.1\r\nHost: a.example\r\n\r\n", 204, Open),
        ("another's URL wins over the host", "GET http://a.example/lb/api/ping HTTP/1.1\r\nHost: localhost\r\n\r\n", 421, Open),
        ("a whole URL without a host", "GET http://localhost/lb/api/ping HTTP/1.1\r\n\r\n", 400, Closed),
        ("a whole URL with a user", "GET http://u:p@localhost/lb/api/ping HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, Closed),
        ("a target without a slash", "GET lb/api/ping HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, Closed),
    ] {
        check(&server, name, request.as_bytes(), status, then).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn methods_are_answered_by_their_names() {
    let server = Server::start(settings()).await;
    for (name, request, status, then) in [
        ("a method in small letters", "get /lb/api/items/1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, Open),
        ("a method of nobody", "FROB /lb/api/echo HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, Open),
        ("TRACE", "TRACE /lb/api/echo HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, Open),
        ("TRACE of nothing", "TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n", 404, Open),
        ("OPTIONS of the server", "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 204, Open),
        ("OPTIONS of a route", "OPTIONS /lb/api/echo HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, Open),
        ("GET of the server", "GET * HTTP/1.1\r\nHost: localhost\r\n\r\n", 404, Open),
        ("a tunnel", "CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n\r\n", 501, Closed),
        (
            "a tunnel, and what goes through it",
            &format!("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n{SMUGGLED}"),
            501,
            Closed,
        ),
    ] {
        check(&server, name, request.as_bytes(), status, then).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn of_http_1_0_a_connection_serves_one_request_unless_asked_for_more() {
    let server = Server::start(settings()).await;
    for (name, lines, status, then) in [
        ("a host", "Host: localhost\r\n", 204, Closed),
        ("asked for more", "Host: localhost\r\nConnection: keep-alive\r\n", 204, Open),
        ("no host, on loopback", "", 421, Closed),
        ("two hosts", "Host: localhost\r\nHost: localhost\r\n", 400, Closed),
        ("chunks, which it does not know", "Host: localhost\r\nTransfer-Encoding: chunked\r\n", 400, Closed),
    ] {
        check(&server, name, format!("GET /lb/api/ping HTTP/1.0\r\n{lines}\r\n").as_bytes(), status, then).await;
    }
    let mut caller = server.call().await;
    caller.send("GET /lb/api/ping HTTP/1.0\r\n\r\n").await;
    assert!(caller.answer().await.detail().starts_with("the request has no Host, "));
    server.stop().await;
}

#[tokio::test]
async fn a_doubtful_request_does_not_cost_those_before_it_their_answers() {
    let server = Server::start(settings()).await;
    for doubtful in [
        "GET / HTTP/1.1\r\nA: b\n",
        "GET / HTTP/1.1\nHost: localhost\r\n\r\n",
        "BAD / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        "GET  / HTTP/1.1\r\n\r\n",
    ] {
        let mut caller = server.call().await;
        caller.send([PING, PING, doubtful.as_bytes(), PING].concat()).await;
        assert_eq!((caller.answer().await.status, caller.answer().await.status), (204, 204));
        let refusal = caller.answer().await;
        assert_eq!(refusal.status, 400);
        assert!(!refusal.detail().is_empty());
        caller.end().await;
    }
    server.stop().await;
}
