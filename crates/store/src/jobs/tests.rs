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

#[tokio::test]
async fn ready_jobs_are_leased_by_priority_then_arrival_and_delayed_ones_are_not() {
    let queue = Queue::new();
    for (id, priority) in [("low", -1), ("first", 0), ("second", 0), ("top", 9)] {
        queue.submit_with(id, |new| new.policy.priority = priority).await;
    }
    queue.submit_with("later", |new| (new.policy.priority, new.policy.delay) = (9, Duration::from_secs(5))).await;
    assert_eq!(queue.claim(2).await, ["top", "first"]);
    assert_eq!(queue.claim(9).await, ["second", "low"]);
    queue.pass(Duration::from_secs(5));
    assert!(queue.claim(9).await.is_empty(), "time passes for jobs when that is asked for");
    queue.jobs().expire().await.unwrap();
    assert_eq!(queue.claim(9).await, ["later"]);
}

#[tokio::test]
async fn a_job_and_the_first_ones_are_leased_with_one_commit() {
    let queue = Queue::new();
    queue.submit("a").await;
    let before = queue.jobs().metrics().commits;
    let (submitted, claimed) = queue.jobs().submit_and_claim(new("b"), 1).await.unwrap();
    assert_eq!((submitted.state, &*claimed[0].id), (State::Ready, "a"));
    let (finished, next) = queue.jobs().finish_and_claim(claimed[0].lease, completed("1"), Ran::default(), "e", 5).await.unwrap();
    assert_eq!((finished.state, next.len(), &*next[0].id), (State::Completed, 1, "b"));
    assert_eq!(queue.jobs().metrics().commits, before + 2);
}

#[tokio::test]
async fn one_endpoint_does_not_lease_what_another_has() {
    let queue = Queue::new();
    queue.submit("a").await;
    assert!(queue.jobs().claim("other", 5).await.unwrap().is_empty());
    queue.submit_with("b", |new| new.endpoint = "other".into()).await;
    assert_eq!(queue.claim(5).await, ["a"]);
}

#[tokio::test]
async fn a_lease_that_was_not_used_is_no_attempt_and_its_job_keeps_its_place() {
    let queue = Queue::new();
    queue.submit("a").await;
    queue.submit("b").await;
    let claimed = queue.claim_one().await;
    assert_eq!(queue.finish(claimed.lease, Outcome::Returned).await, Ok(State::Ready));
    let again = queue.claim_one().await;
    assert_eq!((&*again.id, again.failures, again.lease.attempt()), ("a", 0, 2));
    assert_eq!(queue.finish(claimed.lease, Outcome::Returned).await, Err(Error::Stale));
    queue.finish(again.lease, completed("1")).await.unwrap();
    assert_eq!(queue.job("a").await.life.retries(), 0);
}

#[tokio::test]
async fn what_kills_its_workers_is_tried_again_whatever_its_policy_says_but_not_for_ever() {
    let queue = Queue::new();
    queue.submit_with("a", |new| new.policy.attempts = 1).await;
    for loss in 1..=flash_queue::MOST_LOSSES {
        queue.pass(Duration::from_secs(300));
        queue.jobs().expire().await.unwrap();
        let claimed = queue.claim_one().await;
        let state = queue.finish(claimed.lease, Outcome::Lost { why: format!("killed {loss}") }).await.unwrap();
        assert_eq!(state, if loss < flash_queue::MOST_LOSSES { State::Delayed } else { State::Failed });
    }
    let job = queue.job("a").await;
    assert_eq!((job.error(), job.attempts.len()), (Some("killed 10"), 10));
}

#[tokio::test]
async fn what_would_fail_again_is_not_tried_again() {
    for kind in [Failure::Unbound, Failure::Unserialisable] {
        let queue = Queue::new();
        queue.submit("a").await;
        let claimed = queue.claim_one().await;
        let outcome = Outcome::Failed { kind, error: "no".into(), traceback: String::new() };
        assert_eq!(queue.finish(claimed.lease, outcome).await, Ok(State::Failed));
        assert_eq!(queue.job("a").await.attempts[0].ended, Ended::Failed(kind));
    }
}

