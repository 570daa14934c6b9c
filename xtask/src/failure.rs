//! Why a task ended early.

use std::fmt::{self, Display};

/// What happened, why, and how to mend it.
#[derive(Debug)]
pub struct Failure {
    what: String,
    why: String,
    remedy: String,
}

impl Failure {
    /// All three must help somebody who has never seen this repository.
    pub fn new(what: impl Display, why: impl Display, remedy: impl Display) -> Self {
        Self { what: what.to_string(), why: why.to_string(), remedy: remedy.to_string() }
    }

    /// What happened, without the rest.
    pub fn what(&self) -> &str {
        &self.what
    }
}

impl Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, why, remedy } = self;
        write!(formatter, "error: {what}\n  why: {why}\n  try: {remedy}")
    }
}

impl std::error::Error for Failure {}
