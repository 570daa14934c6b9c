//! The job API: from a request to its answer. Who may ask was decided before the body was read.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flash_gateway::{Answering, Caller, MountedBody, Reply, Whole};
use flash_queue::State;
use flash_store::jobs::{Error, Filter, Idempotency, Job, Large, New, Resent, Submitted};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use sha2::{Digest as _, Sha256};

use crate::engine::Engine;
use crate::engines::Engines;
use crate::health;
use crate::id::Kind;
use crate::object::{LARGE, Object, Status};
use crate::operation::{self, Operation};
use crate::pieces;
use crate::refusal::{Refusal, json};
use crate::request;
use crate::streams::{Place, Run};
use crate::waiters::Waiter;
use crate::webhook;

/// Bodies of requests that need none.
const SMALL: usize = 64 << 10;
/// Tells repeated submissions from others.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The longest of them.
const LONGEST_KEY: usize = 255;

type Answer = Result<Response<Reply>, Refusal>;

/// The job API as the gateway mounts it at [`crate::ROOT`].
pub fn api(engines: &Engines) -> Arc<dyn Whole> {
    Arc::new(Api(engines.clone()))
}

struct Api(Engines);

impl Whole for Api {
    fn admit(&self, head: &Parts, caller: Caller) -> Result<usize, Box<Response<Bytes>>> {
        self.admitted(head, caller).map_err(|refusal| Box::new(refusal.response()))
    }

    fn answer(self: Arc<Self>, request: Request<Bytes>, _: Caller) -> Answering<Reply> {
        Box::pin(async move { self.answered(request).await.unwrap_or_else(|refusal| refusal.response().map(Reply::from)) })
    }

    fn refuse(&self, status: StatusCode, text: &str) -> Response<Bytes> {
        Refusal::Edge(status, text.to_owned()).response()
    }
}

impl Api {
    fn admitted(&self, head: &Parts, caller: Caller) -> Result<usize, Refusal> {
        // Whether there is an endpoint of this name is nobody's affair who may not call it.
        if !caller.admitted {
            let engine = self.0.engine(&operation::endpoint(head.uri.path()));
            if !engine.and_then(|engine| engine.serving()).is_some_and(|serving| serving.public) {
                return Err(Refusal::Unauthorized);
            }
        }
        Ok(match operation::read(&head.method, head.uri.path())?.operation {
            Operation::Run | Operation::Runsync => self.0.settings().input_bytes,
            _ => SMALL,
        })
    }

    async fn answered(&self, request: Request<Bytes>) -> Answer {
        let (head, body) = request.into_parts();
        let asked = operation::read(&head.method, head.uri.path())?;
        if self.0.is_routed(&asked.endpoint) {
            return Err(Refusal::NotQueueBased(asked.endpoint.into_owned()));
        }
        let engine = self.0.engine(&asked.endpoint).ok_or_else(|| Refusal::NoEndpoint(asked.endpoint.into_owned()))?;
        match asked.operation {
            Operation::Run => self.run(&engine, &head, body).await,
            Operation::Runsync => self.runsync(&engine, &head, body).await,
            Operation::Status(id) => {
                let found = self.job(&engine, id).await?;
                Ok(self.object(found))
            }
            Operation::StatusSync(id) => self.status_sync(&engine, &head, id).await,
            Operation::Stream(id) => self.stream(&engine, &head, id).await,
            Operation::Cancel(id) => self.cancel(&engine, id).await,
            Operation::Retry(id) => self.retry(&engine, id).await,
            Operation::PurgeQueue => self.purge(&engine).await,
            Operation::Health => Ok(said(health::health(&self.0, &engine))),
            Operation::Requests => self.requests(&engine, &head).await,
            Operation::Metrics => Ok(said(health::metrics(&self.0, &engine))),
        }
    }

    async fn run(&self, engine: &Arc<Engine>, head: &Parts, body: Bytes) -> Answer {
        let new = self.new_job(engine, head, body, Kind::Run)?;
        let submitted = self.submit(engine, new).await?;
        if submitted.existing && submitted.state.has_ended() {
            // Whoever sends it again, having missed the answer, would take a job that has ended without an output for its result.
            let found = self.job(engine, &submitted.id).await?;
            return Ok(self.object(found));
        }
        let begun = self.0.shared.running.seen(&submitted.id).is_some();
        Ok(said(Object::bare(&submitted.id, Status::of(submitted.state, begun)).json()))
    }

