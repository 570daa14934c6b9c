//! A gateway over scripted workers, and callers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flash_gateway::{Access, Endpoint, Gateway, Settings};
use flash_testkit::{scripted_worker, steps};
use flash_workers::{Base, Limits, Pool, Program, Workers};
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What a request may take in a test that is not about time.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn pool_settings() -> flash_workers::Settings {
    flash_workers::Settings {
        limits: Limits { slots: 128, ahead: 0, waiting: 128, grace: PATIENCE },
        workers: Workers::fixed(1),
        timeout: PATIENCE,
        start_timeout: PATIENCE,
        replace_stuck: true,
        unheard: 0,
    }
}

/// An endpoint `trial` with one route, `POST /run`.
pub struct Trial {
    pub address: SocketAddr,
    _stop: watch::Sender<bool>,
}

impl Trial {
    /// Once its worker is ready.
    pub async fn new(settings: flash_workers::Settings) -> Self {
        let trial = Self::starting(settings, json!({ "functions": [] })).await;
        trial.post(steps([&[flash_testkit::Step::Answer]])).await;
        trial
    }

    pub async fn starting(settings: flash_workers::Settings, config: Value) -> Self {
        let program = Program::Native { path: scripted_worker().to_owned(), arguments: Vec::new() };
        let timeout = settings.timeout;
        let pool = Pool::start("trial", Arc::new(Base::new(program, Arc::new(|_| {}))), config, settings);
        let gateway = Gateway::new(Settings { timeout, ..Settings::default() }, 0);
        gateway.add(Endpoint::new(pool, [(Method::POST, "/run".parse().expect("it is a path"))], Access::Routes));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
        let address = listener.local_addr().expect("it listens");
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(flash_gateway::serve(listener, Arc::new(gateway), stopped, Duration::ZERO));
        Self { address, _stop: stop }
    }

    /// A connection on which a request was sent; when this returns, the system has taken all of it.
    pub async fn send(&self, body: Bytes) -> Sent {
        let head = format!("POST /lb/trial/run HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", body.len());
        Sent(self.send_raw(&[head.as_bytes(), &body].concat()).await)
    }

    pub async fn send_raw(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.expect("it listens");
        stream.write_all(bytes).await.expect("it reads");
        stream
    }

    pub async fn post(&self, body: Bytes) -> Answer {
        self.send(body).await.answer().await
    }

    pub async fn get(&self, path: &str) -> Answer {
        Sent(self.send_raw(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await).answer().await
    }
}

/// A request that was sent. Dropped, its caller has left.
pub struct Sent(TcpStream);

impl Sent {
    /// The answer, which must say how long it is.
    pub async fn answer(mut self) -> Answer {
        let mut bytes = Vec::new();
        let (status, head, begin) = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8(bytes[..end].to_vec()).expect("heads are ASCII here");
                break (head[9..12].parse().expect("a status follows the version"), head, end + 4);
            }
            assert_ne!(self.0.read_buf(&mut bytes).await.expect("it answers"), 0, "the connection was closed");
        };
        let mut answer = Answer { status, head, body: bytes.split_off(begin) };
        let length = answer.header("content-length").map_or(0, |length| length.parse().expect("it is a number"));
        while answer.body.len() < length {
            assert_ne!(self.0.read_buf(&mut answer.body).await.expect("it answers"), 0, "the answer breaks off");
        }
        assert_eq!(answer.body.len(), length, "there is more than was announced");
        answer
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value, if the answer has exactly one.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.head.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        values.next().filter(|_| values.next().is_none())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("it is JSON")
    }

    /// The number of the scripted worker that answered.
    pub fn worker(&self) -> u64 {
        self.json()["worker"].as_u64().expect("a scripted worker says who it is")
    }
}
