//! A server without workers, and callers that write bytes. Its requests get no answer before the time limit, unless none needs a worker.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use flash_gateway::{Access, Endpoint, Gateway, Settings};
use flash_workers::{Base, Interpreter, Limits, Pool, Workers};
use http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What is waited for comes long before this.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Longer than any test.
pub const NEVER: Duration = Duration::from_secs(3600);

/// Limits on time that no test meets by accident.
pub fn settings() -> Settings {
    Settings { head_timeout: NEVER, idle_timeout: NEVER, write_timeout: NEVER, timeout: NEVER, ..Settings::default() }
}

/// A server that runs, with an endpoint `api` that has `POST /echo` and `GET /items/{item}`.
pub struct Server {
    pub address: SocketAddr,
    pub pool: Pool,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Neither starts Python: it keeps no worker.
pub fn gateway(settings: &Settings) -> (Arc<Gateway>, Pool) {
    let interpreter = Interpreter { python: "python-is-not-started".into(), package: None, routes: true };
    let kept = flash_workers::Settings {
        limits: Limits { slots: 8, ahead: 0, waiting: 4096, grace: Duration::from_secs(5) },
        workers: Workers::fixed(0),
        timeout: settings.timeout,
        start_timeout: NEVER,
        replace_stuck: true,
        unheard: 0,
    };
    let pool = Pool::start("api", Arc::new(Base::new(interpreter, Arc::new(|_| {}))), serde_json::json!({}), kept);
    let routes = [(Method::POST, "/echo"), (Method::GET, "/items/{item}")];
    let routes = routes.map(|(method, path)| (method, path.parse().unwrap()));
    let gateway = Gateway::new(settings.clone(), 7);
    gateway.add(Endpoint::new(pool.clone(), routes, Access::Routes));
    (Arc::new(gateway), pool)
}

impl Server {
    pub async fn start(settings: Settings) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (gateway, pool) = gateway(&settings);
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(flash_gateway::serve(listener, gateway, stopped, NEVER));
        Self { address, pool, stop, task }
    }

    pub async fn call(&self) -> Caller {
        Caller { stream: TcpStream::connect(self.address).await.unwrap(), read: Vec::new() }
    }

    /// Waits until no request is under way.
    pub async fn until_given_up(&self) {
        within(self.pool.close(NEVER)).await;
    }

    /// Stops it, and waits for its end.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        within(self.task).await.unwrap();
    }
}

pub async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it comes, or never will")
}

/// One connection of a caller.
pub struct Caller {
    pub stream: TcpStream,
    read: Vec<u8>,
}

/// A response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    pub fn detail(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).expect("its body is JSON");
        body["detail"].as_str().expect("it has a detail").to_owned()
    }
}

impl Caller {
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within(self.stream.write_all(bytes.as_ref())).await.unwrap();
    }

    /// The next response.
    pub async fn answer(&mut self) -> Answer {
        within(self.maybe_answer()).await.expect("a response comes before the end")
    }

    /// The next response; `None` if the server ends the connection instead.
    pub async fn maybe_answer(&mut self) -> Option<Answer> {
        loop {
            if let Some(answer) = self.whole_answer() {
                return Some(answer);
            }
            if !self.read_more().await {
                assert!(self.read.is_empty(), "the connection ended within {:?}", String::from_utf8_lossy(&self.read));
                return None;
            }
        }
    }

    fn whole_answer(&mut self) -> Option<Answer> {
        let end = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
        let head = String::from_utf8(self.read[..end].to_vec()).expect("heads are ASCII here");
        let status = head.split(' ').nth(1).expect("it has a status").parse().expect("it is a number");
        let mut answer = Answer { status, head, body: String::new() };
        let length = answer.header("content-length").map_or(0, |length| length.parse().expect("it is a number"));
        if self.read.len() < end + length {
            return None;
        }
        answer.body = String::from_utf8(self.read[end..end + length].to_vec()).expect("bodies are UTF-8 here");
        self.read.drain(..end + length);
        Some(answer)
    }

    async fn read_more(&mut self) -> bool {
        matches!(self.stream.read_buf(&mut self.read).await, Ok(1..))
    }

    /// Waits for the end of the connection. Nothing more may come before it.
    pub async fn end(&mut self) {
        while within(self.read_more()).await {}
        assert_eq!(String::from_utf8_lossy(&self.read), "");
    }

    /// Whether the connection serves another request.
    pub async fn goes_on(&mut self) -> bool {
        let _ = self.stream.write_all(PING).await; // it may be closed
        match within(self.maybe_answer()).await {
            Some(answer) => {
                assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{answer:?}");
                true
            }
            None => false,
        }
    }
}

/// A request that is answered without a worker, with 204.
pub const PING: &[u8] = b"GET /lb/api/ping HTTP/1.1\r\nHost: localhost\r\n\r\n";
