//! API keys.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a key allows. Each scope allows what those after it do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Everything: keys, and the server itself.
    Admin,
    /// To deploy, roll back, remove, and read logs.
    Deploy,
    /// To call endpoints, and to find where they are.
    Invoke,
}

/// A key, without its secret. `GET /keys` gives a list of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Key {
    /// What it is revoked by.
    pub id: String,
    /// What its maker called it.
    pub name: String,
    /// What it allows.
    pub scope: Scope,
    /// When it was made: RFC 3339, UTC.
    pub created: String,
}

/// `POST /keys`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyRequest {
    /// What to call it: at most 100 characters, none of them a control character.
    #[schemars(extend("minLength" = 1, "maxLength" = 100, "pattern" = r"^[^\u0000-\u001f\u007f-\u009f]*$"))]
    pub name: String,
    /// What it is to allow.
    pub scope: Scope,
}

/// The answer: the only time that the secret is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewKey {
    /// The key.
    #[serde(flatten)]
    pub key: Key,
    /// What to send as `Authorization: Bearer ...`.
    pub secret: String,
}