    async fn runsync(&self, engine: &Arc<Engine>, head: &Parts, body: Bytes) -> Answer {
        let wait = self.wait(head)?.unwrap_or(self.0.settings().wait);
        let new = self.new_job(engine, head, body, Kind::Runsync)?;
        let mut waiter = self.waiter(&new.id)?;
        let submitted = self.submit(engine, new).await?;
        if submitted.existing {
            waiter = self.waiter(&submitted.id)?;
            let found = self.job(engine, &submitted.id).await?; // it may have ended before
            if found.0.life.state.has_ended() {
                return Ok(self.object(found));
            }
        }
        self.told(engine, waiter, wait, &submitted.id).await
    }

    async fn status_sync(&self, engine: &Engine, head: &Parts, id: &str) -> Answer {
        let wait = self.wait(head)?.unwrap_or(self.0.settings().wait);
        let waiter = self.waiter(id)?;
        let found = self.job(engine, id).await?;
        if found.0.life.state.has_ended() {
            return Ok(self.object(found));
        }
        self.told(engine, waiter, wait, id).await
    }

    /// The job once it has ended, else as it is when the wait is over.
    async fn told(&self, engine: &Engine, mut waiter: Waiter, wait: Duration, id: &str) -> Answer {
        let shared = &self.0.shared;
        let mut stopping = shared.stopping.subscribe();
        let stopped = async {
            let _ = stopping.wait_for(|stopping| *stopping).await;
            // What runs may come to its end meanwhile; what waits does not begin any more.
            if shared.running.seen(id).is_some() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            Ok(object) = &mut waiter.told => {
                if let Some(object) = object {
                    return Ok(said(object));
                }
            }
            () = tokio::time::sleep(wait) => {}
            () = stopped => {}
        }
        let found = self.job(engine, id).await?;
        let has_ended = found.0.life.state.has_ended();
        Ok(if has_ended { self.object(found) } else { said(Object::bare(id, self.status(&found.0)).json()) })
    }

    async fn stream(&self, engine: &Engine, head: &Parts, id: &str) -> Answer {
        let reader = reader(head)?;
        // The status first: once it says that all is there, all parts are.
        let (job, _) = self.job(engine, id).await?;
        let status = self.status(&job).as_str();
        let streams = &self.0.shared.streams;
        let mut out = format!("{{\"status\":\"{status}\"").into_bytes();
        let parts = match reader {
            // Who asks for the head alone gets no parts, and takes none.
            _ if head.method == Method::HEAD => streams.look(id),
            None => streams.take(id),
            Some(reader) => {
                // What is not known any more was fetched, forgotten, or another server's: the reader knows best.
                let known = job.life.attempt;
                let unknown = || Run {
                    place: reader.filter(|it| it.attempt == known).unwrap_or(Place { attempt: known, from: 0 }),
                    parts: Vec::new(),
                };
                let Run { place, parts } = streams.follow(id, reader).unwrap_or_else(unknown);
                out.extend_from_slice(format!(",\"attempt\":{},\"from\":{}", place.attempt, place.from).as_bytes());
                parts
            }
        };
        out.extend_from_slice(b",\"stream\":[");
        // Of large parts nobody has a copy of his own, who might be slow to take it.
        let is_large = parts.iter().map(Bytes::len).sum::<usize>() > LARGE;
        let mut pieces = VecDeque::new();
        for (number, part) in parts.into_iter().enumerate() {
            out.extend_from_slice(if number == 0 { b"{\"output\":" } else { b",{\"output\":" });
            if is_large {
                pieces.extend([std::mem::take(&mut out).into(), part]);
            } else {
                out.extend_from_slice(&part);
            }
            out.push(b'}');
        }
        out.extend_from_slice(b"]}");
        if is_large {
            pieces.push_back(out.into());
            return Ok(in_pieces(pieces::list(pieces)));
        }
        Ok(said(out))
    }

    async fn cancel(&self, engine: &Engine, id: &str) -> Answer {
        self.job(engine, id).await?;
        // One that has ended before is told as it is.
        let job = self.0.cancelled(id).await.map_err(refused)?.ok_or_else(|| Refusal::NoJob(id.to_owned()))?;
        Ok(self.object(job))
    }

