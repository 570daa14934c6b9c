//! A pool over scripted workers.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use flash_testkit::scripted_worker;
use flash_wire::RequestHead;
use flash_workers::{Answer, Base, Cancel, Limits, Outcome, Pool, Printed, Program, Request, Settings, Workers};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde::Deserialize;
use serde_json::json;

/// What a request may take in a test that is not about time: whoever waits for longer is told [`Outcome::Expired`].
pub const PATIENCE: Duration = Duration::from_secs(60);

/// One worker that answers within [`PATIENCE`].
pub fn settings() -> Settings {
    Settings {
        limits: Limits { slots: 128, ahead: 0, waiting: 128, grace: PATIENCE },
        workers: Workers::fixed(1),
        timeout: PATIENCE,
        start_timeout: PATIENCE,
        replace_stuck: true,
        unheard: 0,
    }
}

pub struct Trial {
    pub base: Arc<Base>,
    pub pool: Pool,
    printed: Arc<Mutex<String>>,
}

impl Trial {
    pub fn new(settings: Settings) -> Self {
        Self::with_config(settings, json!({ "functions": [] }))
    }

    pub fn with_config(settings: Settings, config: serde_json::Value) -> Self {
        Self::with_program(scripted(), settings, config)
    }

    pub fn with_program(program: Program, settings: Settings, config: serde_json::Value) -> Self {
        let printed = Arc::new(Mutex::new(String::new()));
        let base = Arc::new(Base::new(program, {
            let printed = printed.clone();
            Arc::new(move |Printed { tag, stream, text, .. }: Printed<'_>| {
                printed.lock().expect("no test panics here").push_str(&format!("{tag:?} {stream}: {text}"));
            })
        }));
        let pool = Pool::start("trial", base.clone(), config, settings);
        Self { base, pool, printed }
    }

    /// Submits a request with this body, which says what is done with it.
    pub fn send(&self, body: Bytes) -> Sent {
        self.send_tagged(body, 0)
    }

    pub fn send_tagged(&self, body: Bytes, tag: u64) -> Sent {
        let pool = self.pool.clone();
        let request = Request { route: 0, head: RequestHead::default(), body, tag, cancel: Cancel::UnlessBegun };
        let mut waiting: Waiting = Box::pin(async move { pool.request(request).await });
        // Submitted here and now: the order of calls is the order of requests.
        let first = waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        Sent { first, waiting }
    }

    /// What was printed so far, a piece a line: tag, stream and text.
    pub fn printed(&self) -> String {
        self.printed.lock().expect("no test panics here").clone()
    }
}

pub fn scripted() -> Program {
    Program::Native { path: scripted_worker().to_owned(), arguments: Vec::new() }
}

/// A request that was submitted. Dropped, its caller has left.
pub struct Sent {
    first: Poll<Outcome>,
    waiting: Waiting,
}

type Waiting = Pin<Box<dyn Future<Output = Outcome> + Send>>;

impl Sent {
    pub async fn outcome(self) -> Outcome {
        match self.first {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => self.waiting.await,
        }
    }

    /// What the worker answered with 200.
    pub async fn body(self) -> Bytes {
        match self.outcome().await {
            Outcome::Answered(Answer { status: 200, body, .. }) => body,
            other => panic!("it was not answered but {other:?}"),
        }
    }

    /// The worker that answered.
    pub async fn worker(self) -> Worker {
        serde_json::from_slice(&self.body().await).expect("a scripted worker says who it is")
    }

    /// Whether it was lost with its worker.
    pub async fn was_lost(self) -> bool {
        matches!(self.outcome().await, Outcome::Lost(_))
    }

    /// Whether its time was over before its answer came.
    pub async fn has_expired(self) -> bool {
        matches!(self.outcome().await, Outcome::Expired | Outcome::Unserved)
    }
}

/// What a scripted worker says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Worker {
    /// Its place among those that its zygote started, from 1.
    #[serde(rename = "worker")]
    pub number: usize,
    pub pid: i32,
    /// The length of the request's body.
    pub bytes: usize,
    /// How many requests it was given whole by then.
    pub runs: usize,
}

impl Worker {
    pub fn kill(self) {
        self.signal(Signal::KILL);
    }

    pub fn signal(self, signal: Signal) {
        kill_process(self.process(), signal).expect("it runs");
    }

    /// Waits until there is no such process any more.
    pub async fn is_gone(self) {
        let gone = tokio::time::timeout(PATIENCE, async {
            while test_kill_process(self.process()).is_ok() {
                tokio::time::sleep(Duration::from_millis(1)).await; // its zygote tells nobody but the host
            }
        });
        gone.await.expect("it ends");
    }

    fn process(self) -> Pid {
        Pid::from_raw(self.pid).expect("a process's number is positive")
    }
}