#[tokio::test]
async fn an_attempt_whose_time_is_over_ends_its_job() {
    let queue = Queue::new();
    queue.submit_with("a", |new| new.policy.execution_timeout = Duration::from_millis(1500)).await;
    let claimed = queue.claim_one().await;
    assert_eq!(queue.finish(claimed.lease, Outcome::TimedOut).await, Ok(State::TimedOut));
    let job = queue.job("a").await;
    assert_eq!(job.error(), Some("the attempt ran for longer than 1500 ms, its execution timeout"));
}

#[tokio::test]
async fn a_job_whose_time_to_live_is_over_ends_and_what_runs_it_is_named() {
    let queue = Queue::new();
    for id in ["waits", "runs"] {
        queue.submit_with(id, |new| new.policy.ttl = Duration::from_secs(10)).await;
    }
    queue.submit_with("lives", |new| new.policy.ttl = Duration::from_secs(11)).await;
    let claimed = queue.claim_one().await;
    assert_eq!(claimed.id, "waits");
    queue.pass(Duration::from_secs(10));
    let swept = queue.jobs().expire().await.unwrap();
    let expired = |id: &str, lease| Expired { id: id.into(), endpoint: "e".into(), lease };
    assert_eq!(swept.expired, [expired("waits", Some(claimed.lease)), expired("runs", None)]);
    assert_eq!(queue.finish(claimed.lease, completed("1")).await, Err(Error::Stale));
    assert_eq!(queue.job("waits").await.error(), Some("the job's time to live was over before it completed"));
    assert_eq!(queue.claim(9).await, ["lives"]);
    assert_eq!(queue.jobs().next_due(), Some(Timestamp(START + 11_000)));
}

#[tokio::test]
async fn cancelling_takes_a_job_back_wherever_it_is() {
    let queue = Queue::new();
    queue.submit("leased").await;
    let lease = queue.claim_one().await.lease;
    queue.submit("ready").await;
    queue.submit_with("delayed", |new| new.policy.delay = Duration::from_secs(1)).await;
    let cancel = async |id: &str| queue.jobs().cancel(id).await.unwrap();
    assert_eq!(cancel("leased").await, Cancelled::Leased(lease));
    assert_eq!(cancel("ready").await, Cancelled::Waiting);
    assert_eq!(cancel("delayed").await, Cancelled::Waiting);
    assert_eq!(cancel("ready").await, Cancelled::Ended(State::Cancelled));
    assert_eq!(cancel("none").await, Cancelled::Unknown);
    assert_eq!(queue.finish(lease, completed("1")).await, Err(Error::Stale));
    queue.pass(Duration::from_secs(1));
    queue.jobs().expire().await.unwrap();
    assert!(queue.claim(9).await.is_empty());
    assert_eq!(queue.jobs().counts("e").of(State::Cancelled), 3);
}

#[tokio::test]
async fn a_failed_job_is_sent_again_and_the_errors_of_its_attempts_stay() {
    let queue = Queue::new();
    queue.submit_with("a", |new| new.policy.attempts = 1).await;
    let retry = async || queue.jobs().retry("a").await.unwrap();
    assert_eq!(retry().await, Resent::NotFailed(State::Ready));
    let lease = queue.claim_one().await.lease;
    queue.finish(lease, raised("one")).await.unwrap();
    assert_eq!(retry().await, Resent::Ready);
    assert_eq!(queue.jobs().retry("none").await, Ok(Resent::Unknown));
    let again = queue.claim_one().await;
    assert_eq!((&again.input[..], again.lease.attempt()), (&b"\"a\""[..], 2));
    queue.finish(again.lease, completed("1")).await.unwrap();
    let job = queue.job("a").await;
    assert_eq!((job.life.state, job.attempts.len(), job.error()), (State::Completed, 1, None));
    assert_eq!(retry().await, Resent::NotFailed(State::Completed));
}

