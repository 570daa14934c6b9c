//! Jobs, as operators see them.

use axum::Json;
use flash_api::{Job, JobAttempt, JobDetail, JobPage, Purged};
use flash_jobs::{Engines, Status};
use flash_queue::State;
use flash_store::jobs::{Cursor, Filter, Listed, Resent};
use http::Uri;

use super::document::{Kind, Parameter};
use super::{Named, Names, Shared, query};
use crate::clock;
use crate::refusal::Refusal;

/// The name of a state in a query, and the states on the disk that may be it.
pub(super) const STATES: [(Status, &[State]); 6] = [
    (Status::InQueue, &[State::Ready, State::Delayed, State::Leased]),
    (Status::InProgress, &[State::Leased]),
    (Status::Completed, &[State::Completed]),
    (Status::Failed, &[State::Failed]),
    (Status::Cancelled, &[State::Cancelled]),
    (Status::TimedOut, &[State::TimedOut]),
];

pub(super) const LIST: &[Parameter] = &[
    Parameter { name: "endpoint", about: "Those of the endpoint with this id.", kind: Kind::Text },
    Parameter { name: "status", about: "Those in this state.", kind: Kind::Status },
    Parameter { name: "after", about: "`next` of the page before.", kind: Kind::Number },
    Parameter { name: "limit", about: "At most so many, up to 100.", kind: Kind::Number },
];

pub(super) const PURGE: &[Parameter] = &[Parameter { name: "endpoint", about: "The endpoint's id.", kind: Kind::Text }];

pub(super) async fn list(control: Shared, uri: Uri) -> Result<Json<JobPage>, Refusal> {
    let query = query(&uri, LIST)?;
    let number = |name: &'static str, most: i64| match query.get(name) {
        None => Ok(None),
        Some(text) => match text.parse::<i64>() {
            Ok(number) if (1..=most).contains(&number) => Ok(Some(number)),
            _ => Err(Refusal::BadName { what: name, name: text.to_owned(), why: format!("it is a number from 1 to {most}") }),
        },
    };
    let wanted = match query.get("status") {
        None => None,
        Some(name) => Some(*STATES.iter().find(|(status, _)| status.as_str() == name).ok_or_else(|| {
            let names: Vec<&str> = STATES.iter().map(|(status, _)| status.as_str()).collect();
            Refusal::BadName { what: "status", name: name.to_owned(), why: format!("it is one of {}", names.join(", ")) }
        })?),
    };
    let filter = Filter {
        endpoint: query.get("endpoint").map(str::to_owned),
        states: wanted.map(|(_, states)| states.to_vec()).unwrap_or_default(),
        after: number("after", i64::MAX)?.map(Cursor),
        limit: number("limit", 100)?.map_or(0, |limit| usize::try_from(limit).unwrap_or(0)),
    };
    let page = control.engines.jobs().list(filter).await?;
    let shown = page.jobs.into_iter().map(|job| shown(&control.engines, job));
    let jobs = shown.filter(|job| wanted.is_none_or(|(status, _)| job.status == status.as_str())).collect();
    Ok(Json(JobPage { jobs, next: page.next.map(|Cursor(next)| next) }))
}

pub(super) async fn find(control: Shared, Names(named): Names<Named>) -> Result<Json<JobDetail>, Refusal> {
    let id = named.text("job");
    detail(&control.engines, found(&control.engines, id).await?).await.map(Json)
}

pub(super) async fn cancel(control: Shared, Names(named): Names<Named>) -> Result<Json<JobDetail>, Refusal> {
    let id = named.text("job");
    let job = match control.engines.cancelled(id).await?.ok_or_else(|| unknown(id))? {
        (job, None) => job,
        (_, Some(_)) => found(&control.engines, id).await?, // it has completed, and stays so
    };
    detail(&control.engines, job).await.map(Json)
}

pub(super) async fn retry(control: Shared, Names(named): Names<Named>) -> Result<Json<JobDetail>, Refusal> {
    let id = named.text("job");
    match control.engines.resend(id).await? {
        Resent::Unknown => Err(unknown(id)),
        Resent::NotFailed(state) => Err(Refusal::NotFailed { job: id.to_owned(), status: control.engines.status(id, state).as_str() }),
        Resent::Ready => detail(&control.engines, found(&control.engines, id).await?).await.map(Json),
    }
}

pub(super) async fn purge(control: Shared, uri: Uri) -> Result<Json<Purged>, Refusal> {
    let query = query(&uri, PURGE)?;
    let endpoint = query.get("endpoint").ok_or_else(|| Refusal::BadName {
        what: "endpoint",
        name: String::new(),
        why: "jobs of one endpoint are taken back at a time: ?endpoint=".into(),
    })?;
    let removed = control.engines.purge(endpoint).await?;
    Ok(Json(Purged { removed: removed as u64 }))
}

async fn found(engines: &Engines, id: &str) -> Result<flash_store::jobs::Job, Refusal> {
    engines.jobs().get(id).await?.ok_or_else(|| unknown(id))
}

async fn detail(engines: &Engines, job: flash_store::jobs::Job) -> Result<JobDetail, Refusal> {
    let input = engines.jobs().input(&job.id).await?.unwrap_or_default();
    let value = |json: &[u8]| serde_json::from_slice(json).unwrap_or_else(|_| String::from_utf8_lossy(json).into_owned().into());
    let attempt = |attempt: &flash_store::jobs::Attempt| JobAttempt {
        number: attempt.number,
        ended: attempt.ended.as_str().to_owned(),
        error: attempt.error.clone(),
        traceback: attempt.traceback.clone(),
        worker: attempt.ran.worker.clone(),
        at: clock::text(attempt.at),
    };
    let (error, attempts) = (job.error().map(str::to_owned), job.attempts.iter().map(attempt).collect());
    let output = job.output.as_deref().map(value);
    let listed = Listed {
        id: job.id,
        endpoint: job.endpoint,
        function: job.function,
        life: job.life,
        priority: job.policy.priority,
        arrived: job.arrived,
        begun: job.begun,
        ended: job.ended,
        worker: job.worker,
    };
    Ok(JobDetail { job: shown(engines, listed), input: value(&input), output, error, attempts })
}

fn shown(engines: &Engines, job: Listed) -> Job {
    let status = engines.status(&job.id, job.life.state);
    Job {
        status: status.as_str().to_owned(),
        function: Some(job.function).filter(|name| !name.is_empty()),
        priority: job.priority,
        retries: job.life.retries(),
        created: clock::text(job.arrived),
        begun: job.begun.map(clock::text),
        ended: job.ended.map(clock::text),
        due: (job.life.state == State::Delayed).then(|| clock::text(job.life.due)),
        worker: engines.worker(&job.id).or(job.worker),
        id: job.id,
        endpoint: job.endpoint,
    }
}

fn unknown(id: &str) -> Refusal {
    Refusal::Unknown { what: "job", name: id.chars().take(100).collect() }
}
