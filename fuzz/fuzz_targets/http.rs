//! Bytes from a caller: each connection ends once the caller has, and what it is answered is HTTP.

#![no_main]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use flash_gateway::{Access, Endpoint, Gateway, Settings};
use flash_workers::{Base, Interpreter, Limits, Pool, Program, Workers};
use http::Method;
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

/// A clock that stands still while there is something to do, and else goes on to the next timer at once: no limit is waited for.
static EDGE: LazyLock<Mutex<(Runtime, Arc<Gateway>)>> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("the system has a runtime");
    let gateway = runtime.block_on(async { gateway() });
    Mutex::new((runtime, Arc::new(gateway)))
});

/// Of two endpoints, without workers: a request that needs one is answered when its time is over. The pool has a clock of its own.
fn gateway() -> Gateway {
    let settings = Settings { body_bytes: 1000, bodies_bytes: 2000, timeout: Duration::from_millis(1), ..Settings::default() };
    let kept = flash_workers::Settings {
        limits: Limits { slots: 4, ahead: 0, waiting: 4, grace: Duration::ZERO },
        workers: Workers::fixed(0),
        timeout: settings.timeout,
        start_timeout: settings.timeout,
        replace_stuck: true,
        unheard: 0,
    };
    let python = Interpreter { python: "python-is-not-started".into(), package: None, routes: true };
    let base = Arc::new(Base::new(Program::Python(python), Arc::new(|_| {})));
    let gateway = Gateway::new(settings, 7).with_token("token".into());
    for (name, access) in [("api", Access::Routes), ("live", Access::Live)] {
        let pool = Pool::start(name, base.clone(), serde_json::json!({}), kept.clone());
        let routes = [(Method::POST, "/echo"), (Method::GET, "/items/{item}"), (Method::DELETE, "/files/{path:path}")];
        let routes = routes.map(|(method, path)| (method, path.parse().expect("these are patterns")));
        gateway.add(Endpoint::new(pool, routes, access));
    }
    gateway
}

async fn answers(gateway: Arc<Gateway>, bytes: &[u8], piece: usize) -> Vec<u8> {
    let (mut caller, server) = UnixStream::pair().expect("the system has sockets");
    let served = tokio::spawn(flash_gateway::serve_connection(server, IpAddr::V4(Ipv4Addr::LOCALHOST), gateway));
    let (mut reading, mut writing) = caller.split();
    let mut answers = Vec::new();
    let write = async {
        for piece in bytes.chunks(piece) {
            if writing.write_all(piece).await.is_err() {
                break; // it was refused
            }
            tokio::task::yield_now().await;
        }
        let _ = writing.shutdown().await;
    };
    let (_, read) = tokio::join!(write, reading.read_to_end(&mut answers));
    drop(read); // a reset is an end as well
    served.await.expect("a connection does not panic");
    answers
}

fuzz_target!(|data: &[u8]| {
    let [piece, bytes @ ..] = data else { return };
    let edge = EDGE.lock().expect("a panic ends the process");
    let (runtime, gateway) = &*edge;
    let answered = runtime.block_on(answers(gateway.clone(), bytes, usize::from(*piece) * 4 + 1));
    // An answer to HEAD has the length of a body that does not come.
    if !bytes.starts_with(b"PRI * HTTP/2.0") && !bytes.windows(4).any(|word| word == b"HEAD") {
        check(&answered);
    }
});

/// Whole answers of HTTP/1, and none after one that ends the connection.
fn check(mut answers: &[u8]) {
    let mut last = false;
    while !answers.is_empty() {
        assert!(!last, "an answer comes after the last one");
        let end = answers.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head ends") + 4;
        let head = std::str::from_utf8(&answers[..end]).expect("a head is text");
        let status = head.strip_prefix("HTTP/1.1 ").or(head.strip_prefix("HTTP/1.0 ")).expect("it begins with the version");
        let status: u16 = status[..3].parse().expect("it has a status");
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let length = match (field("content-length"), field("transfer-encoding")) {
            (Some(length), None) => length.parse().expect("it is a number"),
            (None, Some("chunked")) => match chunks(&answers[end..]) {
                Some(length) => length,
                None => return, // a live call, whose caller has left
            },
            (None, None) if field("content-type") == Some("application/x-flash-records") => return, // to HTTP/1.0: until the end
            (None, None) => 0,
            both => panic!("{both:?}"),
        };
        assert!(status == 100 || field("x-request-id").is_some(), "it is an answer of ours: {head}");
        assert!(status != 500 && status != 502, "nothing here can fail: {head}");
        assert!(answers.len() >= end + length, "the body is whole");
        last = field("connection") == Some("close");
        answers = &answers[end + length..];
    }
}

/// The length of a chunked body, if it is whole.
fn chunks(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let end = at + bytes[at..].windows(2).position(|bytes| bytes == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[at..end]).expect("a size is text"), 16).expect("a size is a number");
        at = end + 2 + size + 2;
        if at > bytes.len() || size == 0 {
            return (at <= bytes.len()).then_some(at);
        }
    }
}
