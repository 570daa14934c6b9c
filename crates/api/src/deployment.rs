//! Builds, and where they are deployed.

use std::collections::BTreeMap;

use flash_manifest::Overrides;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A build that the server has: `GET /builds/{digest}`, and the answer to `PUT /builds/{digest}`, whose body is the artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Build {
    /// SHA-256 of the artifact, in hexadecimal digits.
    pub digest: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// The app that it was built as.
    pub app: String,
    /// The names of its endpoints.
    pub endpoints: Vec<String>,
    /// When it came: RFC 3339, UTC.
    pub created: String,
}

/// `POST /apps/{app}/environments/{environment}/deployments`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeployRequest {
    /// The build's digest; the server must have it.
    pub build: String,
    /// What is set beside what the code declares, by endpoint.
    #[serde(default)]
    pub endpoints: BTreeMap<String, Overrides>,
    /// Answers with [`Changes`], and changes nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// `POST /apps/{app}/environments/{environment}/rollback`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// The digest, or its beginning, of a build that was deployed there; without one, that of the last deployment that differs from what serves.
    #[serde(default)]
    pub to: Option<String>,
}

/// What a deployment would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Changes {
    /// Each endpoint of the build and of the deployment now.
    pub changes: Vec<Change>,
    /// What keeps it from being deployed: a GPU that the machine lacks.
    pub problems: Vec<crate::Problem>,
}

/// What happens to one endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "change", rename_all = "lowercase")]
pub enum Change {
    /// It is new.
    Create {
        /// Its name.
        endpoint: String,
    },
    /// Its workers are replaced.
    Update {
        /// Its name.
        endpoint: String,
        /// What differs, a phrase each: `sources`, `timeout 30 s -> 60 s`.
        what: Vec<String>,
    },
    /// Nothing about it differs.
    Keep {
        /// Its name.
        endpoint: String,
    },
    /// It is no longer in the project.
    Remove {
        /// Its name.
        endpoint: String,
    },
}

/// How far a deployment has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeploymentState {
    /// Its workers are being started and verified beside those that serve.
    Rolling,
    /// It serves.
    Current,
    /// Another one has taken its place.
    Superseded,
    /// It did not come up; what served before serves on.
    Failed,
}

/// A deployment: the answer to deploying (202), and `GET /deployments/{id}?wait=SECONDS`, which answers when it has settled or the time is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Deployment {
    /// Its number, counted over the whole server.
    pub id: u64,
    /// The app.
    pub app: String,
    /// The environment.
    pub environment: String,
    /// The build's digest.
    pub build: String,
    /// How far it has come.
    pub state: DeploymentState,
    /// When it was asked for: RFC 3339, UTC.
    pub created: String,
    /// What happened so far, the oldest first.
    pub events: Vec<Event>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<crate::Problem>,
    /// The last lines that its workers printed, and the traceback of what could not be imported, where it failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<String>,
}

/// A step of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// When: RFC 3339 with milliseconds, UTC.
    pub time: String,
    /// What: `installing 3 packages`, `user-service is ready`.
    pub text: String,
}

/// `GET /apps/{app}`; `GET /apps` gives a list of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct App {
    /// Its name.
    pub name: String,
    /// When it was made: RFC 3339, UTC.
    pub created: String,
    /// Its environments, by name.
    pub environments: Vec<Environment>,
}

/// `GET /apps/{app}/environments/{environment}`, and the answer to `PUT`, which makes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Environment {
    /// Its name.
    pub name: String,
    /// The app it belongs to.
    pub app: String,
    /// When it was made: RFC 3339, UTC.
    pub created: String,
    /// The number of the deployment that serves.
    pub deployment: Option<u64>,
    /// The digest of its build.
    pub build: Option<String>,
    /// The names of its endpoints.
    pub endpoints: Vec<String>,
}
