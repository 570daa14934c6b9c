//! HTTP/2 without TLS: many requests at once, and callers that abuse what the protocol lets them do.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{Caller, NEVER, Server, settings, within};
use flash_gateway::Settings;
use h2::client::{Builder, SendRequest};
use http::{Method, Request, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// A limit that a test meets. It waits for what comes of it, however long that takes.
const SOON: Duration = Duration::from_millis(300);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A caller that keeps to the rules.
struct Client {
    requests: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl Client {
    async fn connect(server: &Server) -> Self {
        Self::connect_as(server, &Builder::new()).await
    }

    async fn connect_as(server: &Server, builder: &Builder) -> Self {
        let stream = within(TcpStream::connect(server.address)).await.unwrap();
        let (requests, connection) = within(builder.handshake(stream)).await.unwrap();
        Self { requests, connection: tokio::spawn(connection) }
    }

    /// Sends a request; its answer's status comes later.
    async fn send(&mut self, request: Request<()>, body: Option<Bytes>) -> (h2::client::ResponseFuture, h2::SendStream<Bytes>) {
        let mut ready = within(self.requests.clone().ready()).await.unwrap();
        let (response, mut stream) = ready.send_request(request, body.is_none()).unwrap();
        if let Some(body) = body {
            stream.send_data(body, true).unwrap();
        }
        (response, stream)
    }

    async fn status(&mut self, request: Request<()>) -> StatusCode {
        within(self.send(request, None).await.0).await.unwrap().status()
    }
}

fn request(method: Method, path: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("http://localhost{path}")).body(()).unwrap()
}

fn ping() -> Request<()> {
    request(Method::GET, "/lb/api/ping")
}

#[tokio::test]
async fn a_thousand_requests_are_in_flight_on_one_connection() {
    let server = Server::start(Settings { timeout: 2 * SOON, ..settings() }).await;
    let mut client = Client::connect(&server).await;
    assert_eq!(client.status(ping()).await, 204);
    assert_eq!(client.requests.current_max_send_streams(), 1000);
    let mut sent = Vec::new();
    for _ in 0..1000 {
        sent.push(client.send(request(Method::POST, "/lb/api/echo"), Some(Bytes::from_static(b"{}"))).await);
    }
    // Each waits for a worker until its time is over.
    for (response, _stream) in sent {
        assert_eq!(within(response).await.unwrap().status(), 504);
    }
    assert_eq!(client.status(ping()).await, 204);
    server.stop().await;
}

#[tokio::test]
async fn a_request_s_host_is_the_one_it_is_addressed_to() {
    let server = Server::start(settings()).await;
    let mut client = Client::connect(&server).await;
    for (uri, hosts, status) in [
        ("http://localhost/lb/api/ping", &[][..], 204),
        ("http://localhost/lb/api/ping", &["localhost"], 204),
        ("http://localhost:80/lb/api/ping", &["LOCALHOST"], 204),
        ("http://a.example/lb/api/ping", &[], 421),
        ("http://a.example/lb/api/ping", &["localhost"], 400),
        ("http://localhost/lb/api/ping", &["a.example"], 400),
        ("http://localhost/lb/api/ping", &["localhost", "localhost"], 400),
        ("http://u:p@localhost/lb/api/ping", &[], 400),
    ] {
        let mut request = Request::builder().uri(uri);
        for host in hosts {
            request = request.header("host", *host);
        }
        assert_eq!(client.status(request.body(()).unwrap()).await, status, "{uri} {hosts:?}");
    }
    let tunnel = Request::builder().method(Method::CONNECT).uri("localhost:80").body(()).unwrap();
    assert_eq!(client.status(tunnel).await, 501);
    server.stop().await;
}

#[tokio::test]
async fn heads_are_held_to_the_rules_of_http_1() {
    let server = Server::start(settings()).await;
    let mut client = Client::connect(&server).await;
    let fields = |count: usize| (0..count).map(|number| (format!("x-{number}"), "y".to_owned())).collect::<Vec<_>>();
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let large = vec![field("x", &"y".repeat(100_000))];
    let (once, twice) = (vec![field("content-length", "0")], vec![field("content-length", "0"); 2]);
    for (case, uri, fields, status) in [
        ("a length", "http://localhost/lb/api/ping", once, 204),
        ("the same length twice", "http://localhost/lb/api/ping", twice, 400),
        ("as many fields as may be", "http://localhost/lb/api/ping", fields(100), 204),
        ("one more", "http://localhost/lb/api/ping", fields(101), 431),
        ("a cookie in pieces", "http://localhost/lb/api/ping", vec![field("cookie", "a=b"); 300], 204),
        ("a large head", "http://localhost/lb/api/ping", large, 431),
        ("another scheme", "ftp://localhost/lb/api/ping", Vec::new(), 400),
        ("https", "https://localhost/lb/api/ping", Vec::new(), 204),
    ] {
        let mut request = Request::builder().uri(uri);
        for (name, value) in fields {
            request = request.header(name, value);
        }
        assert_eq!(client.status(request.body(()).unwrap()).await, status, "{case}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let server = Server::start(Settings { body_bytes: 1000, ..settings() }).await;
    let mut client = Client::connect(&server).await;
    let body = Bytes::from(vec![b' '; 1001]);
    let (response, _stream) = client.send(request(Method::POST, "/lb/api/echo"), Some(body)).await;
    assert_eq!(within(response).await.unwrap().status(), 413);
    assert_eq!(client.status(ping()).await, 204);
    server.stop().await;
}

#[tokio::test]
async fn a_request_that_is_taken_back_is_given_up() {
    let server = Server::start(Settings { timeout: NEVER, ..settings() }).await;
    let mut client = Client::connect(&server).await;
    for _ in 0..10 {
        let mut sent = Vec::new();
        for _ in 0..200 {
            sent.push(client.send(request(Method::POST, "/lb/api/echo"), Some(Bytes::from_static(b"{}"))).await);
        }
        assert_eq!(client.status(ping()).await, 204, "they have arrived");
        for (_response, stream) in &mut sent {
            stream.send_reset(h2::Reason::CANCEL);
        }
        assert_eq!(client.status(ping()).await, 204);
    }
    server.until_given_up().await;
    server.stop().await;
}

#[tokio::test]
async fn the_requests_of_a_connection_that_ends_are_given_up() {
    let server = Server::start(Settings { timeout: NEVER, ..settings() }).await;
    let mut client = Client::connect(&server).await;
    let mut sent = Vec::new();
    for _ in 0..100 {
        sent.push(client.send(request(Method::POST, "/lb/api/echo"), Some(Bytes::from_static(b"{}"))).await);
    }
    assert_eq!(client.status(ping()).await, 204);
    client.connection.abort();
    server.until_given_up().await;
    server.stop().await;
}

#[tokio::test]
async fn who_opens_no_window_for_its_answer_loses_it() {
    let server = Server::start(Settings { timeout: SOON, write_timeout: SOON, ..settings() }).await;
    let mut builder = Builder::new();
    builder.initial_window_size(0);
    let mut client = Client::connect_as(&server, &builder).await;
    let (response, _stream) = client.send(request(Method::GET, "/none"), None).await;
    let mut response = within(response).await.unwrap();
    assert_eq!(response.status(), 404);
    let error = within(response.body_mut().data()).await.unwrap().unwrap_err();
    assert!(error.is_reset(), "{error}");
    // Others of its requests have no body to wait for.
    assert_eq!(client.status(ping()).await, 204);
    server.stop().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_order() {
    let server = Server::start(Settings { idle_timeout: SOON, ..settings() }).await;
    let mut client = Client::connect(&server).await;
    assert_eq!(client.status(ping()).await, 204);
    within(client.connection).await.unwrap().expect("it was told, and is no error");
    server.stop().await;
}

#[tokio::test]
async fn who_does_not_play_its_part_in_an_orderly_end_is_closed() {
    let server = Server::start(Settings { idle_timeout: SOON, ..settings() }).await;
    let mut client = Raw::connect(&server).await;
    client.until_ended().await;
    server.stop().await;

    let server = Server::start(settings()).await;
    let mut client = Raw::connect(&server).await;
    server.stop().await;
    client.until_ended().await;
}

#[tokio::test]
async fn who_stops_after_the_preface_is_closed() {
    let server = Server::start(Settings { head_timeout: SOON, ..settings() }).await;
    for begun in [PREFACE, &PREFACE[..14], &[PREFACE, &[0, 0, 0, 4]].concat()] {
        let mut caller = server.call().await;
        caller.send(begun).await;
        let mut rest = Vec::new();
        let _ = within(caller.stream.read_to_end(&mut rest)).await; // a few frames, or a reset
    }
    server.stop().await;
}

/// A caller that writes frames as it likes.
struct Raw {
    caller: Caller,
}

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PINGS: u8 = 6;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// `GET /lb/api/ping` to localhost, in HPACK without its table: `:method` and `:scheme` have numbers, the others are literals.
fn head() -> Vec<u8> {
    let mut head = vec![0x82, 0x86];
    for (name, value) in [(4, "/lb/api/ping"), (1, "localhost")] {
        head.extend_from_slice(&[name, u8::try_from(value.len()).unwrap()]);
        head.extend_from_slice(value.as_bytes());
    }
    head
}

impl Raw {
    async fn connect(server: &Server) -> Self {
        let mut caller = server.call().await;
        caller.send([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await;
        Self { caller }
    }

    /// Sends the same again and again, reading nothing, until the connection ends.
    async fn flood(&mut self, bytes: &[u8]) {
        let flood = async { while self.caller.stream.write_all(bytes).await.is_ok() {} };
        within(flood).await;
    }

    /// The first frame of this kind, as its stream and payload; `None` at the connection's end.
    async fn next(&mut self, kind: u8) -> Option<(u32, Vec<u8>)> {
        loop {
            let mut header = [0; 9];
            within(self.caller.stream.read_exact(&mut header)).await.ok()?;
            let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
            let mut payload = vec![0; length as usize];
            within(self.caller.stream.read_exact(&mut payload)).await.ok()?;
            if header[3] == kind {
                return Some((u32::from_be_bytes(header[5..].try_into().unwrap()), payload));
            }
        }
    }

    async fn until_ended(&mut self) {
        assert_eq!(self.next(u8::MAX).await, None);
    }

    /// The reason that the server ends the connection for.
    async fn reason(&mut self) -> u32 {
        const GOAWAY: u8 = 7;
        let (_, payload) = self.next(GOAWAY).await.expect("the server says why");
        u32::from_be_bytes(payload[4..8].try_into().unwrap())
    }
}

const ENHANCE_YOUR_CALM: u32 = 11;

/// Somebody else is served all the while.
async fn others_are_served(server: &Server, abuse: impl Future<Output = ()>) {
    let mut other = server.call().await;
    let mut abuse = std::pin::pin!(abuse);
    let served = async {
        loop {
            assert!(other.goes_on().await);
            tokio::select! {
                biased;
                () = &mut abuse => return,
                () = tokio::task::yield_now() => {}
            }
        }
    };
    within(served).await;
    assert!(other.goes_on().await);
}

#[tokio::test]
async fn who_takes_back_its_requests_at_once_is_shown_the_door() {
    let server = Server::start(settings()).await;
    let mut client = Raw::connect(&server).await;
    let cancel = 8u32.to_be_bytes();
    let rapid = (0..10_000).flat_map(|number| {
        let stream = 2 * number + 1;
        [frame(HEADERS, END_HEADERS | END_STREAM, stream, &head()), frame(RST_STREAM, 0, stream, &cancel)].concat()
    });
    let rapid: Vec<u8> = rapid.collect();
    others_are_served(&server, async {
        let _ = client.caller.stream.write_all(&rapid).await; // it need not take all of it
        assert_eq!(client.reason().await, ENHANCE_YOUR_CALM);
        client.until_ended().await;
    })
    .await;
    server.stop().await;
}

#[tokio::test]
async fn a_head_without_end_ends_the_connection() {
    let server = Server::start(settings()).await;
    let flood = async |payload: &[u8]| {
        let mut client = Raw::connect(&server).await;
        client.caller.send(frame(HEADERS, END_STREAM, 1, &head())).await;
        client.flood(&frame(CONTINUATION, 0, 1, payload).repeat(100)).await;
    };
    let long = [&[0, 1, b'x', 0x7f, 0x80, 0x01][..], &[b'y'; 255]].concat();
    let floods = async {
        tokio::join!(flood(&[]), flood(&[0]), flood(&long));
    };
    others_are_served(&server, floods).await;
    server.stop().await;
}

#[tokio::test]
async fn a_head_that_is_small_in_its_table_s_terms_alone_is_refused() {
    let server = Server::start(settings()).await;
    for times in [20, 40] {
        let mut client = Raw::connect(&server).await;
        client.caller.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb(times))).await;
        let (_, head) = client.next(HEADERS).await.expect("it is answered");
        // `:status` as a literal whose name has a number: 431 in Huffman's code.
        assert!(head.starts_with(&[0x48, 0x83, 0x69, 0x90, 0xff]), "{head:x?}");
        client.caller.send(frame(PINGS, 0, 0, &[0; 8])).await;
        client.next(PINGS).await.expect("the connection goes on");
    }
    let mut client = Raw::connect(&server).await;
    client.caller.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb(12_000))).await;
    assert_eq!(client.reason().await, ENHANCE_YOUR_CALM);
    client.until_ended().await;
    server.stop().await;
}

/// A head in which a field of 4000 bytes goes into the table, and is named again so many times by one byte each.
fn bomb(times: usize) -> Vec<u8> {
    let mut bomb = head();
    bomb.extend_from_slice(&[0x40, 1, b'x', 0x7f, 0xa1, 0x1e]);
    bomb.extend_from_slice(&[b'y'; 4000]);
    bomb.extend(std::iter::repeat_n(0xbe, times));
    bomb
}

#[tokio::test]
async fn who_floods_and_reads_nothing_is_not_waited_for() {
    let server = Server::start(Settings { write_timeout: SOON, ..settings() }).await;
    for flood in [
        frame(PINGS, 0, 0, &[0; 8]),
        frame(SETTINGS, 0, 0, &[]),
        frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0x10, 0]),
        // Each is answered with a reset of its stream.
        (0..1000).flat_map(|number| frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &[0x80])).collect(),
    ] {
        let mut client = Raw::connect(&server).await;
        let many = if flood.len() < 100 { flood.repeat(1000) } else { flood };
        others_are_served(&server, client.flood(&many)).await;
    }
    server.stop().await;
}
