use std::sync::atomic::{AtomicI64, Ordering};

use tempfile::TempDir;

use super::*;

/// A queue in a folder of its own, and a clock that stands still until it is set.
struct Queue {
    home: TempDir,
    time: Arc<AtomicI64>,
    jobs: Option<Jobs>,
}

const START: i64 = 1_000_000;

impl Queue {
    fn new() -> Self {
        let mut queue = Self { home: tempfile::tempdir().unwrap(), time: Arc::new(AtomicI64::new(START)), jobs: None };
        queue.jobs = Some(queue.open().unwrap());
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

fn completed(output: &'static str) -> Outcome {
    Outcome::Completed(Bytes::from_static(output.as_bytes()))
}

#[tokio::test]
async fn a_job_is_accepted_leased_and_completed_and_all_of_it_is_there_after_a_restart() {
    let mut queue = Queue::new();
    let submitted = queue.jobs().submit(new("a")).await.unwrap();
    assert_eq!(submitted, Submitted { id: "a".into(), state: State::Ready, existing: false });
    queue.restart();
    queue.pass(Duration::from_millis(30));
    let claimed = queue.claim_one().await;
    assert_eq!((&*claimed.id, &*claimed.function, &claimed.input[..]), ("a", "f", &b"\"a\""[..]));
    assert_eq!((claimed.arrived, claimed.lease.attempt()), (Timestamp(START), 1));
    assert_eq!(queue.state("a").await, State::Leased);
    queue.pass(Duration::from_millis(12));
    let ran = Ran { worker: Some("w".into()), begun: Some(Timestamp(START + 32)) };
    let finished = queue.jobs().finish(claimed.lease, completed("[1]"), ran).await.unwrap();
    assert_eq!(finished, Finished { state: State::Completed, due: None, now: Timestamp(START + 42) });
    queue.restart();
    let job = queue.job("a").await;
    assert_eq!((job.life.state, job.output.as_deref(), job.worker.as_deref()), (State::Completed, Some(&b"[1]"[..]), Some("w")));
    assert_eq!((job.delay(), job.execution()), (Some(Duration::from_millis(32)), Some(Duration::from_millis(10))));
    assert_eq!(queue.jobs().counts("e").of(State::Completed), 1);
    assert_eq!(queue.jobs().counts("e").open(), 0);
}

#[tokio::test]
async fn a_second_server_is_refused_until_the_first_one_ends() {
    let mut queue = Queue::new();
    assert_eq!(queue.open().err(), Some(Error::InUse { home: queue.home.path().to_owned() }));
    queue.submit("a").await;
    queue.jobs = None;
    assert!(queue.open().is_ok());
}

#[tokio::test]
async fn leases_of_a_server_that_ended_are_void_and_count_as_no_attempt() {
    let mut queue = Queue::new();
    queue.submit("a").await;
    let former = queue.claim_one().await;
    queue.restart();
    assert_eq!(queue.finish(former.lease, completed("1")).await, Err(Error::Stale));
    assert_eq!(queue.jobs().metrics().refused, 1);
    let again = queue.claim_one().await;
    assert_eq!((again.lease.attempt(), again.failures), (2, 1));
    assert_eq!(queue.finish(former.lease, completed("1")).await, Err(Error::Stale));
    assert_eq!(queue.finish(again.lease, completed("2")).await, Ok(State::Completed));
    let job = queue.job("a").await;
    assert_eq!((job.output.as_deref(), job.life.retries(), job.life.raised, job.life.losses), (Some(&b"2"[..]), 1, 0, 0));
    assert_eq!(job.attempts.iter().map(|attempt| attempt.ended).collect::<Vec<_>>(), [Ended::Void]);
}

#[tokio::test]
async fn what_raises_is_tried_again_as_its_policy_says_and_every_error_is_kept() {
    let queue = Queue::new();
    queue.submit_with("a", |new| new.policy.attempts = 2).await;
    let first = queue.claim_one().await;
    let finished = queue.jobs().finish(first.lease, raised("one"), Ran::default()).await.unwrap();
    assert_eq!(finished.state, State::Delayed);
    assert!(queue.claim(9).await.is_empty());
    queue.pass(finished.due.unwrap().since(queue.jobs().now()));
    assert_eq!(queue.jobs().expire().await.unwrap().ready, ["e"]);
    let second = queue.claim_one().await;
    assert_eq!(queue.finish(second.lease, raised("two")).await, Ok(State::Failed));
    let job = queue.job("a").await;
    assert_eq!((job.error(), job.life.retries()), (Some("two"), 1));
    let kept: Vec<_> = job.attempts.iter().map(|attempt| (attempt.number, &*attempt.error, &*attempt.traceback)).collect();
    assert_eq!(kept, [(1, "one", "Traceback of one"), (2, "two", "Traceback of two")]);
}

#[test]
fn sqlite_is_one_that_does_not_lose_a_commit_beside_a_checkpoint() {
    // Before 3.51.3 a commit that began the log anew while another connection checkpointed could be skipped by the next checkpoint.
    assert!(rusqlite::version_number() >= 3_051_003, "{}", rusqlite::version());
}