    async fn retry(&self, engine: &Engine, id: &str) -> Answer {
        self.job(engine, id).await?;
        match self.0.resend(id).await.map_err(refused)? {
            Resent::Ready => Ok(said(Object::bare(id, Status::InQueue).json())),
            Resent::Unknown => Err(Refusal::NoJob(id.to_owned())),
            Resent::NotFailed(state) => {
                let status = self.0.status(id, state).as_str();
                Err(Refusal::Conflict(format!("the job is {status}: those that are FAILED or TIMED_OUT can be sent again")))
            }
        }
    }

    async fn purge(&self, engine: &Engine) -> Answer {
        let removed = self.0.purge(&engine.id).await.map_err(refused)?;
        Ok(said(format!("{{\"removed\":{removed},\"status\":\"completed\"}}")))
    }

    async fn requests(&self, engine: &Engine, head: &Parts) -> Answer {
        let limit = match parameter(head, "limit") {
            None => 0,
            Some(text) => match text.parse() {
                Ok(limit @ 1..=100) => limit,
                _ => return Err(Refusal::bad("limit", format!("`limit` is `{text}`; it is from 1 to 100"))),
            },
        };
        let filter = Filter { endpoint: Some(engine.id.to_string()), limit, ..Filter::default() };
        let page = self.0.shared.jobs.list(filter).await.map_err(refused)?;
        let listed = page.jobs.iter().map(|job| {
            let begun = self.0.shared.running.seen(&job.id);
            let worker = begun.as_ref().map(|seen| &seen.began.name).or(job.worker.as_ref());
            serde_json::json!({
                "id": job.id,
                "status": Status::of(job.life.state, begun.is_some()).as_str(),
                "createdAt": job.arrived.0,
                "retries": job.life.retries(),
                "workerId": worker,
            })
        });
        let listed: Vec<_> = listed.collect();
        Ok(said(serde_json::json!({ "requests": listed }).to_string()))
    }

    /// What a request asks to be run.
    fn new_job(&self, engine: &Engine, head: &Parts, body: Bytes, kind: Kind) -> Result<New, Refusal> {
        let shared = &self.0.shared;
        if *shared.stopping.borrow() {
            return Err(Refusal::Unavailable { what: "the server is stopping".into() });
        }
        let serving = engine.serving().ok_or_else(|| Refusal::Removed(engine.id.to_string()))?;
        let policy = |function: &str| {
            let place = serving.function(function).map_err(|error| Refusal::bad("function", error))?;
            Ok(serving.policy(place))
        };
        let request = request::read(&body, policy, &shared.settings.policy)?;
        if let Some(url) = &request.webhook {
            webhook::acceptable(url, shared.settings.private_webhooks).map_err(|why| Refusal::bad("webhook", why))?;
        }
        Ok(New {
            endpoint: engine.id.to_string(),
            function: request.function,
            id: shared.ids.draw(kind, shared.now().0),
            input: request.input,
            policy: request.policy,
            webhook: request.webhook,
            idempotency: idempotency(head, &body)?,
        })
    }

    /// Accepts a job. Where a worker is free it is leased with the same commit. A caller that leaves does not stop that half-way.
    async fn submit(&self, engine: &Arc<Engine>, new: New) -> Result<Submitted, Refusal> {
        let (jobs, engine) = (self.0.shared.jobs.clone(), engine.clone());
        if !new.policy.low_priority {
            engine.is_wanted();
        }
        let submitted = tokio::spawn(async move {
            let asked = engine.ask();
            let done = jobs.submit_and_claim(new, asked.count).await;
            let (submitted, claimed) = done.inspect_err(|_| engine.got(&asked, Vec::new()))?;
            let took_all = claimed.len() == asked.count;
            engine.got(&asked, claimed);
            if took_all {
                engine.look.notify_one(); // there may be more, or this one waits
            }
            Ok(submitted)
        });
        submitted.await.unwrap_or(Err(Error::Closed)).map_err(refused)
    }

    fn waiter(&self, id: &str) -> Result<Waiter, Refusal> {
        let most = self.0.settings().waiting;
        let full = || Refusal::Unavailable { what: format!("{most} callers wait for jobs already; use `run` and `status`") };
        self.0.shared.waiters.wait(id, most).ok_or_else(full)
    }

