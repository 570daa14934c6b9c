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
}

/// The part of a binding plan (`_worker/binding.py`) that concerns the host.
#[derive(Clone, Debug, Deserialize)]
pub struct Plan {
    /// How the body is made; `None` where it is not read.
    pub body: Option<Body>,
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
