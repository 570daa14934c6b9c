//! What is set for an endpoint beside its code: by `flash.toml`, for one environment or for all.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What takes the place of what an endpoint's code declares. What is `None` stays as declared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Overrides {
    /// A container image: recorded, and not pulled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// How many GPUs each worker has to itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu: Option<u32>,
    /// How many processors each worker may keep busy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    /// How much memory each worker may use, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u32>,
    /// Workers that are kept at least, and at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<[u32; 2]>,
    /// How long a worker may have nothing to do before it is stopped, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_timeout_s: Option<u32>,
    /// Requests that may be in flight on one worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_concurrency: Option<u16>,
    /// How long a request may take, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u32>,
    /// Environment variables, added to those of the code and before them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Whether anybody may call it from anywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public: Option<bool>,
    /// Requests in flight that one more worker is started for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaler_value: Option<u32>,
}
