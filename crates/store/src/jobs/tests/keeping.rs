use super::*;

#[tokio::test]
async fn a_second_server_is_refused_until_the_first_one_ends() {
    let mut queue = Queue::new();
    assert_eq!(queue.open().err(), Some(Error::InUse { home: queue.home.path().to_owned() }));
    queue.submit("a").await;
    queue.jobs = None;
    assert!(queue.open().is_ok());
}

#[test]
fn sqlite_is_one_that_does_not_lose_a_commit_beside_a_checkpoint() {
    // Before 3.51.3 a commit that began the log anew while another connection checkpointed could be skipped by the next checkpoint.
    assert!(rusqlite::version_number() >= 3_051_003, "{}", rusqlite::version());
}

#[tokio::test]
async fn retention_deletes_what_has_ended_long_ago_and_never_what_has_not() {
    let queue = Queue::new();
    for id in ["completed", "running", "waiting"] {
        queue.submit_with(id, |new| new.policy.ttl = Duration::from_secs(30 * 24 * 3600)).await;
    }
    let lease = queue.claim_one().await.lease;
    let again = queue.jobs().finish(lease, Outcome::Lost { why: "killed".into() }, Ran::default()).await.unwrap();
    let running = queue.claim_one().await.lease;
    queue.pass(again.due.unwrap().since(queue.jobs().now()));
    queue.jobs().expire().await.unwrap();
    let [waiting, lease] =
        queue.jobs().claim("e", 2).await.unwrap().try_into().map(|both: [Claimed; 2]| both.map(|job| job.lease)).unwrap();
    queue.finish(waiting, Outcome::Returned).await.unwrap();
    queue.finish(lease, completed("1")).await.unwrap();
    assert_eq!(queue.jobs().counts("e").retried, 1);
    queue.pass(Duration::from_secs(7 * 24 * 3600));
    assert_eq!(queue.jobs().retain().await.unwrap(), Retained { removed: 0, more: false });
    queue.pass(Duration::from_millis(1));
    assert_eq!(queue.jobs().retain().await.unwrap().removed, 1);
    assert!(queue.jobs().get("completed").await.unwrap().is_none());
    let counts = queue.jobs().counts("e");
    assert_eq!((counts.of(State::Completed), counts.retried), (0, 0), "what is deleted is not counted");
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
    queue.jobs().cancel("a", Ran::default()).await.unwrap();
    queue.pass(Duration::from_secs(8 * 24 * 3600));
    assert_eq!(queue.jobs().retain().await.unwrap().removed, 1);
    assert!(!queue.jobs().submit(New { idempotency: idempotency(2), ..new("b") }).await.unwrap().existing);
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
async fn an_emptied_file_is_refused_and_one_that_was_never_filled_is_not() {
    let queue = Queue { home: tempfile::tempdir().unwrap(), time: Arc::default(), jobs: None };
    let path = queue.home.path().join("jobs.db");
    // A server that was killed in its first moments leaves that.
    std::fs::write(&path, "").unwrap();
    drop(queue.open().unwrap());
    for wal in [None, Some("")] {
        std::fs::write(&path, "").unwrap();
        if let Some(content) = wal {
            std::fs::write(path.with_extension("db-wal"), content).unwrap();
        }
        for _ in 0..2 {
            let error = queue.open().err();
            assert!(matches!(&error, Some(Error::Damaged { why, .. }) if why == "it is empty, and was not before"), "{error:?}");
        }
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
    }
    // As its message says.
    std::fs::rename(&path, queue.home.path().join("aside")).unwrap();
    drop(queue.open().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn others_write_between_the_steps_of_a_purge() {
    let queue = Queue::with(|settings| settings.synchronous = Synchronous::Off);
    let steps = 24;
    let fill: Vec<_> = (0..steps * CHUNK)
        .map(|number| {
            let jobs = queue.jobs().clone();
            tokio::spawn(async move { jobs.submit(new(&format!("j{number}"))).await.unwrap() })
        })
        .collect();
    for one in fill {
        one.await.unwrap();
    }
    let jobs = queue.jobs().clone();
    let purge = tokio::spawn(async move { jobs.purge("e").await.unwrap() });
    let mut others = 0;
    while !purge.is_finished() {
        queue.submit_with(&format!("o{others}"), |new| new.endpoint = "other".into()).await;
        others += 1;
    }
    assert_eq!(purge.await.unwrap(), steps * CHUNK);
    assert!(others > 3 * steps, "{others}: each has waited for a step");
}

#[tokio::test]
async fn a_file_that_is_not_as_this_release_makes_it_is_refused_with_what_to_do() {
    let queue = Queue { home: tempfile::tempdir().unwrap(), time: Arc::default(), jobs: None };
    let path = queue.home.path().join("jobs.db");
    drop(queue.open().unwrap());
    let back = format!("'PRAGMA user_version = {}'", schema::VERSION);
    for number in [0, -1] {
        Connection::open(&path).unwrap().pragma_update(None, "user_version", number).unwrap();
        let error = queue.open().err().expect("its number is not ours");
        assert!(error.to_string().ends_with("is not as this version of flash makes it"), "{error}");
        assert!(error.why().starts_with(&format!("its `user_version` is {number}, ")), "{}", error.why());
        assert!(error.remedy().contains(&back), "{}", error.remedy());
    }
    Connection::open(&path).unwrap().execute_batch(&format!("PRAGMA user_version = {}; DROP TABLE webhooks", schema::VERSION)).unwrap();
    let error = queue.open().err().expect("a table is gone");
    assert!(error.why().starts_with("it has no table `webhooks`"), "{}", error.why());
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

#[tokio::test]
async fn what_has_ended_is_deleted_in_steps() {
    let queue = Queue::with(|settings| settings.synchronous = Synchronous::Off);
    for number in 0..300 {
        queue.submit(&format!("j{number}")).await;
    }
    assert_eq!(queue.jobs().purge("e").await, Ok(300));
    queue.pass(Duration::from_secs(8 * 24 * 3600));
    let mut removed = 0;
    loop {
        let step = queue.jobs().retain().await.unwrap();
        removed += step.removed;
        if !step.more {
            break;
        }
    }
    assert_eq!((removed, queue.jobs().counts("e")), (300, Counts::default()));
}

#[tokio::test]
async fn a_file_of_the_first_schema_is_brought_up_to_ours() {
    let mut queue = Queue::new();
    for (id, priority) in [("a", 0), ("b", 0), ("top", 5)] {
        queue.submit_with(id, |new| new.policy.priority = priority).await;
    }
    let lease = queue.claim_one().await.lease;
    let again = queue.jobs().finish(lease, Outcome::Lost { why: "killed".into() }, Ran::default()).await.unwrap();
    queue.pass(again.due.unwrap().since(queue.jobs().now()));
    queue.jobs().expire().await.unwrap();
    queue.jobs = None;
    let former = Connection::open(queue.home.path().join("jobs.db")).unwrap();
    let undone = "UPDATE jobs SET rank = -priority WHERE state IN (0, 2);
        ALTER TABLE clock DROP COLUMN last;
        DELETE FROM counts WHERE state = 7;
        PRAGMA user_version = 1;";
    former.execute_batch(undone).unwrap();
    drop(former);
    queue.restart();
    queue.submit("c").await;
    assert_eq!(queue.jobs().counts("e").retried, 1);
    assert_eq!(queue.claim(9).await, ["top", "a", "b", "c"]);
}
