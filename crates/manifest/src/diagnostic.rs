//! What is wrong with a project, told to the person who wrote it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The file, spelled as the person who asked would spell it.
    pub file: Arc<Path>,
    /// The line, counted from one.
    pub line: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.file.display(), self.line)
    }
}

/// Whether a project can be used as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, and something in it will surprise.
    Warning,
}

/// Something wrong with a project: what, where, why, and how to mend it.
///
/// Its display is the whole message, over several lines and without a line break at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether the project can be used all the same.
    pub severity: Severity,
    /// Where it is, when it is at one place.
    pub location: Option<Location>,
    /// The line of source there.
    pub excerpt: Option<Box<str>>,
    /// What is wrong.
    pub what: String,
    /// Why that is wrong.
    pub why: String,
    /// How to mend it.
    pub remedy: String,
}

impl Diagnostic {
    /// Something that keeps the project from being used.
    pub fn error(what: impl Into<String>, why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity: Severity::Error, location: None, excerpt: None, what: what.into(), why: why.into(), remedy: remedy.into() }
    }

    /// Something that will surprise.
    pub fn warning(what: impl Into<String>, why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(what, why, remedy) }
    }

    /// The same, with its place.
    #[must_use]
    pub fn at(mut self, location: Location) -> Self {
        self.location = Some(location);
        self
    }

    /// The same, showing the line of source.
    #[must_use]
    pub fn showing(mut self, line: impl Into<Box<str>>) -> Self {
        self.excerpt = Some(line.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(out, "{severity}: {}", self.what)?;
        if let Some(location) = &self.location {
            write!(out, "\n   at: {location}")?;
        }
        if let Some(line) = &self.excerpt {
            write!(out, "\n         {line}")?;
        }
        write!(out, "\n  why: {}\n  try: {}", self.why, self.remedy)
    }
}

impl std::error::Error for Diagnostic {}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Diagnostic, Location};

    #[test]
    fn a_diagnostic_says_what_where_why_and_how_to_mend_it() {
        let plain = Diagnostic::warning("it rains", "there are clouds", "take an umbrella");
        assert_eq!(plain.to_string(), "warning: it rains\n  why: there are clouds\n  try: take an umbrella");
        let placed = Diagnostic::error("a", "b", "c").at(Location { file: Path::new("app.py").into(), line: 3 }).showing("x = 1");
        assert_eq!(placed.to_string(), "error: a\n   at: app.py:3\n         x = 1\n  why: b\n  try: c");
    }
}
