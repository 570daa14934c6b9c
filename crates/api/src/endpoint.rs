//! An endpoint as it is served.

use serde::{Deserialize, Serialize};

/// How an endpoint does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndpointState {
    /// A rollout verifies its first build.
    Starting,
    /// It answers, with workers or with none: those start with the next request.
    Ready,
    /// Workers end as they start, and are tried again later and later.
    CrashLoop,
    /// Its build cannot be served.
    Failed,
}

/// How many workers there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerCounts {
    /// Kept even when nothing is asked of them.
    pub min: u32,
    /// Never more than these.
    pub max: u32,
    /// Ready for requests now.
    pub ready: u32,
    /// Being started now.
    pub starting: u32,
    /// Requests in flight on them.
    pub in_flight: u32,
    /// Requests that wait for a slot.
    pub waiting: u32,
}

/// A function, and how it is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    /// Its name within its module.
    pub name: String,
    /// Its module.
    pub module: String,
    /// `GET`, ...; `None` on queue-based endpoints.
    pub method: Option<String>,
    /// The path below the endpoint's URL.
    pub path: Option<String>,
}

/// `GET /apps/{app}/environments/{environment}/endpoints/{name}`; `GET /endpoints` gives a list of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// What its URL is made of; alone of its kind on the server, and never changed.
    pub id: String,
    /// Its name in its project.
    pub name: String,
    /// The app it belongs to.
    pub app: String,
    /// The environment it is deployed to.
    pub environment: String,
    /// Where its routes are, without a slash at the end.
    pub url: String,
    /// The digest of the build that serves.
    pub build: String,
    /// How it does.
    pub state: EndpointState,
    /// Its last error, while `state` is no good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Its workers.
    pub workers: WorkerCounts,
    /// How long a request may take, in milliseconds.
    pub timeout_ms: u64,
    /// Whether anybody may call it, from anywhere.
    pub public: bool,
    /// Its functions, in the order of their declaration.
    pub functions: Vec<Function>,
    /// What is recorded and has no effect here, a sentence each: an image, say.
    #[serde(default)]
    pub remarks: Vec<String>,
}
