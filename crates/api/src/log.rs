//! What endpoints print, and the requests they answer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a line comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogStream {
    /// A function's standard output.
    Stdout,
    /// A function's standard error, and what logging writes there.
    Stderr,
    /// A request that was answered.
    Request,
    /// The server's own remarks: workers that died, rollouts.
    Server,
}

/// One line of `GET /logs`, which gives them as JSON, a line each (`application/x-ndjson`), the oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogLine {
    /// When: RFC 3339 with milliseconds, UTC.
    pub time: String,
    /// The endpoint's id; empty for what belongs to none.
    pub endpoint: String,
    /// Where it comes from.
    pub stream: LogStream,
    /// The request that it belongs to, as in its `x-request-id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// The text, without its line break.
    pub text: String,
}
