use super::*;

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
async fn a_webhook_is_due_when_its_job_has_ended_until_it_is_done() {
    let mut queue = Queue::new();
    queue.submit_with("a", |new| new.webhook = Some("http://there/".into())).await;
    let lease = queue.claim_one().await.lease;
    assert!(queue.jobs().webhooks(9).await.unwrap().is_empty());
    let finished = queue.jobs().finish(lease, completed("1"), Ran::default()).await.unwrap();
    assert!(finished.webhook, "somebody is to be told");
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
async fn an_endpoint_that_is_flooded_does_not_keep_another_waiting() {
    let queue = Queue::new();
    let inbox = Inbox::new();
    let command = || Command { work: Box::new(Nothing), patience: Patience::Refuse, bytes: 1, runtime: None };
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
    let command = |bytes| Command { work: Box::new(Nothing), patience: Patience::Refuse, bytes, runtime: None };
    inbox.push(Lane::Endpoint("e"), command(64 << 20)).unwrap();
    assert_eq!(inbox.push(Lane::Endpoint("e"), command(1)), Err(Error::Busy { endpoint: "e".into() }));
    inbox.push(Lane::Endpoint("other"), command(1)).unwrap();
    inbox.push(Lane::Endpoint("e"), command(0)).unwrap();
    inbox.close();
    assert_eq!(inbox.push(Lane::Care, command(1)), Err(Error::Closed));
}

#[test]
fn leases_that_were_asked_for_on_a_runtime_that_has_ended_are_returned() {
    let queue = Queue::new();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime().block_on(queue.submit("a"));
    let asking = runtime();
    asking.block_on(async {
        let mut claim = Box::pin(queue.jobs().claim("e", 1));
        let asked = std::future::poll_fn(|context| std::task::Poll::Ready(claim.as_mut().poll(context).is_pending())).await;
        assert!(asked, "it waits for the disk");
    });
    drop(asking);
    // It was leased, and nobody has it: it goes back, and can be claimed.
    let claimed = runtime().block_on(async {
        loop {
            let claimed = queue.claim(1).await;
            if !claimed.is_empty() {
                return claimed;
            }
        }
    });
    assert_eq!(claimed, ["a"]);
}
