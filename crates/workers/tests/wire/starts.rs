//! Programs that are no good base zygotes, and workers that cannot start.

use std::sync::Arc;

use flash_testkit::Step::{Answer, Die, Frame};
use flash_testkit::{Script, steps};
use flash_wire::Kind;
use flash_workers::{Base, Error, Outcome, Program, Status};
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
    assert!(matches!(&outcome, Outcome::Failed(error) if error.to_string() == "no modules"), "{outcome:?}");
    assert!(matches!(&*trial.pool.status().borrow(), Status::Failed(error) if error.why() == "a test"));
}

#[tokio::test]
async fn a_worker_that_begins_with_another_frame_than_ready_cannot_be_used() {
    let start = Script(vec![vec![Frame(Kind::Hello as u8, 0, Vec::new())]]);
    let trial = Trial::with_config(settings(), json!({ "functions": [], "start": start }));
    let outcome = trial.send(steps([&[Answer]])).outcome().await;
    assert!(matches!(&outcome, Outcome::Failed(error) if matches!(**error, Error::Protocol)), "{outcome:?}");
}
