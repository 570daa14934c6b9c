//! What is remembered, as values.

use flash_queue::Timestamp;

/// A build that was uploaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// SHA-256 of its artifact, in hexadecimal digits.
    pub digest: String,
    /// The artifact's length.
    pub bytes: u64,
    /// The app it was built as.
    pub app: String,
    /// The names of its endpoints.
    pub endpoints: Vec<String>,
    /// When it came.
    pub created: Timestamp,
}

/// An app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
}

/// An environment of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// The app.
    pub app: String,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// The deployment that serves, and its build.
    pub current: Option<(u64, String)>,
}

/// How far a deployment has come.
///
/// ```text
///  begin ──▶ Rolling ──▶ Current ──▶ Superseded
///               └──▶ Failed
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is being verified.
    Rolling,
    /// It serves.
    Current,
    /// Another one has taken its place.
    Superseded,
    /// It never served.
    Failed,
}

impl State {
    const ALL: [Self; 4] = [Self::Rolling, Self::Current, Self::Superseded, Self::Failed];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Rolling => "rolling",
            Self::Current => "current",
            Self::Superseded => "superseded",
            Self::Failed => "failed",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// A deployment to begin.
#[derive(Clone, Debug)]
pub struct NewDeployment {
    /// The app.
    pub app: String,
    /// The environment.
    pub environment: String,
    /// The build's digest.
    pub build: String,
    /// What is set beside the code, as its owner writes it.
    pub settings: String,
    /// The names of the build's endpoints.
    pub endpoints: Vec<String>,
    /// Ids that nobody else gets than the endpoint that had them last.
    pub held: Vec<String>,
    /// When it was asked for.
    pub created: Timestamp,
}

/// What became of an attempt to begin one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It rolls under this number; its endpoints have these ids, in the order of their names.
    Rolling(u64, Vec<Endpoint>),
    /// There is no build of its digest.
    NoBuild,
    /// The deployment of this number rolls there already.
    Busy(u64),
}

/// A deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Its number, never used again.
    pub id: u64,
    /// The app.
    pub app: String,
    /// The environment.
    pub environment: String,
    /// The build's digest.
    pub build: String,
    /// How far it has come.
    pub state: State,
    /// What is set beside the code.
    pub settings: String,
    /// When it was asked for.
    pub created: Timestamp,
    /// What happened, the oldest first.
    pub events: Vec<Event>,
    /// Why it failed.
    pub problem: Option<String>,
    /// What its workers printed last, where it failed.
    pub output: String,
}

/// A step of a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub time: Timestamp,
    /// What.
    pub text: String,
}

/// An endpoint, and the id that it keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// What its URL is made of.
    pub id: String,
    /// The app.
    pub app: String,
    /// The environment.
    pub environment: String,
    /// Its name in the project.
    pub name: String,
    /// The deployment that it is served by; `None` where it left the project.
    pub deployment: Option<u64>,
}

/// An API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// What it is revoked by.
    pub id: String,
    /// What its maker called it.
    pub name: String,
    /// What it allows, as its owner writes it.
    pub scope: String,
    /// SHA-256 of the secret.
    pub hash: [u8; 32],
    /// When it was made.
    pub created: Timestamp,
}
