//! Programs that are no good base zygotes, and workers that cannot start.

use std::sync::Arc;
use std::task::{Context, Waker};

use flash_testkit::Step::{Answer, Die, Frame};
use flash_testkit::{Script, steps};
use flash_wire::Kind;
use flash_workers::{Base, Body, Error, Outcome, Program, Status};
use serde_json::json;

use crate::trial::{Trial, settings};

/// Has a shell write bytes, given as `printf` takes them, to the control channel.
async fn start(says: &str) -> Error {
    let arguments = ["-c".into(), format!("printf '{says}' >&0").into()];
    let base = Base::new(Program::Native { path: "sh".into(), arguments: arguments.into() }, Arc::new(|_| {}));
    base.zygote().await.expect_err("it is no base zygote")
}

#[tokio::test]
async fn a_program_of_another_version_is_named_with_it() {
    let error = start(r"\001\000\000\000\020\000\000\000\000\011").await;
    assert!(matches!(error, Error::OtherVersion { version: 9, .. }), "{error:?}");
}

#[tokio::test]
async fn a_program_that_begins_with_another_frame_than_hello_does_not_keep_to_the_protocol() {
    let error = start(r"\000\000\000\000\021\000\000\000\000").await;
    assert!(matches!(error, Error::Protocol), "{error:?}");
}

#[tokio::test]
async fn a_program_that_says_what_is_no_frame_or_nothing_has_not_started() {
    for says in ["Usage", ""] {
        let error = start(says).await;
        assert!(matches!(error, Error::NotStarted { .. }), "{says:?}: {error:?}");
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let base = Base::new(Program::Native { path: "/no/such/worker".into(), arguments: Vec::new() }, Arc::new(|_| {}));
    let error = base.zygote().await.expect_err("there is none");
    assert_eq!(error.to_string(), "cannot start the interpreter `/no/such/worker`");
}

#[tokio::test]
async fn a_worker_s_report_of_why_it_cannot_serve_reaches_whoever_asks() {
    let report = json!({ "error": "no modules", "why": "a test", "try": "nothing", "traceback": null }).to_string();
    let start = Script(vec![vec![Frame(Kind::Failed as u8, 0, report.into()), Die]]);
    let trial = Trial::with_config(settings(), json!({ "functions": [], "start": start }));
    let outcome = trial.send(steps([&[Answer]])).outcome().await;
    assert!(matches!(&outcome, Outcome::Failed { error, .. } if error.to_string() == "no modules"), "{outcome:?}");
    assert!(matches!(&*trial.pool.status().borrow(), Status::Failed(error) if error.why() == "a test"));
}

#[tokio::test]
async fn a_worker_that_begins_with_another_frame_than_ready_cannot_be_used() {
    let start = Script(vec![vec![Frame(Kind::Hello as u8, 0, Vec::new())]]);
    let trial = Trial::with_config(settings(), json!({ "functions": [], "start": start }));
    let outcome = trial.send(steps([&[Answer]])).outcome().await;
    assert!(matches!(&outcome, Outcome::Failed { error, .. } if matches!(**error, Error::Protocol)), "{outcome:?}");
}

/// What a worker says first, and that it answers the probe.
fn says_ready(ready: &str) -> serde_json::Value {
    let start = Script(vec![vec![Frame(Kind::Ready as u8, 0, ready.into()), Frame(Kind::Pong as u8, 0, Vec::new())]]);
    json!({ "functions": [], "start": start })
}

#[tokio::test]
async fn whoever_asks_what_routes_take_waits_for_the_first_worker() {
    let plan = |body: &str| json!({ "name": "f", "plan": { "method": "POST", "path": "/", "body": body, "parameters": [] } });
    let ready = json!({ "pid": 1, "routes": [plan("form"), plan("fields"), { "name": "g", "plan": { "body": null } }] });
    let mut config = says_ready(&ready.to_string());
    config["functions"] = json!(["f", "f", "g"]);
    let trial = Trial::with_config(settings(), config);
    let mut asked = Box::pin(trial.pool.ready());
    assert!(asked.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending(), "nothing has run yet");
    let ready = asked.await.expect("a worker is ready");
    let bodies: Vec<_> = ready.routes.iter().map(|route| route.plan.body).collect();
    assert_eq!(bodies, [Some(Body::Form), Some(Body::Fields), None]);
}

#[tokio::test]
async fn what_routes_take_is_not_known_where_no_worker_can_start() {
    for ready in ["no JSON", "{}", r#"{"routes": [{"plan": {"body": "unknown"}}]}"#] {
        let trial = Trial::with_config(settings(), says_ready(ready));
        assert!(trial.pool.ready().await.is_none(), "{ready}");
        assert!(matches!(&*trial.pool.status().borrow(), Status::Failed(error) if matches!(**error, Error::Protocol)), "{ready}");
    }
}
