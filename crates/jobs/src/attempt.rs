//! One attempt at a job: from its lease to what became of it.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use flash_store::jobs::{Claimed, Error, Failure, Finished, Outcome, Ran};
use flash_workers::{Event, Outcome as Answer, how_it_ended};
use serde::Deserialize;

use crate::engine::{Engine, Held, Serving};
use crate::object::{self, LARGE, Object, Status};
use crate::running::{self, Began};

/// What a worker says of a job that failed.
#[derive(Deserialize)]
struct Told {
    kind: String,
    error: String,
    #[serde(rename = "type", default)]
    name: Option<String>,
    #[serde(default)]
    traceback: Option<String>,
}

/// What came of giving a job to a pool.
enum End {
    /// The attempt is over.
    Over(Outcome),
    /// The pool has no worker for it, and knows when it may have one.
    NoWorker(Instant),
    /// Its job has ended meanwhile.
    Stopped,
}

/// Has a worker run a job, and writes what became of it.
pub(crate) async fn run(engine: Arc<Engine>, serving: Held, claimed: Claimed) {
    let shared = engine.shared.clone();
    let lease = claimed.lease;
    let mut stopped = shared.running.add(&claimed.id, engine.id.clone(), lease, serving.pool.clone());
    let mut began = None;
    let end = match serving.function(&claimed.function) {
        Ok(function) => {
            let job = flash_workers::Job {
                function,
                input: claimed.input.clone(),
                limit: Some(claimed.policy.execution_timeout),
                tag: shared.tags.tag(&claimed.id),
            };
            let working = work(&engine, &serving, &claimed, job, &mut began);
            tokio::select! {
                biased;
                end = working => end,
                _ = &mut stopped => End::Stopped,
            }
        }
        Err(error) => End::Over(Outcome::Failed { kind: Failure::Unbound, error, traceback: String::new() }),
    };
    // The slot is free for the next one while this one's end is written.
    drop(serving);
    let outcome = match end {
        End::Over(outcome) => outcome,
        End::NoWorker(again) => {
            engine.pause(again);
            Outcome::Returned
        }
        End::Stopped => {
            shared.running.remove(lease);
            shared.streams.ended(&claimed.id);
            return;
        }
    };
    let ran = began.as_ref().map_or_else(Ran::default, |began: &Began| Ran { worker: Some(began.name.clone()), begun: Some(began.at) });
    // The next ones are leased with the same commit.
    let asked = engine.ask_of_ready();
    let finished = shared.jobs.finish_and_claim(lease, outcome.clone(), ran, &engine.id, asked.count).await;
    let lapsed = shared.running.remove(lease);
    let finished = finished.map(|(finished, claimed)| {
        engine.got(&asked, claimed);
        finished
    });
    if finished.is_err() {
        engine.got(&asked, Vec::new());
    }
    match finished {
        Ok(finished) => settle(&engine, &claimed, &outcome, began.as_ref(), finished),
        Err(Error::Stale) => {
            let answered = !matches!(outcome, Outcome::Lost { .. } | Outcome::Returned);
            tracing::debug!(job = claimed.id, attempt = lease.attempt(), lapsed, answered, "an attempt without a lease has ended");
            if lapsed && answered {
                (shared.note)(
                    &engine.id,
                    &format!(
                        "the answer to job {} was refused: its attempt on {} had lost its lease, this worker did not run for {} s",
                        claimed.id,
                        began.as_ref().map_or("a worker", |began| &*began.name),
                        shared.settings.lease.as_secs()
                    ),
                );
            }
        }
        Err(error) => tracing::error!(job = claimed.id, %error, "the end of an attempt could not be written"),
    }
    engine.look.notify_one();
}

/// Nobody is there to run it any more: it waits on.
pub(crate) async fn give_back(engine: Arc<Engine>, claimed: Claimed) {
    if let Err(error) = engine.shared.jobs.finish(claimed.lease, Outcome::Returned, Ran::default()).await {
        tracing::debug!(job = claimed.id, %error, "a lease was over before it was given back");
    }
}

/// Gives the job to the pool and hears what comes of it.
async fn work(engine: &Engine, serving: &Serving, claimed: &Claimed, job: flash_workers::Job, began: &mut Option<Began>) -> End {
    let (shared, id, lease) = (&engine.shared, &claimed.id, claimed.lease);
    let given = Instant::now();
    let mut events = serving.pool.job(job);
    // A generator's answer is the list of its parts: one that is to be too long is not waited for.
    let mut yielded = 0;
    loop {
        match events.next().await {
            Some(Event::Begun(begun)) => {
                shared.streams.forget(id);
                let name = running::name(begun.worker, begun.pid);
                let at = shared.ago(begun.at.elapsed());
                let new = Began { worker: begun.worker, name, at };
                shared.running.begun(lease, new.clone());
                *began = Some(new);
            }
            Some(Event::Part(part)) => {
                let limit = shared.settings.output_bytes;
                yielded += part.len() + 1;
                if yielded > limit {
                    return End::Over(unserialisable(format!(
                        "the parts of the output are longer than the {limit} bytes that are allowed"
                    )));
                }
                if !shared.streams.push(id, lease.attempt(), part) {
                    let limit = shared.settings.stream_bytes;
                    return End::Over(unserialisable(format!(
                        "nobody has fetched the parts by `stream`, and those of all jobs together are longer than the {limit} bytes that are allowed"
                    )));
                }
            }
            Some(Event::Progress(progress)) => shared.running.progress(lease, progress),
            Some(Event::Output(..) | Event::StateLost) => {}
            Some(Event::End(answer)) => {
                if matches!(answer, Answer::Answered(_)) {
                    serving.took(began.as_ref().map_or(0, |began| began.worker), given);
                }
                return ended(engine, claimed, answer);
            }
            None => return End::Over(Outcome::Lost { why: "its worker has ended".into() }),
        }
    }
}

