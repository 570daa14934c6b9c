//! Workers in Python that come and go: the zygote that has imported a project, and what is left of it when nobody asks any more.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flash_wire::{Content, RequestHead};
use flash_workers::{
    Base, Cancel, Devices, Error, Interpreter, Limits, Outcome, Pool, Printed, Request, Settings, Snapshot, State, Workers,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("this is in it")
}

/// An endpoint of one module; `GET /who` says which process it is, and which one has forked it.
struct Trial {
    base: Arc<Base>,
    pool: Pool,
    directory: tempfile::TempDir,
}

const WHO: &str = "
import os
from runpod_flash import LiveLoadBalancer, remote

api = LiveLoadBalancer(name='api')

@remote(api, method='GET', path='/who')
def who() -> list[int]:
    return [os.getpid(), os.getppid()]
";

impl Trial {
    fn new(workers: Workers, source: &str) -> Self {
        Self::of(workers, 128, source, |base| base)
    }

    fn of(workers: Workers, slots: usize, source: &str, more: impl FnOnce(Base) -> Base) -> Self {
        let python = repository().join(".venv/bin/python");
        assert!(python.exists(), "`cargo xtask test` makes .venv");
        let directory = tempfile::tempdir().expect("there is room");
        let file = directory.path().join("trial.py");
        std::fs::write(&file, source).expect("there is room");
        let package = Some(repository().join("python/runpod_flash"));
        let print = |printed: Printed<'_>| eprint!("{}", printed.text);
        let base = Arc::new(more(Base::new(Interpreter { python, package, routes: true }, Arc::new(print))));
        let module = json!({ "name": "trial", "file": file, "import_base": directory.path() });
        let functions = json!([{ "module": module, "qualname": "who", "method": "GET", "path": "/who" }]);
        let config = json!({ "endpoint": "api", "functions": functions, "inline": true, "reload": false, "host": null });
        let settings = Settings {
            limits: Limits { slots, ahead: 0, waiting: 1000, grace: PATIENCE },
            workers,
            timeout: PATIENCE,
            start_timeout: PATIENCE,
            replace_stuck: true,
            unheard: 0,
        };
        let pool = Pool::start("api", base.clone(), config, settings);
        Self { base, pool, directory }
    }

    async fn outcome(&self) -> Outcome {
        let head = RequestHead { path: Vec::new(), query: String::new(), content: Content::Untyped };
        self.pool.request(Request { route: 0, head, body: Bytes::new(), tag: 0, cancel: Cancel::UnlessBegun }).await
    }

    /// The worker that answers, and its zygote.
    async fn who(&self) -> [u32; 2] {
        match self.outcome().await {
            Outcome::Answered(answer) if answer.status == 200 => serde_json::from_slice(&answer.body).expect("it says two numbers"),
            other => panic!("it was not answered but {other:?}"),
        }
    }

    async fn until(&self, what: &str, wanted: impl Fn(&Snapshot) -> bool) {
        wait_for(what, || wanted(&self.pool.snapshot())).await;
    }

    async fn until_none(&self) {
        self.until("no worker", |seen| seen.ready + seen.starting + seen.stopping == 0).await;
    }

    async fn base_children(&self) -> Vec<u32> {
        let base = self.base.zygote().await.expect("it runs").about.pid;
        let list = std::fs::read_to_string(format!("/proc/{base}/task/{base}/children")).expect("it runs");
        list.split_whitespace().map(|pid| pid.parse().expect("these are numbers")).collect()
    }
}

async fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let met = tokio::time::timeout(PATIENCE, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    met.await.unwrap_or_else(|_| panic!("waited in vain for {what}"));
}

fn is_there(process: u32) -> bool {
    Path::new(&format!("/proc/{process}")).exists()
}

fn brief(max: usize) -> Workers {
    Workers::scaled(0, max, Duration::from_millis(50), 4)
}

#[tokio::test]
async fn workers_come_from_a_zygote_that_stays_until_it_is_evicted_and_documents_wake_nobody() {
    let trial = Trial::new(brief(2), WHO);
    let [worker, zygote] = trial.who().await;
    trial.until_none().await;
    assert!(!is_there(worker) && is_there(zygote));
    let [next, same] = trial.who().await;
    assert_eq!((next == worker, same), (false, zygote), "its modules are imported once");
    trial.until_none().await;
    assert!(trial.pool.evict().await);
    wait_for("the zygote's end", || !is_there(zygote)).await;
    let described: Value = serde_json::from_slice(&trial.pool.description().await.expect("it was made before")).expect("it is JSON");
    assert!(described["paths"]["/who"]["get"].is_object(), "{described}");
    assert_eq!(trial.base_children().await, [0; 0]);
    let [_, other] = trial.who().await;
    assert_ne!(other, zygote);
}

