//! Short jobs that a worker has before it has a slot for them.

use std::time::Duration;

use bytes::Bytes;
use flash_testkit::Step::{self, Answer, Begin, Die, Followed, Frame, Stall};
use flash_testkit::steps;
use flash_wire::Kind;
use flash_workers::{Event, Events, Job, Limits, Outcome, Settings, Workers};

use crate::trial::{PATIENCE, Trial, Worker, settings};

/// A worker that is not sent anything ahead for so long is not known to be quick: the machine has other things to do.
const ENOUGH: Duration = Duration::from_secs(1);

const PROGRESS: u8 = 2;

async fn next(events: &mut Events) -> Event {
    tokio::time::timeout(PATIENCE, events.next()).await.expect("something comes").expect("it has not ended")
}

async fn end(events: &mut Events) -> Outcome {
    loop {
        match next(events).await {
            Event::End(outcome) => return outcome,
            Event::Begun(_) | Event::Progress(_) => {}
            other => panic!("it has not ended, but {other:?} came"),
        }
    }
}

async fn worker(mut events: Events) -> Worker {
    match end(&mut events).await {
        Outcome::Answered(answer) => serde_json::from_slice(&answer.body).expect("a scripted worker says who it is"),
        other => panic!("it was not answered but {other:?}"),
    }
}

/// One job at a time on each worker, and others ahead.
struct Quick(Trial);

impl Quick {
    fn new(workers: usize) -> Self {
        let limits = Limits { slots: 1, ahead: 8, waiting: 1000, ..settings().limits };
        Self(Trial::new(Settings { limits, workers: Workers::fixed(workers), timeout: Duration::from_secs(600), ..settings() }))
    }

    fn job(&self, input: Bytes) -> Events {
        self.0.pool.job(Job { function: 0, input, limit: None, tag: 7 })
    }

    /// As many jobs as show that its workers are quick. Gives how many the worker of the last one has had.
    async fn warm(&self) -> usize {
        let many: Vec<_> = (0..200).map(|_| self.job(steps([&[Begin, Answer]]))).collect();
        let mut runs = 0;
        for events in many {
            runs = worker(events).await.runs;
        }
        runs
    }

    /// Jobs that go on as `then` says once so many lie behind each of them, those that do, which answer, and as [`Self::warm`].
    async fn followed(&self, long: usize, behind: usize, then: &[Step]) -> (Vec<Events>, Vec<Events>, usize) {
        let said = Frame(Kind::Yield as u8, 0, vec![PROGRESS, b'1']);
        let script = [&[Begin, Followed(behind), said], then].concat();
        loop {
            let runs = self.warm().await;
            let mut first: Vec<_> = (0..long).map(|_| self.job(steps([&script]))).collect();
            let others: Vec<_> = (0..long * behind).map(|_| self.job(steps([&[Begin, Answer]]))).collect();
            let all_said = async {
                for events in &mut first {
                    while !matches!(next(events).await, Event::Progress(_)) {}
                }
            };
            if tokio::time::timeout(ENOUGH, all_said).await.is_ok() {
                return (first, others, runs);
            }
            drop(first);
            for events in others {
                worker(events).await;
            }
        }
    }
}

#[tokio::test]
async fn what_lies_behind_a_job_that_turns_out_long_goes_to_another_worker() {
    let quick = Quick::new(2);
    let (mut long, behind, _) = quick.followed(2, 2, &[Stall, Answer]).await;
    drop(long.pop());
    let mut numbers = Vec::new();
    for events in behind {
        numbers.push(worker(events).await.number);
    }
    numbers.dedup();
    assert_eq!(numbers.len(), 1, "the other one is still at its long job");
    drop(long);
}

#[tokio::test]
async fn a_worker_that_dies_loses_the_job_that_it_has_begun_alone() {
    let quick = Quick::new(1);
    let (mut dies, behind, _) = quick.followed(1, 3, &[Die]).await;
    assert!(matches!(end(&mut dies[0]).await, Outcome::Lost(Some(_))));
    let mut before = 0;
    for events in behind {
        let worker = worker(events).await;
        assert_eq!((worker.number, worker.runs), (2, before + 1), "they come in their order");
        before = worker.runs;
    }
}

#[tokio::test]
async fn a_job_that_is_given_up_in_line_is_not_run_and_the_others_are() {
    let quick = Quick::new(1);
    let (mut long, mut behind, runs) = quick.followed(1, 2, &[Stall]).await;
    drop(behind.remove(0));
    drop(long.pop());
    let last = worker(behind.remove(0)).await;
    assert_eq!((last.number, last.runs), (1, runs + 2), "the long one, and this");
}