fn ended(engine: &Engine, claimed: &Claimed, answer: Answer) -> End {
    match answer {
        Answer::Answered(answer) if answer.status == 200 => {
            let limit = engine.shared.settings.output_bytes;
            let body = answer.body;
            if body.len() > limit {
                return End::Over(unserialisable(format!("the output has {} bytes; at most {limit} are allowed", body.len())));
            }
            End::Over(Outcome::Completed(if body.is_empty() { Bytes::from_static(b"null") } else { body }))
        }
        Answer::Answered(answer) => End::Over(failed(&answer.body)),
        Answer::Expired | Answer::Unserved => End::Over(Outcome::TimedOut),
        Answer::Lost(status) => End::Over(Outcome::Lost { why: format!("its worker died{}", how_it_ended(status)) }),
        Answer::Refused => End::NoWorker(Instant::now() + crate::engine::MOMENT),
        Answer::Failed { error, retry_in } => {
            tracing::debug!(endpoint = &*engine.id, job = claimed.id, %error, "no worker can be started for a job");
            End::NoWorker(Instant::now() + retry_in)
        }
    }
}

/// What a worker's answer says of a failure.
fn failed(body: &[u8]) -> Outcome {
    let Ok(told) = serde_json::from_slice::<Told>(body) else {
        let error = "the worker failed and did not say how".to_owned();
        return Outcome::Failed { kind: Failure::Raised, error, traceback: String::from_utf8_lossy(body).into_owned() };
    };
    let kind = match &*told.kind {
        "unbound" => Failure::Unbound,
        "unserialisable" => Failure::Unserialisable,
        _ => Failure::Raised,
    };
    let error = object::named(kind, told.name.as_deref().unwrap_or_default(), &told.error);
    Outcome::Failed { kind, error, traceback: told.traceback.unwrap_or_default() }
}

fn unserialisable(error: String) -> Outcome {
    Outcome::Failed { kind: Failure::Unserialisable, error, traceback: String::new() }
}

/// Tells who waits, where the job has ended.
fn settle(engine: &Engine, claimed: &Claimed, outcome: &Outcome, began: Option<&Began>, finished: Finished) {
    let (shared, id) = (&engine.shared, &claimed.id);
    if !finished.state.has_ended() {
        return; // what is due is looked after
    }
    shared.streams.ended(id);
    if finished.webhook {
        shared.webhooks.notify_one();
    }
    if !shared.waiters.has(id) {
        return;
    }
    if matches!(outcome, Outcome::Completed(output) if output.len() > LARGE) {
        return shared.waiters.tell(id, None);
    }
    let begun_at = began.map_or(finished.now, |began| began.at);
    let (error, traceback) = match outcome {
        Outcome::Failed { error, traceback, .. } => (Some(&**error), Some(&**traceback).filter(|text| !text.is_empty())),
        Outcome::Lost { why } => (Some(&**why), None),
        Outcome::TimedOut => (Some("the execution time limit was over"), None),
        Outcome::Completed(_) | Outcome::Returned => (None, None),
    };
    let object = Object {
        id,
        status: Status::of(finished.state, true),
        output: match outcome {
            Outcome::Completed(output) => Some(output),
            _ => None,
        },
        error,
        traceback,
        delay: Some(begun_at.since(claimed.arrived)),
        execution: Some(finished.now.since(begun_at)),
        worker: began.map(|began| &*began.name),
        retries: claimed.failures,
    };
    shared.waiters.tell(id, Some(&object.json()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_s_words_become_the_job_s_error() {
        for (body, kind, error) in [
            (r#"{"kind": "raised", "error": "boom", "type": "ValueError", "traceback": "Traceback"}"#, Failure::Raised, "ValueError: boom"),
            (
                r#"{"kind": "unbound", "error": "`x` is missing", "type": "TypeError", "traceback": null}"#,
                Failure::Unbound,
                "`x` is missing",
            ),
            (r#"{"kind": "unserialisable", "error": "a set"}"#, Failure::Unserialisable, "a set"),
            (r#"{"kind": "raised", "error": "boom"}"#, Failure::Raised, "boom"),
            ("what", Failure::Raised, "the worker failed and did not say how"),
        ] {
            let Outcome::Failed { kind: found, error: told, .. } = failed(body.as_bytes()) else { panic!("{body}") };
            assert_eq!((found, &*told), (kind, error), "{body}");
        }
    }
}
