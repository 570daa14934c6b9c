//! What the control API and its clients say to each other: JSON bodies under `/api/v1`, as types.
//!
//! The server answers with them, the command line reads them. They hold no rule and do nothing: what a name or a number may be is
//! `flash_manifest`'s affair.

mod deployment;
mod endpoint;
mod job;
mod key;
mod log;
mod problem;
mod server;

pub use deployment::{App, Build, Change, Changes, DeployRequest, Deployment, DeploymentState, Environment, Event, RollbackRequest};
pub use endpoint::{Endpoint, EndpointState, Function, Parameter, Plan, WorkerCounts};
pub use job::{Job, JobAttempt, JobCounts, JobDetail, JobPage, Purged};
pub use key::{Key, KeyRequest, NewKey, Scope};
pub use log::{LogLine, LogStream};
pub use problem::Problem;
pub use server::Server;

/// The path below which all of it is.
pub const ROOT: &str = "/api/v1";

/// A header of every answer to a credential that is known: the server's release, as [`Server`] has it.
pub const VERSION: &str = "flash-version";

/// The media type of [`Problem`], RFC 9457.
pub const PROBLEM: &str = "application/problem+json";