#[tokio::test]
async fn purging_takes_back_what_waits_and_nothing_else() {
    let queue = Queue::new();
    queue.submit("running").await;
    let lease = queue.claim_one().await.lease;
    for number in 0..600 {
        let delay = Duration::from_secs(number % 2);
        queue.submit_with(&format!("j{number}"), |new| new.policy.delay = delay).await;
    }
    queue.submit_with("other", |new| new.endpoint = "other".into()).await;
    assert_eq!(queue.jobs().purge("e").await, Ok(600));
    let counts = queue.jobs().counts("e");
    assert_eq!((counts.open(), counts.of(State::Cancelled), queue.jobs().counts("other").open()), (1, 600, 1));
    assert_eq!(queue.finish(lease, completed("1")).await, Ok(State::Completed));
    assert_eq!(queue.jobs().purge("none").await, Ok(0));
}

#[tokio::test]
async fn one_idempotency_key_is_one_job_and_another_body_is_refused() {
    let mut queue = Queue::new();
    let keyed =
        |id: &str, key: &str, digest: u8| New { idempotency: Some(Idempotency { key: key.into(), digest: [digest; 32] }), ..new(id) };
    queue.jobs().submit(keyed("a", "k", 1)).await.unwrap();
    queue.restart();
    let again = queue.jobs().submit(keyed("b", "k", 1)).await.unwrap();
    assert_eq!(again, Submitted { id: "a".into(), state: State::Ready, existing: true });
    assert_eq!(queue.jobs().submit(keyed("c", "k", 2)).await, Err(Error::KeyTaken { job: "a".into() }));
    assert!(!queue.jobs().submit(keyed("d", "other key", 1)).await.unwrap().existing);
    assert!(!queue.jobs().submit(New { endpoint: "other".into(), ..keyed("f", "k", 3) }).await.unwrap().existing);
    assert_eq!(queue.claim(9).await, ["a", "d"]);
}

#[tokio::test]
async fn many_submissions_of_one_key_at_once_are_one_job() {
    let queue = Queue::new();
    let tasks: Vec<_> = (0..50)
        .map(|number| {
            let jobs = queue.jobs().clone();
            let idempotency = Some(Idempotency { key: "k".into(), digest: [7; 32] });
            tokio::spawn(async move { jobs.submit(New { idempotency, ..new(&format!("j{number}")) }).await.unwrap() })
        })
        .collect();
    let mut ids = Vec::new();
    for task in tasks {
        ids.push(task.await.unwrap());
    }
    assert_eq!(ids.iter().filter(|submitted| !submitted.existing).count(), 1);
    assert!(ids.iter().all(|submitted| submitted.id == ids[0].id));
    assert_eq!(queue.jobs().counts("e").open(), 1);
}

#[tokio::test]
async fn an_id_is_given_once_and_is_fit_for_a_url() {
    let queue = Queue::new();
    queue.submit("a").await;
    assert_eq!(queue.jobs().submit(new("a")).await, Err(Error::IdTaken { id: "a".into() }));
    for id in ["", "a/b", "ü", "a b", &"x".repeat(65)] {
        assert!(matches!(queue.jobs().submit(new(id)).await, Err(Error::NoId { .. })), "{id}");
    }
    assert_eq!(queue.jobs().counts("e").open(), 1);
}

#[tokio::test]
async fn retention_deletes_what_has_ended_long_ago_and_never_what_has_not() {
    let queue = Queue::new();
    for id in ["completed", "running", "waiting"] {
        queue.submit_with(id, |new| new.policy.ttl = Duration::from_secs(30 * 24 * 3600)).await;
    }
    let lease = queue.claim_one().await.lease;
    queue.finish(lease, completed("1")).await.unwrap();
    let running = queue.claim_one().await.lease;
    queue.pass(Duration::from_secs(7 * 24 * 3600));
    assert_eq!(queue.jobs().retain().await.unwrap(), Retained { removed: 0, more: false });
    queue.pass(Duration::from_millis(1));
    assert_eq!(queue.jobs().retain().await.unwrap().removed, 1);
    assert!(queue.jobs().get("completed").await.unwrap().is_none());
    assert_eq!(queue.jobs().counts("e").of(State::Completed), 0);
    assert_eq!(queue.finish(running, completed("1")).await, Ok(State::Completed));
    assert_eq!(queue.claim(9).await, ["waiting"]);
    let left = queue.jobs().shared.readers.read(|connection| {
        let sql = "SELECT (SELECT count(*) FROM inputs) + (SELECT count(*) FROM outputs) + (SELECT count(*) FROM jobs)";
        connection.query_row(sql, [], |row| row.get::<_, u32>(0))
    });
    assert_eq!(left, Ok(5));
}

