//! The HTTP methods that a route can have.

use std::fmt;
use std::str::FromStr;

use crate::text::shown;
use crate::{Diagnostic, nearest};

/// The HTTP method of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// `GET`
    Get,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
    /// `PATCH`
    Patch,
}

impl Method {
    /// Every method, in the order in which messages list them.
    pub const ALL: [Self; 5] = [Self::Get, Self::Post, Self::Put, Self::Delete, Self::Patch];

    /// Its one spelling, in capitals.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Patch => "PATCH",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl FromStr for Method {
    type Err = Diagnostic;

    /// Takes any case.
    fn from_str(text: &str) -> Result<Self, Diagnostic> {
        let known = Self::ALL.map(Self::as_str);
        Self::ALL.into_iter().find(|method| method.as_str().eq_ignore_ascii_case(text)).ok_or_else(|| {
            Diagnostic::error(
                format!("Invalid HTTP method '{}' must be one of: {}", shown(text), known.join(", ")),
                "a route answers to one of these methods, in any case",
                match nearest(text, known) {
                    Some(near) => format!("did you mean method='{near}'?"),
                    None => "write, say, method='POST'".into(),
                },
            )
        })
    }
}
