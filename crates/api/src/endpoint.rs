//! An endpoint as it is served.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::JobCounts;

/// How an endpoint does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Function {
    /// Its name within its module.
    pub name: String,
    /// Its module.
    pub module: String,
    /// `GET`, ...; `None` on queue-based endpoints.
    pub method: Option<String>,
    /// The path below the endpoint's URL.
    pub path: Option<String>,
    /// How a request fills its parameters; `None` until a worker has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
}

/// Which part of a request fills which parameter: the binding plan, which a worker makes of the function's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// How the body is made of the parameters that are in it: `fields` and `keyed` are one JSON object with a key for each, `whole` is the one
    /// parameter itself, `form` a form; `None` where the body is not read.
    pub body: Option<String>,
    /// The parameters, in the function's order.
    pub parameters: Vec<Parameter>,
}

/// One of a function's parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Parameter {
    /// Its name in the function.
    pub name: String,
    /// Where it comes from: `path`, `query`, `body`, `form` or `file`.
    #[serde(rename = "in")]
    pub place: String,
    /// Its name in the request.
    pub key: String,
    /// Whether it must be there.
    pub required: bool,
    /// Whether the query, or a form, may repeat it, once for each element.
    #[serde(default)]
    pub many: bool,
}

/// `GET /apps/{app}/environments/{environment}/endpoints/{name}`; `GET /endpoints` gives a list of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Endpoint {
    /// What its URL is made of; alone of its kind on the server, and never changed.
    pub id: String,
    /// Its name in its project.
    pub name: String,
    /// The app it belongs to.
    pub app: String,
    /// The environment it is deployed to.
    pub environment: String,
    /// Where its routes are, or where it takes jobs, without a slash at the end.
    pub url: String,
    /// The digest of the build that serves.
    pub build: String,
    /// The number of the deployment that rolls in its environment, and may replace it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolling: Option<u64>,
    /// How it does.
    pub state: EndpointState,
    /// Its last error, while `state` is no good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Its workers.
    pub workers: WorkerCounts,
    /// Its jobs, where it is queue-based.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs: Option<JobCounts>,
    /// How long a request, or one attempt at a job, may take, in milliseconds.
    pub timeout_ms: u64,
    /// Whether anybody may call it, from anywhere.
    pub public: bool,
    /// Its functions, in the order of their declaration.
    pub functions: Vec<Function>,
    /// What is recorded and has no effect here, a sentence each: an image, say.
    #[serde(default)]
    pub remarks: Vec<String>,
}
