use super::*;

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
    assert_eq!(finished, Finished { state: State::Completed, due: None, now: Timestamp(START + 42), webhook: false });
    queue.restart();
    let job = queue.job("a").await;
    assert_eq!((job.life.state, job.output.as_deref(), job.worker.as_deref()), (State::Completed, Some(&b"[1]"[..]), Some("w")));
    assert_eq!((job.delay(), job.execution()), (Some(Duration::from_millis(32)), Some(Duration::from_millis(10))));
    assert_eq!(queue.jobs().counts("e").of(State::Completed), 1);
    assert_eq!(queue.jobs().counts("e").open(), 0);
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
async fn what_is_tried_again_is_leased_after_what_waits_by_then_and_before_what_comes_later_over_a_restart_too() {
    let mut queue = Queue::new();
    for id in ["a", "b", "c"] {
        queue.submit(id).await;
    }
    let lost = queue.claim_one().await;
    let due = queue.jobs().finish(lost.lease, Outcome::Lost { why: "killed".into() }, Ran::default()).await.unwrap().due.unwrap();
    queue.pass(due.since(queue.jobs().now()));
    queue.jobs().expire().await.unwrap();
    queue.restart();
    queue.submit("d").await;
    assert_eq!(queue.claim(1).await, ["b"]);
    queue.restart(); // a void lease has its place again
    assert_eq!(queue.claim(9).await, ["b", "c", "a", "d"]);
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
async fn what_ran_when_its_time_to_live_was_over_says_who_had_it_and_since_when() {
    let queue = Queue::new();
    for id in ["runs", "waits"] {
        queue.submit_with(id, |new| new.policy.ttl = Duration::from_secs(10)).await;
    }
    queue.claim_one().await;
    let begun = queue.jobs().now() + Duration::from_secs(3);
    queue.pass(Duration::from_secs(10));
    let who = move |id: &str| {
        assert_eq!(id, "runs", "what waits has no worker");
        Ran { worker: Some("w1-7".into()), begun: Some(begun) }
    };
    queue.jobs().expire_of(who).await.unwrap();
    let job = queue.job("runs").await;
    assert_eq!((job.worker.as_deref(), job.delay()), (Some("w1-7"), Some(Duration::from_secs(3))));
    assert_eq!((queue.job("waits").await.worker, queue.state("waits").await), (None, State::TimedOut));
}

#[tokio::test]
async fn a_job_that_ran_out_of_its_execution_time_once_and_of_its_time_to_live_later_says_the_latter() {
    let queue = Queue::new();
    queue.submit_with("a", |new| new.policy.ttl = Duration::from_secs(10)).await;
    let lease = queue.claim_one().await.lease;
    queue.finish(lease, Outcome::TimedOut).await.unwrap();
    queue.pass(Duration::from_secs(1));
    queue.jobs().retry("a").await.unwrap();
    queue.pass(Duration::from_secs(10));
    queue.jobs().expire().await.unwrap();
    let job = queue.job("a").await;
    assert_eq!((job.life.state, job.error()), (State::TimedOut, Some("the job's time to live was over before it completed")));
}

#[tokio::test]
async fn attempts_are_numbered_by_what_began_and_not_by_leases() {
    let queue = Queue::new();
    queue.submit("a").await;
    for _ in 0..8 {
        let lease = queue.claim_one().await.lease;
        queue.finish(lease, Outcome::Returned).await.unwrap();
    }
    for _ in 0..2 {
        let lease = queue.claim_one().await.lease;
        queue.finish(lease, raised("no")).await.unwrap();
        queue.pass(Duration::from_secs(60));
        queue.jobs().expire().await.unwrap();
    }
    assert_eq!(queue.job("a").await.attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1, 2]);
}

#[tokio::test]
async fn cancelling_takes_a_job_back_wherever_it_is() {
    let queue = Queue::new();
    queue.submit("leased").await;
    let lease = queue.claim_one().await.lease;
    queue.submit("ready").await;
    queue.submit_with("delayed", |new| new.policy.delay = Duration::from_secs(1)).await;
    let ran = Ran { worker: Some("w1-7".into()), begun: Some(queue.jobs().now()) };
    let cancel = async |id: &str| queue.jobs().cancel(id, ran.clone()).await.unwrap();
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
    for (id, worker) in [("leased", Some("w1-7")), ("ready", None)] {
        assert_eq!(queue.job(id).await.worker.as_deref(), worker, "{id}: what had begun says who had it");
    }
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
async fn leases_that_nobody_took_are_returned() {
    let queue = Queue::new();
    queue.submit("a").await;
    let mut asked = Box::pin(queue.jobs().claim("e", 1));
    let context = &mut std::task::Context::from_waker(std::task::Waker::noop());
    assert!(asked.as_mut().poll(context).is_pending());
    // It is leased when the next answer comes, and who asked goes away.
    queue.submit("b").await;
    assert_eq!(queue.state("a").await, State::Leased);
    drop(asked);
    queue.submit("c").await;
    assert_eq!(queue.claim(9).await, ["a", "b", "c"]);
}
