//! What a server must remember: apps, environments, builds, deployments, endpoints, keys in one file of SQLite, and [`jobs`] in another.
//!
//! `flash_control` asks it, on threads that may block; `flash_jobs` asks for jobs, from tasks. It knows no HTTP, no process, and nothing of what
//! a build, a setting or a job's input means: those are texts that it was given.

mod error;
pub mod jobs;
mod record;
mod schema;
mod shape;
mod sqlite;

pub use error::{Error, Result};
pub use flash_queue::Timestamp;
pub use record::{App, Begun, Build, Deployment, Endpoint, Environment, Event, Key, NewDeployment, State};
pub use shape::Unlike;
pub use sqlite::Sqlite;

/// A store. Each method is one transaction: it is done and on the disk when it returns, or nothing of it is.
pub trait Store: Send + Sync {
    /// All builds, the newest first.
    fn builds(&self) -> Result<Vec<Build>>;
    /// The build of this digest.
    fn build(&self, digest: &str) -> Result<Option<Build>>;
    /// Remembers a build; one of its digest is replaced.
    fn add_build(&self, build: &Build) -> Result<()>;
    /// Forgets builds that came before `before` and that none of the last `kept` deployments of any environment is of. Gives their digests.
    fn collect_builds(&self, kept: u32, before: Timestamp) -> Result<Vec<String>>;

    /// All apps, by name.
    fn apps(&self) -> Result<Vec<App>>;
    /// The environments of an app, by name; of all apps without one.
    fn environments(&self, app: Option<&str>) -> Result<Vec<Environment>>;
    /// Makes an environment, and its app, unless they are there. True where the environment is new.
    fn make_environment(&self, app: &str, environment: &str, now: Timestamp) -> Result<bool>;
    /// Forgets an environment and all that is in it. Gives the endpoints that were, deployed or not; `None` where it is not there.
    fn remove_environment(&self, app: &str, environment: &str) -> Result<Option<Vec<Endpoint>>>;
    /// Forgets an app with all of its environments. Gives the endpoints that were, as above.
    fn remove_app(&self, app: &str) -> Result<Option<Vec<Endpoint>>>;

    /// Begins a deployment, as [`State::Rolling`], unless another one rolls there or its build is not known: makes the environment, and gives each endpoint its id.
    fn begin(&self, new: &NewDeployment) -> Result<Begun>;
    /// Notes a step of a deployment.
    fn note(&self, deployment: u64, event: &Event) -> Result<()>;
    /// Makes a rolling deployment the current one, in the place of the one before; its endpoints are those of these names, and no others.
    /// False, and nothing done, where it does not roll any more.
    fn make_current(&self, deployment: u64, endpoints: &[String], event: &Event) -> Result<bool>;
    /// Ends a rolling deployment as failed. Ids that were given for it are free again.
    fn fail(&self, deployment: u64, problem: &str, output: &str, event: &Event) -> Result<()>;
    /// Ends all rolling deployments as failed. Gives how many.
    fn fail_rolling(&self, problem: &str, event: &Event) -> Result<usize>;
    /// The deployment of this number.
    fn deployment(&self, id: u64) -> Result<Option<Deployment>>;
    /// An environment's deployments, the newest first, at most `limit`.
    fn deployments(&self, app: &str, environment: &str, limit: u32) -> Result<Vec<Deployment>>;
    /// All current deployments.
    fn current(&self) -> Result<Vec<Deployment>>;

    /// All endpoints that are deployed, by id.
    fn endpoints(&self) -> Result<Vec<Endpoint>>;
    /// The ids that this environment's endpoints have, or had, by name.
    fn ids(&self, app: &str, environment: &str) -> Result<Vec<Endpoint>>;
    /// Forgets an endpoint and its id; gives it, or `None` where it is not there.
    fn remove_endpoint(&self, app: &str, environment: &str, name: &str) -> Result<Option<Endpoint>>;

    /// All keys, the oldest first.
    fn keys(&self) -> Result<Vec<Key>>;
    /// Remembers a key.
    fn add_key(&self, key: &Key) -> Result<()>;
    /// Forgets a key; false where it is not there.
    fn remove_key(&self, id: &str) -> Result<bool>;
}
