//! `flash jobs`: jobs of queue-based endpoints, listed, shown, taken back, sent again.

use flash_api::{Endpoint, Job, JobDetail, JobPage, Purged};
use owo_colors::OwoColorize as _;

use crate::client::{Client, segment};
use crate::connection::{Connection, endpoint, seek};
use crate::output::{print, print_json, table};
use crate::report::{Failure, Trouble};

/// What the user asked for.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List jobs, the newest first
    List {
        /// Only those of this endpoint: its name or id
        endpoint: Option<String>,
        #[command(flatten)]
        place: Place,
        /// Only those that are so
        #[arg(long, value_enum)]
        status: Option<Status>,
        /// At most so many
        #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a job: its input, its output, and how its attempts failed
    Get {
        /// Its id
        id: String,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Take jobs back, whether they wait or run
    Cancel {
        /// Their ids
        #[arg(required = true)]
        ids: Vec<String>,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Have jobs run anew that have failed, or ran out of time
    Retry {
        /// Their ids
        #[arg(required_unless_present = "failed")]
        ids: Vec<String>,
        /// All failed ones of an endpoint
        #[arg(long, value_name = "ENDPOINT", conflicts_with = "ids")]
        failed: Option<String>,
        #[command(flatten)]
        place: Place,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Take back all jobs of an endpoint that wait
    Purge {
        /// The endpoint's name or id
        endpoint: String,
        #[command(flatten)]
        place: Place,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
}

/// Which of the endpoints of one name.
#[derive(clap::Args)]
struct Place {
    /// The app that the endpoint belongs to
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// The environment that the endpoint is deployed to
    #[arg(long, env = "FLASH_ENV", value_name = "NAME")]
    env: Option<String>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Status {
    /// They wait
    #[value(alias = "IN_QUEUE")]
    InQueue,
    /// They run
    #[value(alias = "IN_PROGRESS")]
    InProgress,
    /// They have a result
    #[value(alias = "COMPLETED")]
    Completed,
    /// They have failed for good
    #[value(alias = "FAILED")]
    Failed,
    /// Somebody took them back
    #[value(alias = "CANCELLED")]
    Cancelled,
    /// Their time was over
    #[value(alias = "TIMED_OUT")]
    TimedOut,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::InQueue => "IN_QUEUE",
            Self::InProgress => "IN_PROGRESS",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
            Self::TimedOut => "TIMED_OUT",
        }
    }
}

/// Lists, shows, takes back or sends again.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let client = crate::project::connection(&arguments.connection, None)?.client()?;
    match arguments.command {
        Command::List { endpoint, place, status, limit, json } => {
            let id = endpoint.map(|named| find(&client, &named, &place)).transpose()?;
            let jobs = all(&client, id.as_ref().map(|(id, _)| &**id), status, limit as usize)?;
            if json {
                return print_json(&jobs);
            }
            print(&table(
                &["JOB", "ENDPOINT", "FUNCTION", "STATUS", "CREATED", "RETRIES", "WORKER"],
                jobs.iter().map(row).collect(),
                "no jobs",
            ))
        }
        Command::Get { id, json } => {
            let job: JobDetail = client.get(&path(&id, ""))?;
            if json { print_json(&job) } else { print(&detail(&job)) }
        }
        Command::Cancel { ids, json } => each(&client, &ids, "/cancel", json),
        Command::Retry { ids, failed, place, json } => {
            let ids = match failed {
                None => ids,
                Some(named) => {
                    let (id, _) = find(&client, &named, &place)?;
                    all(&client, Some(&id), Some(Status::Failed), usize::MAX)?.into_iter().map(|job| job.id).collect()
                }
            };
            each(&client, &ids, "/retry", json)
        }
        Command::Purge { endpoint: named, place, yes, json } => {
            let (id, waiting) = find(&client, &named, &place)?;
            let all = waiting.map_or_else(|| "all".to_owned(), |count| count.to_string());
            crate::prompt::confirm(&format!("Take back {all} waiting jobs of {id}"), yes)?;
            let purged: Purged = client.post(&format!("/jobs/purge?endpoint={}", segment(&id)), &())?;
            if json {
                return print_json(&serde_json::json!({ "endpoint": id, "removed": purged.removed }));
            }
            print(&format!("Took back {} jobs of {id}\n", purged.removed))
        }
    }
}

/// What waits for endpoints that are about to be removed, by their ids.
pub struct Waiting(Vec<(String, u64)>);

impl Waiting {
    /// Of an app's endpoints, as far as they are asked for.
    pub fn of(client: &Client, app: &str, asked: impl Fn(&Endpoint) -> bool) -> Result<Self, Failure> {
        let endpoints = client.endpoints(&format!("?app={}", segment(app)))?;
        let waiting = endpoints.into_iter().filter(asked).map(|found| (found.id, found.jobs.map_or(0, |jobs| jobs.in_queue)));
        Ok(Self(waiting.filter(|(_, count)| *count > 0).collect()))
    }

    /// Says what becomes of it, now that they are gone.
    pub fn tell(&self) {
        for (id, number) in &self.0 {
            let jobs = if *number == 1 { "1 job of".to_owned() } else { format!("{number} jobs of") };
            crate::report::warn(&Trouble::new(
                format!("{jobs} {id} {} on", if *number == 1 { "waits" } else { "wait" }),
                format!(
                    "what was accepted runs once this endpoint is deployed to its app and environment again, or ends with its time to live; \
                     until its jobs are removed nobody else gets the id {id}"
                ),
                format!("take them back: flash jobs purge {id}"),
            ));
        }
    }
}

/// The id of an endpoint, or of one that was removed and has jobs; and how many wait, where that is known. What is an id is no other endpoint's name,
/// unless an app or an environment is named with it.
fn find(client: &Client, named: &str, place: &Place) -> Result<(String, Option<u64>), Failure> {
    let (app, environment) = (place.app.as_deref(), place.env.as_deref());
    let found =
        seek(&client.endpoints("")?, named, app, environment)?.map(|found| (found.id.clone(), found.jobs.map(|jobs| jobs.in_queue)));
    if let Some(found) = &found
        && (found.0 == named || app.is_some() || environment.is_some())
    {
        return Ok(found.clone());
    }
    let page: JobPage = client.get(&format!("/jobs?endpoint={}&limit=1", segment(named)))?;
    match found {
        _ if !page.jobs.is_empty() => Ok((named.to_owned(), None)),
        Some(found) => Ok(found),
        None => endpoint(client, named, app, environment).map(|found| (found.id, None)),
    }
}

fn all(client: &Client, endpoint: Option<&str>, status: Option<Status>, limit: usize) -> Result<Vec<Job>, Failure> {
    let (mut jobs, mut after) = (Vec::new(), None);
    loop {
        let asked = [
            endpoint.map(|id| format!("endpoint={}", segment(id))),
            status.map(|status| format!("status={}", status.as_str())),
            after.map(|after: i64| format!("after={after}")),
        ];
        let query: Vec<String> = asked.into_iter().flatten().collect();
        let page: JobPage = client.get(&format!("/jobs?{}", query.join("&")))?;
        jobs.extend(page.jobs);
        after = page.next;
        if after.is_none() || jobs.len() >= limit {
            jobs.truncate(limit);
            return Ok(jobs);
        }
    }
}

/// Does it to each, up to the first one that it cannot be done to, and tells of those before. `json`: to all, and tells how each is, or why not.
fn each(client: &Client, ids: &[String], what: &str, json: bool) -> Result<(), Failure> {
    let act = |id: &str| client.post::<JobDetail>(&path(id, what), &());
    if !json {
        return ids.iter().try_for_each(|id| print(&format!("{id} is {}\n", act(id)?.job.status)));
    }
    let (mut told, mut failed) = (Vec::new(), None);
    for id in ids {
        told.push(match act(id) {
            Ok(job) => serde_json::json!({ "id": id, "status": job.job.status }),
            Err(failure) => {
                let told = serde_json::json!({ "id": id, "error": failure.first().json() });
                failed.get_or_insert(failure);
                told
            }
        });
    }
    print_json(&told)?;
    failed.map_or(Ok(()), Err)
}

fn path(id: &str, rest: &str) -> String {
    format!("/jobs/{}{rest}", segment(id))
}

fn row(job: &Job) -> Vec<String> {
    let Job { id, endpoint, function, status, created, retries, worker, .. } = job;
    let (worker, function) = (worker.clone().unwrap_or_default(), function.clone().unwrap_or_else(|| "-".into()));
    vec![id.clone(), endpoint.clone(), function, status.clone(), created.clone(), retries.to_string(), worker]
}

/// All there is to say of one job, a line each.
fn detail(found: &JobDetail) -> String {
    let JobDetail { job, input, output, error, attempts } = found;
    let mut lines = vec![("job", job.id.clone()), ("endpoint", job.endpoint.clone()), ("status", job.status.clone())];
    lines.extend(job.function.iter().map(|name| ("function", name.clone())));
    lines.push(("created", job.created.clone()));
    lines.extend(job.begun.iter().map(|time| ("begun", time.clone())));
    lines.extend(job.ended.iter().map(|time| ("ended", time.clone())));
    lines.extend(job.due.iter().map(|time| ("due", time.clone())));
    lines.extend(job.worker.iter().map(|worker| ("worker", worker.clone())));
    lines.push(("retries", job.retries.to_string()));
    lines.push(("input", input.to_string()));
    lines.extend(output.iter().map(|output| ("output", output.to_string())));
    lines.extend(error.iter().map(|error| ("error", error.clone())));
    let mut text: String = lines.into_iter().map(|(name, value)| format!("{name:>10}   {value}\n")).collect();
    for attempt in attempts {
        let on = attempt.worker.as_ref().map(|worker| format!(" on {worker}")).unwrap_or_default();
        text += &format!("{:>10}   {} ({}{on}, {})\n", format!("attempt {}", attempt.number), attempt.error, attempt.ended, attempt.at);
        text.extend(attempt.traceback.lines().map(|line| format!("{:>10}   {}\n", "", line.dimmed())));
    }
    text
}
