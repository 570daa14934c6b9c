//! Jobs of queue-based endpoints, as operators see them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A job in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    /// Its id.
    pub id: String,
    /// Its endpoint's id.
    pub endpoint: String,
    /// The function that it asks for; nothing where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// `IN_QUEUE`, `IN_PROGRESS`, `COMPLETED`, `FAILED`, `CANCELLED` or `TIMED_OUT`.
    pub status: String,
    /// Among the jobs that wait, higher ones are first.
    pub priority: i8,
    /// How often it was tried again.
    pub retries: u32,
    /// When it came.
    pub created: String,
    /// When its last attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<String>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// When it is tried again, or begins at the earliest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<String>,
    /// Its last worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
}

/// `GET /jobs`: the newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobPage {
    /// Some of them.
    pub jobs: Vec<Job>,
    /// `after` of the next page; `None` at the end.
    pub next: Option<i64>,
}

/// `GET /jobs/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobDetail {
    /// As in a list.
    #[serde(flatten)]
    pub job: Job,
    /// Its input.
    pub input: serde_json::Value,
    /// Its output, where it has completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<serde_json::Value>,
    /// Why it has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The attempts that failed, the oldest first.
    pub attempts: Vec<JobAttempt>,
}

/// An attempt that did not complete its job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobAttempt {
    /// Its number.
    pub number: u32,
    /// `raised`, `unbound`, `unserialisable`, `lost`, `timed-out` or `server-ended`.
    pub ended: String,
    /// One line.
    pub error: String,
    /// What Python said.
    pub traceback: String,
    /// Where it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// When it ended.
    pub at: String,
}

/// `POST /jobs/purge?endpoint=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Purged {
    /// So many jobs were taken back.
    pub removed: u64,
}

/// Jobs of an endpoint, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobCounts {
    /// They wait.
    pub in_queue: u64,
    /// They run.
    pub in_progress: u64,
    /// They have a result.
    pub completed: u64,
    /// They have failed, or their time was over.
    pub failed: u64,
    /// How often those that are kept were tried again.
    pub retried: u64,
}