#[tokio::test]
async fn an_idempotency_key_is_free_again_when_its_job_is_deleted() {
    let queue = Queue::new();
    let idempotency = |digest| Some(Idempotency { key: "k".into(), digest: [digest; 32] });
    queue.submit_with("a", |new| new.idempotency = idempotency(1)).await;
    queue.jobs().cancel("a").await.unwrap();
    queue.pass(Duration::from_secs(8 * 24 * 3600));
    assert_eq!(queue.jobs().retain().await.unwrap().removed, 1);
    assert!(!queue.jobs().submit(New { idempotency: idempotency(2), ..new("b") }).await.unwrap().existing);
}

#[tokio::test]
async fn a_webhook_is_due_when_its_job_has_ended_until_it_is_done() {
    let mut queue = Queue::new();
    queue.submit_with("a", |new| new.webhook = Some("http://there/".into())).await;
    let lease = queue.claim_one().await.lease;
    assert!(queue.jobs().webhooks(9).await.unwrap().is_empty());
    queue.finish(lease, completed("1")).await.unwrap();
    queue.restart();
    let webhook = |tries| Webhook { id: "a".into(), url: "http://there/".into(), tries };
    assert_eq!(queue.jobs().webhooks(9).await.unwrap(), [webhook(0)]);
    queue.jobs().webhook_done("a", Some(Timestamp(START + 10))).await.unwrap();
    assert!(queue.jobs().webhooks(9).await.unwrap().is_empty());
    queue.pass(Duration::from_millis(10));
    assert_eq!(queue.jobs().webhooks(9).await.unwrap(), [webhook(1)]);
    queue.jobs().webhook_done("a", None).await.unwrap();
    assert!(queue.jobs().webhooks(9).await.unwrap().is_empty());
}

#[tokio::test]
async fn jobs_are_listed_the_newest_first_by_pages_and_filters() {
    let queue = Queue::new();
    for number in 0..5 {
        queue.submit(&format!("j{number}")).await;
    }
    queue.submit_with("other", |new| new.endpoint = "other".into()).await;
    queue.claim(2).await;
    let list = async |filter: Filter| {
        let page = queue.jobs().list(filter).await.unwrap();
        (page.jobs.into_iter().map(|job| job.id).collect::<Vec<_>>(), page.next)
    };
    assert_eq!(list(Filter::default()).await, (["other", "j4", "j3", "j2", "j1", "j0"].map(str::to_owned).into(), None));
    let first = Filter { endpoint: Some("e".into()), states: vec![State::Ready], limit: 2, ..Filter::default() };
    let (ids, next) = list(first.clone()).await;
    assert_eq!(ids, ["j4", "j3"]);
    assert_eq!(list(Filter { after: next, ..first }).await, (vec!["j2".to_owned()], None));
    let leased = Filter { states: vec![State::Leased], ..Filter::default() };
    assert_eq!(list(leased).await.0, ["j1", "j0"]);
    assert!(list(Filter { endpoint: Some("none".into()), ..Filter::default() }).await.0.is_empty());
}

#[tokio::test]
async fn due_returns_when_time_has_something_to_do() {
    let queue = Queue::new();
    queue.jobs().expire().await.unwrap();
    let waiting = {
        let jobs = queue.jobs().clone();
        tokio::spawn(async move { jobs.due().await })
    };
    queue.submit_with("a", |new| new.policy.delay = Duration::from_secs(3)).await;
    assert_eq!(queue.jobs().next_due(), Some(Timestamp(START + 3000)));
    assert!(!waiting.is_finished());
    queue.pass(Duration::from_secs(3));
    waiting.await.unwrap();
    assert_eq!(queue.jobs().expire().await.unwrap().ready, ["e"]);
}

#[tokio::test]
async fn a_clock_that_was_set_back_between_two_servers_does_not_go_back_for_jobs() {
    let mut queue = Queue::new();
    queue.submit_with("a", |new| new.policy.delay = Duration::from_secs(60)).await;
    queue.jobs = None;
    queue.time.fetch_sub(500_000, Ordering::Relaxed);
    queue.restart();
    assert_eq!(queue.jobs().now(), Timestamp(START));
    queue.pass(Duration::from_secs(60));
    assert_eq!(queue.jobs().expire().await.unwrap().ready, ["e"]);
    assert_eq!(queue.claim(9).await, ["a"]);
}

