//! The project as `flash run` serves it: scanned; and what is told of it, once.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use flash_manifest::{Diagnostic, Endpoint, EnvironmentName, Project};

use super::searching::remarked;
use crate::report::{Failure, Fault, Trouble, warn};

/// What was asked for, and what was told of it.
#[derive(Clone)]
pub struct Target {
    /// A Python file, or a folder.
    path: PathBuf,
    /// The value of `FLASH_APP`.
    app: Option<String>,
    /// Whose settings hold; those for all environments where none is named.
    environment: Option<EnvironmentName>,
    warned: BTreeSet<String>,
}

impl Target {
    /// With the environment's `FLASH_APP`.
    pub fn new(path: &Path, environment: Option<EnvironmentName>) -> Self {
        Self { path: path.to_owned(), app: std::env::var("FLASH_APP").ok(), environment, warned: BTreeSet::new() }
    }

    /// Reads the project; its endpoints are as `flash.toml` has them. It takes a while, and the same each time.
    pub fn scan(&self) -> Result<Project, Failure> {
        let mut project = remarked(&self.path, || flash_scan::scan(&self.path, self.app.as_deref()))
            .map_err(|problems| Failure::told(Fault::Request, problems))?;
        for endpoint in &mut project.endpoints {
            *endpoint = endpoint.with(&project.settings.overrides(endpoint.name.as_str(), self.environment.as_ref()));
        }
        Ok(project)
    }

    /// Tells what will surprise, but for what was told the last time.
    pub fn warn(&mut self, project: &Project) {
        let warnings = project.warnings.iter().cloned().map(Trouble::from);
        let mut now = BTreeSet::new();
        for trouble in warnings {
            let text = trouble.text();
            if !self.warned.contains(&text) {
                warn(&trouble);
            }
            now.insert(text);
        }
        self.warned = now;
    }
}

/// The endpoints that are served.
pub fn served(project: &Project) -> Vec<&Endpoint> {
    project.endpoints.iter().collect()
}

impl From<Diagnostic> for Trouble {
    fn from(diagnostic: Diagnostic) -> Self {
        let Diagnostic { location, excerpt, what, why, remedy, .. } = diagnostic;
        let at = location.map(|location| location.to_string()).into_iter().chain(excerpt.map(|line| format!("  {}", line.trim())));
        let at: Vec<String> = at.collect();
        Self { what, why, remedy, at: (!at.is_empty()).then(|| at.join("\n")), detail: None }
    }
}