    /// The job, which must be the endpoint's.
    async fn job(&self, engine: &Engine, id: &str) -> Result<(Job, Option<Large>), Refusal> {
        let found = self.0.shared.jobs.look(id).await.map_err(refused)?;
        found.filter(|(job, _)| job.endpoint == *engine.id).ok_or_else(|| Refusal::NoJob(id.to_owned()))
    }

    fn status(&self, job: &Job) -> Status {
        self.0.status(&job.id, job.life.state)
    }

    /// A job with what is known of it beside the disk.
    fn object(&self, (job, large): (Job, Option<Large>)) -> Response<Reply> {
        let mut object = Object::stored(&job);
        let seen = self.0.shared.running.seen(&job.id).filter(|_| job.life.state == State::Leased);
        if let Some(seen) = &seen {
            object.status = Status::InProgress;
            object.output = seen.progress.as_deref();
            object.delay = Some(seen.began.at.since(job.arrived));
            object.worker = Some(&seen.began.name);
        } else if !job.life.state.has_ended() {
            (object.delay, object.execution, object.worker) = (None, None, None); // of an attempt before
        }
        match large {
            None => said(object.json()),
            Some(large) => in_pieces(pieces::around(large, object.json_around())),
        }
    }

    /// How long the caller is ready to wait.
    fn wait(&self, head: &Parts) -> Result<Option<Duration>, Refusal> {
        let longest = self.0.settings().longest_wait.as_millis();
        let Some(text) = parameter(head, "wait") else { return Ok(None) };
        match text.parse::<u64>() {
            Ok(wait) if u128::from(wait) <= longest => Ok(Some(Duration::from_millis(wait))),
            _ => Err(Refusal::bad("wait", format!("`wait` is `{text}`; it is in milliseconds, from 0 to {longest}"))),
        }
    }
}

fn said(body: impl Into<Bytes>) -> Response<Reply> {
    json(StatusCode::OK, body.into()).map(Reply::from)
}

fn in_pieces(body: MountedBody) -> Response<Reply> {
    json(StatusCode::OK, Bytes::new()).map(|_| Reply::Pieces(body))
}

/// Why the queue did not do it.
pub(crate) fn refused(error: Error) -> Refusal {
    match error {
        Error::KeyTaken { job } => Refusal::KeyReused(job),
        Error::Busy { .. } | Error::Full | Error::Disk { .. } | Error::Closed => {
            Refusal::Unavailable { what: format!("{error}: {}", error.why()) }
        }
        Error::NoId { id } => Refusal::NoJob(id),
        other => {
            tracing::error!(error = %other, why = other.why(), "the queue has failed");
            Refusal::Unavailable { what: other.to_string() }
        }
    }
}

fn idempotency(head: &Parts, body: &Bytes) -> Result<Option<Idempotency>, Refusal> {
    let Some(value) = head.headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| (1..=LONGEST_KEY).contains(&key.len()));
    let key =
        key.ok_or_else(|| Refusal::bad("Idempotency-Key", format!("`Idempotency-Key` has 1 to {LONGEST_KEY} printable ASCII characters")))?;
    Ok(Some(Idempotency { key: key.to_owned(), digest: Sha256::digest(body).into() }))
}

/// How far a reader of parts says it is: `?from=` and `&attempt=`; the inner one is `None` for one that has none yet.
fn reader(head: &Parts) -> Result<Option<Option<Place>>, Refusal> {
    let number = |name: &'static str| match parameter(head, name) {
        None => Ok(None),
        Some(text) => match text.parse::<u32>() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(Refusal::bad(name, format!("`{name}` is `{text}`; it is a whole number, as the answer before has it"))),
        },
    };
    Ok(match (number("from")?, number("attempt")?) {
        (None, None) => None,
        (Some(0), None) => Some(None),
        (Some(from), Some(attempt)) => Some(Some(Place { attempt, from: from.into() })),
        (Some(_), None) => {
            return Err(Refusal::bad(
                "attempt",
                "`from` counts the parts of one attempt: say `attempt` as well, as the answer before has it",
            ));
        }
        (None, Some(_)) => return Err(Refusal::bad("from", "`attempt` stands beside `from`, the number of parts that you have")),
    })
}

/// A parameter of the query; those that are asked for need no decoding.
fn parameter<'head>(head: &'head Parts, name: &str) -> Option<&'head str> {
    let pairs = head.uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.rev().find(|(key, _)| *key == name).map(|(_, value)| value)
}
