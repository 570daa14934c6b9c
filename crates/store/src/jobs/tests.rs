use std::sync::atomic::{AtomicI64, Ordering};

use tempfile::TempDir;

use super::*;

mod asking;
mod keeping;
mod life;
mod line;
mod payloads;

/// A queue in a folder of its own, and a clock that stands still until it is set.
struct Queue {
    home: TempDir,
    time: Arc<AtomicI64>,
    jobs: Option<Jobs>,
}

const START: i64 = 1_000_000;

impl Queue {
    fn new() -> Self {
        Self::with(|_| ())
    }

    fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut queue = Self { home: tempfile::tempdir().unwrap(), time: Arc::new(AtomicI64::new(START)), jobs: None };
        let mut settings = queue.settings();
        change(&mut settings);
        queue.jobs = Some(Jobs::open(queue.home.path(), settings).unwrap());
        queue
    }

    fn settings(&self) -> Settings {
        let time = Arc::clone(&self.time);
        Settings { clock: Clock::of(move || Timestamp(time.load(Ordering::Relaxed))), ..Settings::default() }
    }

    fn open(&self) -> Result<Jobs> {
        Jobs::open(self.home.path(), self.settings())
    }

    fn jobs(&self) -> &Jobs {
        self.jobs.as_ref().unwrap()
    }

    /// The server ends, and another one starts.
    fn restart(&mut self) {
        self.jobs = None;
        self.jobs = Some(self.open().unwrap());
    }

    fn pass(&self, time: Duration) {
        self.time.fetch_add(i64::try_from(time.as_millis()).unwrap(), Ordering::Relaxed);
    }

    async fn submit(&self, id: &str) {
        self.submit_with(id, |_| ()).await;
    }

    async fn submit_with(&self, id: &str, change: impl FnOnce(&mut New)) {
        let mut new = new(id);
        change(&mut new);
        self.jobs().submit(new).await.unwrap();
    }

    async fn claim_one(&self) -> Claimed {
        let mut claimed = self.jobs().claim("e", 1).await.unwrap();
        claimed.pop().unwrap()
    }

    async fn claim(&self, at_most: usize) -> Vec<String> {
        self.jobs().claim("e", at_most).await.unwrap().into_iter().map(|claimed| claimed.id).collect()
    }

    async fn finish(&self, lease: Lease, outcome: Outcome) -> Result<State> {
        self.jobs().finish(lease, outcome, Ran::default()).await.map(|finished| finished.state)
    }

    async fn job(&self, id: &str) -> Job {
        self.jobs().get(id).await.unwrap().unwrap()
    }

    async fn state(&self, id: &str) -> State {
        self.job(id).await.life.state
    }
}

fn completed(output: &'static str) -> Outcome {
    Outcome::Completed(Bytes::from_static(output.as_bytes()))
}

fn new(id: &str) -> New {
    New {
        endpoint: "e".into(),
        function: "f".into(),
        id: id.into(),
        input: Bytes::from(format!("\"{id}\"")),
        policy: Policy::default(),
        webhook: None,
        idempotency: None,
    }
}

fn raised(error: &str) -> Outcome {
    Outcome::Failed { kind: Failure::Raised, error: error.into(), traceback: format!("Traceback of {error}") }
}
