//! READY: what a worker says of its routes.

use serde::Deserialize;

/// What the host reads of a worker's READY.
#[derive(Clone, Debug, Deserialize)]
pub struct Ready {
    /// The routes, in the order of the configuration's functions.
    pub routes: Vec<Route>,
}

/// One of them.
#[derive(Clone, Debug, Deserialize)]
pub struct Route {
    /// How requests fill the function's parameters.
    pub plan: Plan,
    /// Whether its function runs in a thread beside the loop, or on the main thread where the page says so. Where a worker does not say, it may
    /// run on the loop.
    #[serde(default)]
    pub thread: bool,
}

/// The part of a binding plan (`_worker/binding.py`) that concerns the host, and those who ask it how functions are called.
#[derive(Clone, Debug, Deserialize)]
pub struct Plan {
    /// How the body is made; `None` where it is not read.
    pub body: Option<Body>,
    /// The function's parameters, in its order; none where a worker does not say.
    #[serde(default)]
    pub parameters: Vec<Parameter>,
}

/// Where one of a function's parameters comes from.
#[derive(Clone, Debug, Deserialize)]
pub struct Parameter {
    /// Its name in the function.
    pub name: String,
    /// `path`, `query`, `body`, `form` or `file`.
    #[serde(rename = "in")]
    pub place: String,
    /// Its name in the request.
    pub key: String,
    /// Whether it must be there.
    pub required: bool,
    /// Whether the query, or a form, may repeat it.
    #[serde(default)]
    pub many: bool,
}

/// How a body is made of parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Body {
    /// One JSON object, which must be there.
    Fields,
    /// One JSON object, which may be absent.
    Keyed,
    /// One parameter's JSON.
    Whole,
    /// A form, which the host takes apart.
    Form,
}

impl Body {
    /// As the plan says it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fields => "fields",
            Self::Keyed => "keyed",
            Self::Whole => "whole",
            Self::Form => "form",
        }
    }
}