#[test]
fn the_steady_clock_does_not_follow_the_machines() {
    let clock = Clock::steady();
    let machine = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let apart = i128::from(clock.now().0) - i128::try_from(machine).unwrap();
    assert!(apart.abs() < 60_000, "{apart}");
    let ahead = Timestamp(clock.now().0 + 1_000_000);
    let set_back = clock.clone().not_before(ahead);
    assert!(set_back.now() >= ahead);
    assert!(clock.not_before(Timestamp(1)).now() < ahead);
}

/// Payloads above the bound are files.
fn small() -> impl FnOnce(&mut Settings) {
    |settings| settings.inline_payload = 16
}

impl Queue {
    fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut queue = Self { home: tempfile::tempdir().unwrap(), time: Arc::new(AtomicI64::new(START)), jobs: None };
        let mut settings = queue.settings();
        change(&mut settings);
        queue.jobs = Some(Jobs::open(queue.home.path(), settings).unwrap());
        queue
    }

    fn files(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.home.path().join("payloads")).unwrap();
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Until so many payloads are files: they are removed beside the writer.
    async fn files_become(&self, number: usize) {
        let waited = tokio::time::timeout(Duration::from_secs(20), async {
            while self.files().len() != number {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("{:?}", self.files()));
    }
}

#[tokio::test]
async fn large_payloads_are_files_and_go_with_their_job() {
    let mut queue = Queue::with(small());
    let large = Bytes::from(vec![b'7'; 100_000]);
    queue.submit_with("a", |new| new.input = large.clone()).await;
    assert_eq!(queue.files().len(), 1);
    queue.restart();
    assert_eq!(queue.jobs().input("a").await.unwrap(), Some(large.clone()));
    queue.jobs = None;
    let mut settings = queue.settings();
    small()(&mut settings);
    queue.jobs = Some(Jobs::open(queue.home.path(), settings).unwrap());
    let claimed = queue.claim_one().await;
    assert_eq!(claimed.input, large);
    queue.finish(claimed.lease, Outcome::Completed(large.clone())).await.unwrap();
    assert_eq!(queue.finish(claimed.lease, Outcome::Completed(large.clone())).await, Err(Error::Stale));
    assert_eq!(queue.job("a").await.output, Some(large));
    queue.files_become(2).await;
    queue.pass(Duration::from_secs(8 * 24 * 3600));
    assert_eq!(queue.jobs().retain().await.unwrap().removed, 1);
    queue.files_become(0).await;
}

#[tokio::test]
async fn files_of_jobs_that_were_not_accepted_are_removed() {
    let queue = Queue::with(small());
    let idempotency = Some(Idempotency { key: "k".into(), digest: [1; 32] });
    let large = |id: &str| New { input: Bytes::from(vec![b'7'; 1000]), idempotency: idempotency.clone(), ..new(id) };
    queue.jobs().submit(large("a")).await.unwrap();
    assert!(queue.jobs().submit(large("b")).await.unwrap().existing);
    queue.jobs().submit(New { idempotency: None, ..large("a") }).await.unwrap_err();
    queue.files_become(1).await;
}

#[tokio::test]
async fn files_that_no_job_has_are_removed_at_the_start() {
    let mut queue = Queue::with(small());
    queue.submit_with("a", |new| new.input = Bytes::from(vec![b'7'; 1000])).await;
    let kept = queue.files();
    queue.jobs = None;
    for name in ["1-1-1", "2-2-2"] {
        std::fs::write(queue.home.path().join("payloads").join(name), "left by a server that was killed").unwrap();
    }
    queue.restart();
    queue.files_become(1).await;
    assert_eq!(queue.files(), kept);
    assert_eq!(queue.claim_one().await.input.len(), 1000);
}

#[tokio::test]
async fn a_job_whose_input_is_lost_fails_and_says_so() {
    let queue = Queue::with(small());
    queue.submit_with("a", |new| new.input = Bytes::from(vec![b'7'; 1000])).await;
    std::fs::remove_file(queue.home.path().join("payloads").join(&queue.files()[0])).unwrap();
    assert!(queue.claim(1).await.is_empty());
    let job = queue.job("a").await;
    assert_eq!(job.life.state, State::Failed);
    assert!(job.error().unwrap().starts_with("the job's input is lost: "), "{:?}", job.error());
}

#[tokio::test]
async fn a_traceback_that_is_too_long_loses_its_middle() {
    let queue = Queue::new();
    queue.submit("a").await;
    let lease = queue.claim_one().await.lease;
    let traceback = format!("begin {} end", "ü".repeat(100_000));
    queue.finish(lease, Outcome::Failed { kind: Failure::Unbound, error: "e".into(), traceback }).await.unwrap();
    let kept = queue.job("a").await.attempts.remove(0).traceback;
    assert!(kept.starts_with("begin ü") && kept.ends_with("ü end") && kept.contains(" bytes left out "));
    assert!(kept.len() < 66_000, "{}", kept.len());
}

#[tokio::test]
async fn a_damaged_or_newer_file_is_refused_and_left_as_it_is() {
    let queue = Queue { home: tempfile::tempdir().unwrap(), time: Arc::default(), jobs: None };
    let path = queue.home.path().join("jobs.db");
    std::fs::write(&path, "this is no database, however long it is made ".repeat(100)).unwrap();
    assert!(matches!(queue.open(), Err(Error::Damaged { .. })), "{:?}", queue.open().err());
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("this is no database"));
    std::fs::remove_file(&path).unwrap();
    drop(queue.open().unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert_eq!(queue.open().err(), Some(Error::Newer { path, found: 99, known: schema::VERSION }));
}

#[tokio::test]
async fn an_endpoint_that_is_flooded_does_not_keep_another_waiting() {
    let queue = Queue::new();
    let inbox = Inbox::new();
    let command = || Command { work: Box::new(Nothing), patience: Patience::Refuse, bytes: 1 };
    for _ in 0..5000 {
        inbox.push(Lane::Endpoint("flooded"), command()).unwrap();
    }
    inbox.push(Lane::Endpoint("quiet"), Command { bytes: 77, ..command() }).unwrap();
    inbox.push(Lane::Leases, Command { bytes: 78, ..command() }).unwrap();
    let batch: Vec<usize> = inbox.take().unwrap().iter().map(|command| command.bytes).collect();
    assert_eq!(batch[..4], [1, 77, 78, 1]);
    drop(queue);
}

struct Nothing;

impl inbox::Work for Nothing {
    fn apply(&mut self, _: &mut Rows<'_>) -> rusqlite::Result<()> {
        Ok(())
    }

    fn settle(self: Box<Self>, _: Result<()>) {}
}

#[tokio::test]
async fn more_than_may_wait_is_refused_as_busy_for_that_endpoint_alone() {
    let inbox = Inbox::new();
    let command = |bytes| Command { work: Box::new(Nothing), patience: Patience::Refuse, bytes };
    inbox.push(Lane::Endpoint("e"), command(64 << 20)).unwrap();
    assert_eq!(inbox.push(Lane::Endpoint("e"), command(1)), Err(Error::Busy { endpoint: "e".into() }));
    inbox.push(Lane::Endpoint("other"), command(1)).unwrap();
    inbox.push(Lane::Endpoint("e"), command(0)).unwrap();
    inbox.close();
    assert_eq!(inbox.push(Lane::Care, command(1)), Err(Error::Closed));
}

#[tokio::test]
async fn the_log_stays_within_its_bound_while_much_is_written() {
    let queue = Queue::with(|settings| settings.synchronous = Synchronous::Off);
    let input = Bytes::from(vec![b'7'; 60_000]);
    for number in 0..40 {
        let tasks: Vec<_> = (0..32)
            .map(|client| {
                let (jobs, input) = (queue.jobs().clone(), input.clone());
                tokio::spawn(async move { jobs.submit(New { input, ..new(&format!("j{number}-{client}")) }).await.unwrap() })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }
    let bytes = std::fs::metadata(queue.home.path().join("jobs.db-wal")).unwrap().len();
    // 77 MB were written.
    assert!(bytes < 24 << 20, "{bytes}");
}
