//! The versions of Python that workers run on.

use std::fmt;
use std::str::FromStr;

use crate::Diagnostic;

/// A version of Python that a function can ask for: major and minor number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PythonVersion(&'static str);

impl PythonVersion {
    /// All that are supported, the oldest first; the SDK has the same.
    pub const ALL: [Self; 4] = [Self("3.10"), Self("3.11"), Self("3.12"), Self("3.13")];

    /// As it is written: `3.12`.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl FromStr for PythonVersion {
    type Err = Diagnostic;

    fn from_str(text: &str) -> Result<Self, Diagnostic> {
        Self::ALL.into_iter().find(|version| version.0 == text).ok_or_else(|| {
            let supported: Vec<&str> = Self::ALL.iter().map(|version| version.0).collect();
            let newest = supported[supported.len() - 1];
            Diagnostic::error(
                format!("Python {} is not supported. Supported versions: {}", crate::text::shown(text), supported.join(", ")),
                "workers run on these alone",
                format!("python_version='{newest}', or leave it out"),
            )
        })
    }
}

impl fmt::Display for PythonVersion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0)
    }
}
