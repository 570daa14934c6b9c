use super::*;

/// Payloads above the bound are files.
fn small() -> impl FnOnce(&mut Settings) {
    |settings| settings.inline_payload = 16
}

impl Queue {
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
    // What comes after the claim is after the job's end.
    queue.submit("b").await;
    let job = queue.job("a").await;
    assert_eq!(job.life.state, State::Failed);
    assert!(job.error().unwrap().starts_with("the job's input is lost: "), "{:?}", job.error());
}

#[tokio::test]
async fn a_job_whose_output_is_lost_says_so_and_stays_so() {
    let queue = Queue::with(small());
    queue.submit("a").await;
    let large = Bytes::from(vec![b'7'; 1000]);
    queue.finish(queue.claim_one().await.lease, Outcome::Completed(large.clone())).await.unwrap();
    let (_, found) = queue.jobs().look("a").await.unwrap().unwrap();
    let file = queue.home.path().join("payloads").join(&queue.files()[0]);
    for (damage, expected) in [(Some(&b"777"[..]), "its file has 3 bytes in the place of 1000"), (None, "No such file")] {
        match damage {
            Some(content) => std::fs::write(&file, content).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        for _ in 0..2 {
            let job = queue.job("a").await;
            assert_eq!((job.life.state, &job.output), (State::Completed, &None));
            let error = job.error().unwrap();
            assert!(error.starts_with(&format!("the job has completed, but its output is lost: {expected}")), "{error}");
        }
    }
    assert_eq!(found.unwrap().bytes, 1000);
}

#[tokio::test]
async fn what_was_found_before_its_job_is_deleted_can_be_read() {
    let queue = Queue::with(small());
    queue.submit("a").await;
    let large = Bytes::from(vec![b'7'; 1000]);
    queue.finish(queue.claim_one().await.lease, Outcome::Completed(large.clone())).await.unwrap();
    let (job, found) = queue.jobs().look("a").await.unwrap().unwrap();
    assert_eq!(job.output, None);
    queue.pass(Duration::from_secs(8 * 24 * 3600));
    assert_eq!(queue.jobs().retain().await.unwrap().removed, 1);
    queue.files_become(0).await;
    assert_eq!(found.unwrap().read().unwrap(), large);
}

#[tokio::test]
async fn a_job_whose_input_cannot_be_read_for_a_while_is_tried_again() {
    let queue = Queue::with(small());
    queue.submit_with("a", |new| new.input = Bytes::from(vec![b'7'; 1000])).await;
    let file = queue.home.path().join("payloads").join(&queue.files()[0]);
    let aside = queue.home.path().join("aside");
    std::fs::rename(&file, &aside).unwrap();
    std::fs::create_dir(&file).unwrap();
    assert!(queue.claim(1).await.is_empty());
    queue.submit("b").await;
    let job = queue.job("a").await;
    assert_eq!((job.life.state, job.life.losses), (State::Delayed, 1));
    assert!(job.attempts[0].error.starts_with("the job's input cannot be read: "), "{:?}", job.attempts);
    std::fs::remove_dir(&file).unwrap();
    std::fs::rename(&aside, &file).unwrap();
    queue.pass(Duration::from_secs(1));
    queue.jobs().expire().await.unwrap();
    assert_eq!(queue.claim(2).await, ["b", "a"]);
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
