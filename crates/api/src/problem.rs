//! Why a request was refused: RFC 9457.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The body of every answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// What kind of problem it is, for programs: a path such as `/problems/unknown-environment`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What happened.
    pub title: String,
    /// The status code, once more.
    pub status: u16,
    /// Why.
    pub detail: String,
    /// How to mend it.
    pub remedy: String,
    /// The number of the request, as in its `x-request-id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
}
