//! Why the control API refuses: one list of all problems, each with its status, why and remedy (`docs/control_api.md`).

use flash_api::{Problem, Scope};
use http::StatusCode;

/// A request that is refused.
#[derive(Debug)]
pub enum Refusal {
    /// It shows no credential that is known.
    Unauthorized,
    /// Its credential allows less.
    Forbidden { scope: Scope, needed: Scope },
    /// A browser sends it for some page.
    CrossOrigin,
    /// There is nothing at its path.
    NoRoute { path: String },
    /// There is, for other methods.
    NoMethod { method: String, path: String },
    /// Nothing of this name is there: `what` is `app`, `build`, ...
    Unknown { what: &'static str, name: String },
    /// An app has no environment of this name, but these.
    NoEnvironment { app: String, environment: String, there: Vec<String> },
    /// A name or number in its path or query is none.
    BadName { what: &'static str, name: String, why: String },
    /// Its body is of another type than JSON.
    NotJson,
    /// Its body cannot be what is asked for.
    BadBody { why: String },
    /// Its body is longer than it may be.
    TooLarge { limit: u64 },
    /// Its body does not come.
    Slow,
    /// Its body broke off.
    BrokenOff { why: String },
    /// What came has another digest than its name says.
    OtherDigest { named: String, found: String },
    /// An artifact is none, or holds what it must not.
    BadArtifact { what: String, why: String, remedy: String },
    /// Settings are for what the build has not, or are none.
    BadSettings { what: String, why: String, remedy: String },
    /// Another deployment, or removal, is under way there.
    Busy { app: String, environment: String },
    /// A new build does not come up.
    NotReady { what: String, why: String, remedy: String },
    /// A deployment is not under way, so it cannot be cancelled.
    NotRolling { deployment: u64, state: &'static str },
    /// There is nothing to go back to.
    NothingBefore { app: String, environment: String },
    /// The build that is to be gone back to serves.
    ServesAlready { build: String, environment: String },
    /// There are as many as there may be.
    TooMany { what: &'static str, limit: usize },
    /// It is about to end.
    Stopping,
    /// The disk is full.
    NoRoom { why: String },
    /// The store does not do what it should.
    Store(flash_store::Error),
    /// The queue does not do what it should.
    Jobs(flash_store::jobs::Error),
    /// A job is not to be sent again.
    NotFailed { job: String, status: &'static str },
    /// Something that should not happen on a healthy machine.
    System { what: String, why: String },
}

impl Refusal {
    /// What kind of problem it is: the last part of [`Problem::kind`]; and its status.
    pub fn kind(&self) -> (&'static str, StatusCode) {
        match self {
            Self::Unauthorized => ("unauthorized", StatusCode::UNAUTHORIZED),
            Self::Forbidden { .. } => ("forbidden", StatusCode::FORBIDDEN),
            Self::CrossOrigin => ("cross-origin", StatusCode::FORBIDDEN),
            Self::NoRoute { .. } => ("no-route", StatusCode::NOT_FOUND),
            Self::NoMethod { .. } => ("no-method", StatusCode::METHOD_NOT_ALLOWED),
            Self::Unknown { .. } | Self::NoEnvironment { .. } => ("unknown", StatusCode::NOT_FOUND),
            Self::BadName { .. } => ("bad-name", StatusCode::BAD_REQUEST),
            Self::NotJson => ("not-json", StatusCode::UNSUPPORTED_MEDIA_TYPE),
            Self::BadBody { .. } => ("bad-body", StatusCode::UNPROCESSABLE_ENTITY),
            Self::TooLarge { .. } => ("too-large", StatusCode::PAYLOAD_TOO_LARGE),
            Self::Slow => ("slow", StatusCode::REQUEST_TIMEOUT),
            Self::BrokenOff { .. } => ("broken-off", StatusCode::BAD_REQUEST),
            Self::OtherDigest { .. } => ("other-digest", StatusCode::UNPROCESSABLE_ENTITY),
            Self::BadArtifact { .. } => ("bad-artifact", StatusCode::UNPROCESSABLE_ENTITY),
            Self::BadSettings { .. } => ("bad-settings", StatusCode::UNPROCESSABLE_ENTITY),
            Self::Busy { .. } => ("busy", StatusCode::CONFLICT),
            Self::NotReady { .. } => ("not-ready", StatusCode::UNPROCESSABLE_ENTITY),
            Self::NotRolling { .. } => ("not-rolling", StatusCode::CONFLICT),
            Self::NothingBefore { .. } => ("nothing-before", StatusCode::CONFLICT),
            Self::ServesAlready { .. } => ("serves-already", StatusCode::CONFLICT),
            Self::TooMany { .. } => ("too-many", StatusCode::CONFLICT),
            Self::Stopping => ("stopping", StatusCode::SERVICE_UNAVAILABLE),
            Self::NotFailed { .. } => ("not-failed", StatusCode::CONFLICT),
            Self::NoRoom { .. } | Self::Store(flash_store::Error::Full) | Self::Jobs(flash_store::jobs::Error::Full) => {
                ("no-room", StatusCode::INSUFFICIENT_STORAGE)
            }
            Self::Store(_) | Self::Jobs(_) => ("store", StatusCode::INTERNAL_SERVER_ERROR),
            Self::System { .. } => ("system", StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    /// As it is told; `instance` is the request's id.
    pub fn problem(&self, instance: Option<&str>) -> Problem {
        let (kind, status) = self.kind();
        let (title, detail, remedy) = self.words();
        let kind = format!("/problems/{kind}");
        Problem { kind, title, status: status.as_u16(), detail, remedy, instance: instance.map(str::to_owned) }
    }

    /// What happened, why, how to mend it.
    fn words(&self) -> (String, String, String) {
        let words = |what: &str, why: &str, remedy: &str| (what.to_owned(), why.to_owned(), remedy.to_owned());
        match self {
            Self::Unauthorized => words(
                "no credential that this server knows",
                "the control API takes code, so it always demands one: it is missing, wrong, or was revoked",
                "send `Authorization: Bearer` with an API key (`flash key create`, FLASH_API_KEY), or with the token in FLASH_HOME/token",
            ),
            Self::Forbidden { scope, needed } => (
                format!("this takes a key of scope `{}`", name(*needed)),
                format!("the one that was sent is of scope `{}`", name(*scope)),
                format!("use another key: flash key create --scope {}", name(*needed)),
            ),
            Self::CrossOrigin => words(
                "the control API is not for browsers",
                "the request has an `Origin`, so some page sends it",
                "use the `flash` command, or a program that is no page",
            ),
            Self::NoRoute { path } => (
                format!("there is nothing at `{path}`"),
                "the control API has no such path".into(),
                "docs/control_api.md lists those that there are".into(),
            ),
            Self::NoMethod { method, path } => (
                format!("`{path}` takes no {method}"),
                "it is there for other methods, which `Allow` names".into(),
                "docs/control_api.md lists all routes".into(),
            ),
            Self::Unknown { what, name } => {
                let list = match *what {
                    "app" => "flash app list",
                    "build" | "deployment" => "flash deployments",
                    "key" => "flash key list",
                    "job" => "flash jobs list",
                    _ => "flash status",
                };
                (format!("no {what} `{name}`"), "the server has none of that name".into(), format!("see which {what}s there are: {list}"))
            }
            Self::NoEnvironment { app, environment, there } => (
                format!("no environment `{environment}`"),
                if there.is_empty() { format!("{app} has none") } else { format!("{app} has {}", there.join(", ")) },
                format!("name one that is there, or make it: flash env create --app {app} {environment}"),
            ),
            Self::BadName { what, name, why } => (format!("`{name}` cannot be the {what}"), why.clone(), format!("send another {what}")),
            Self::NotJson => words(
                "the body is not JSON",
                "its `Content-Type` is missing, or another than `application/json`",
                "send JSON, and `Content-Type: application/json`",
            ),
            Self::BadBody { why } => ("the body is not what is asked for".into(), why.clone(), "docs/control_api.md says what is".into()),
            Self::TooLarge { limit } => (
                "the body is too long".into(),
                format!("it may have {limit} bytes"),
                "leave out what functions do not need: `.flashignore`, or `flash build --exclude`".into(),
            ),
            Self::Slow => words("the body did not come", "nothing of it came for 30 s", "send it again"),
            Self::BrokenOff { why } => ("the body broke off".into(), why.clone(), "send it again".into()),
            Self::OtherDigest { named, found } => (
                "the artifact is not the one that it was sent as".into(),
                format!("its SHA-256 is {found}, and not {named}"),
                "send it again; where that does not help, build it anew: flash build".into(),
            ),
            Self::BadArtifact { what, why, remedy } | Self::BadSettings { what, why, remedy } | Self::NotReady { what, why, remedy } => {
                (what.clone(), why.clone(), remedy.clone())
            }
            Self::Busy { app, environment } => (
                format!("`{environment}` of `{app}` is being changed"),
                "one deployment or removal at a time is under way in an environment".into(),
                "wait until it is done: `flash status` shows what rolls; or end that: flash deploy --cancel NUMBER".into(),
            ),
            Self::NotRolling { deployment, state } => (
                format!("deployment {deployment} is not cancelled"),
                format!("it is {state}: only one that rolls can be"),
                "go back to what served before: flash rollback; or see what rolls: flash status".into(),
            ),
            Self::NothingBefore { app, environment } => (
                format!("there is nothing to go back to in `{environment}` of `{app}`"),
                "no earlier deployment of it has served that differs from what serves, with a build that is still kept".into(),
                "deploy what you want: flash deploy".into(),
            ),
            Self::ServesAlready { build, environment } => (
                format!("build {} serves in `{environment}` already", &build[..build.len().min(12)]),
                "it is the one that was deployed there last".into(),
                "name another with --to, or leave --to out to go back to what was deployed before it".into(),
            ),
            Self::TooMany { what, limit } => {
                (format!("there are {limit} {what}s"), "there may be no more".into(), format!("remove some {what}s first"))
            }
            Self::Stopping => words("the server is about to end", "it was told to stop", "start it again, and repeat this"),
            Self::NoRoom { why } => {
                ("there is no room on the server's disk".into(), why.clone(), "make room on the disk of FLASH_HOME, and try again".into())
            }
            Self::Store(error) => (error.to_string(), error.why(), error.remedy()),
            Self::Jobs(error) => (error.to_string(), error.why(), error.remedy()),
            Self::NotFailed { job, status } => (
                format!("job `{job}` is not sent again"),
                format!("it is {status}: only what is FAILED or TIMED_OUT can be"),
                "send a new one; or see how it is with `flash jobs get`".into(),
            ),
            Self::System { what, why } => {
                (what.clone(), why.clone(), "see the server's log, and its limits on memory, open files and their size".into())
            }
        }
    }
}

impl From<flash_store::jobs::Error> for Refusal {
    fn from(error: flash_store::jobs::Error) -> Self {
        Self::Jobs(error)
    }
}

impl From<flash_store::Error> for Refusal {
    fn from(error: flash_store::Error) -> Self {
        Self::Store(error)
    }
}

/// A scope's name, as it is written everywhere.
pub fn name(scope: Scope) -> &'static str {
    match scope {
        Scope::Admin => "admin",
        Scope::Deploy => "deploy",
        Scope::Invoke => "invoke",
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (what, why, _) = self.words();
        write!(out, "{what}: {why}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Refusal> {
        let text = || "x".to_owned();
        let (app, environment) = (text(), text());
        let (what, why, remedy) = (text(), text(), text());
        vec![
            Refusal::Unauthorized,
            Refusal::Jobs(flash_store::jobs::Error::Closed),
            Refusal::NotFailed { job: text(), status: "COMPLETED" },
            Refusal::Forbidden { scope: Scope::Invoke, needed: Scope::Deploy },
            Refusal::CrossOrigin,
            Refusal::NoRoute { path: text() },
            Refusal::NoMethod { method: text(), path: text() },
            Refusal::Unknown { what: "app", name: text() },
            Refusal::NoEnvironment { app: text(), environment: text(), there: Vec::new() },
            Refusal::BadName { what: "app", name: text(), why: text() },
            Refusal::NotJson,
            Refusal::BadBody { why: text() },
            Refusal::TooLarge { limit: 1 },
            Refusal::Slow,
            Refusal::BrokenOff { why: text() },
            Refusal::OtherDigest { named: text(), found: text() },
            Refusal::BadArtifact { what: what.clone(), why: why.clone(), remedy: remedy.clone() },
            Refusal::BadSettings { what: what.clone(), why: why.clone(), remedy: remedy.clone() },
            Refusal::Busy { app: app.clone(), environment: environment.clone() },
            Refusal::NotReady { what: what.clone(), why: why.clone(), remedy },
            Refusal::NotRolling { deployment: 1, state: "current" },
            Refusal::NothingBefore { app, environment: environment.clone() },
            Refusal::ServesAlready { build: text(), environment },
            Refusal::TooMany { what: "key", limit: 1 },
            Refusal::Stopping,
            Refusal::NoRoom { why: text() },
            Refusal::Store(flash_store::Error::Full),
            Refusal::Store(flash_store::Error::Locked),
            Refusal::System { what, why },
        ]
    }

    #[test]
    fn each_problem_is_in_the_documents_table_and_says_all_three() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/control_api.md");
        let document = std::fs::read_to_string(path).expect("it is there");
        let listed = document.lines().filter(|line| line.starts_with("| `/problems/")).count();
        let mut kinds = std::collections::BTreeSet::new();
        for refusal in all() {
            let problem = refusal.problem(Some("0"));
            let line = format!("| `{}` | {} | ", problem.kind, problem.status);
            assert!(document.contains(&line), "{line}");
            for words in [&problem.title, &problem.detail, &problem.remedy] {
                assert!(!words.is_empty(), "{problem:?}");
            }
            kinds.insert(problem.kind);
        }
        assert_eq!(kinds.len(), listed, "the document lists what there is not");
    }
}