#[tokio::test]
async fn a_thousand_requests_at_once_are_answered_by_one_worker_or_a_few() {
    let trial = Trial::new(brief(4), WHO);
    trial.until_none().await;
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let pool = trial.pool.clone();
        let head = RequestHead { path: Vec::new(), query: String::new(), content: Content::Untyped };
        asked.spawn(async move { pool.request(Request { route: 0, head, body: Bytes::new(), tag: 0, cancel: Cancel::UnlessBegun }).await });
    }
    let mut workers = std::collections::BTreeSet::new();
    while let Some(outcome) = asked.join_next().await {
        let Outcome::Answered(answer) = outcome.expect("it does not panic") else { panic!("one was not answered") };
        assert_eq!(answer.status, 200);
        workers.insert(answer.body);
    }
    assert!(workers.len() <= 4, "{workers:?}");
}

#[tokio::test]
async fn a_worker_that_is_ready_and_whose_loop_does_not_go_round_is_not_taken() {
    // Only a worker has this loop; the first thing that it does in it is to wait.
    let hangs = "
import signal
from runpod_flash._worker import serve
serve._Selector.select = lambda self, timeout=None: signal.pause()
";
    let workers = Workers { probe_timeout: Duration::from_millis(100), ..brief(1) };
    let trial = Trial::new(workers, &format!("{WHO}{hangs}"));
    let outcome = trial.outcome().await;
    let Outcome::Failed { error, .. } = &outcome else { panic!("nobody could answer, and there was {outcome:?}") };
    assert_eq!(error.gist(), "its workers do not answer");
}

#[tokio::test]
async fn a_build_that_worked_is_tried_again_until_its_modules_can_be_imported_once_more() {
    let crashes = "
from pathlib import Path
if Path(__file__).with_name('broken').exists():
    os._exit(7)
";
    let trial = Trial::new(Workers::scaled(0, 2, PATIENCE, 4), &format!("{WHO}{crashes}"));
    let [worker, zygote] = trial.who().await;
    let broken = trial.directory.path().join("broken");
    std::fs::write(&broken, "").expect("there is room");
    let zygote = Pid::from_raw(zygote.cast_signed()).expect("it is positive");
    kill_process(zygote, Signal::KILL).expect("it runs");
    wait_for("the end of the zygote's worker", || !is_there(worker)).await;
    while !matches!(trial.outcome().await, Outcome::Failed { .. }) {}
    trial.until("a crash loop", |seen| matches!(seen.state, State::CrashLoop { .. })).await;
    std::fs::remove_file(&broken).expect("it is there");
    trial.until("its end", |seen| seen.ready == 1).await;
    trial.who().await;
    assert!(matches!(trial.pool.snapshot().state, State::Ready));
}

/// Answers with its GPU and what that was to its module, once two workers run it.
const GPU: &str = "
import os, pathlib, time
from runpod_flash import LiveLoadBalancer, remote

api = LiveLoadBalancer(name='api')
imported = os.environ.get('CUDA_VISIBLE_DEVICES')

@remote(api, method='GET', path='/who')
def who() -> list[str | None]:
    mine = os.environ.get('CUDA_VISIBLE_DEVICES')
    here = pathlib.Path(__file__).parent
    (here / f'{mine}.met').touch()
    while len(list(here.glob('*.met'))) < 2:
        time.sleep(0.005)
    return [mine, imported]
";

#[tokio::test]
async fn each_worker_has_gpus_of_its_own_and_none_starts_where_there_are_too_few() {
    let devices = Devices::new(vec!["3".into(), "GPU-5".into()]);
    let two = || Workers { max: 2, ..Workers::fixed(2) };
    let trial = Trial::of(two(), 1, GPU, |base| base.with_devices(devices.clone(), 1));
    let ask = || async {
        match trial.outcome().await {
            Outcome::Answered(answer) => serde_json::from_slice::<[Value; 2]>(&answer.body).expect("it says two names"),
            other => panic!("it was not answered but {other:?}"),
        }
    };
    let ([mut one, one_imported], [mut other, other_imported]) = tokio::join!(ask(), ask());
    if one != "3" {
        std::mem::swap(&mut one, &mut other);
    }
    assert_eq!((one, other), (json!("3"), json!("GPU-5")));
    assert_eq!(one_imported, other_imported, "both were forked from one that has imported the module");
    assert!(one_imported == "3" || one_imported == "GPU-5", "which had the devices of one of them: {one_imported}");

    let late = Trial::of(Workers::scaled(1, 1, PATIENCE, 1), 1, GPU, |base| base.with_devices(devices.clone(), 1));
    let mut status = late.pool.status();
    let failed = status.wait_for(|status| matches!(status, flash_workers::Status::Failed(_))).await.expect("the pool is there").clone();
    let flash_workers::Status::Failed(error) = failed else { unreachable!("it was waited for") };
    assert!(matches!(*error, Error::NoDevice { wanted: 1, there: 2 }), "{error}");
    trial.pool.close(Duration::ZERO).await;
    late.until("a worker, now that two GPUs are free", |seen| seen.ready == 1).await;
    late.pool.close(Duration::ZERO).await;
}
