//! The server as a whole.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `GET /server`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Server {
    /// Its release, as `flash --version` says it.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Where it listens, as URLs.
    pub addresses: Vec<String>,
    /// When it started: RFC 3339, UTC.
    pub started: String,
    /// Its interpreter's version, as `3.12.1`.
    pub python: String,
    /// What keeps deployed workers from the rest of the machine: `none`, `user`, `landlock-files`, `landlock`, `user+landlock-files` or
    /// `user+landlock` (`docs/isolation.md`).
    pub isolation: String,
    /// How long its end may take once it was told to stop, for what is under way, in milliseconds.
    pub drain_ms: u64,
}
