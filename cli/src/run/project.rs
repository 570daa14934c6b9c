//! The project as `flash run` serves it: scanned, with its load-balanced endpoints alone; and what is told of it, once.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use flash_manifest::{Diagnostic, Endpoint, EnvironmentName, Kind, Project};

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

    /// Reads the project, which has at least one load-balanced endpoint; its endpoints are as `flash.toml` has them. It takes a while, and the same each time.
    pub fn scan(&self) -> Result<Project, Failure> {
        let mut project = flash_scan::scan(&self.path, self.app.as_deref())
            .map_err(|errors| Failure::all(Fault::Request, errors.into_iter().map(Trouble::from).collect()))?;
        if served(&project).is_empty() {
            let trouble = Trouble::new(
                format!("`{}` has no load-balanced endpoint to serve", self.path.display()),
                "`flash run` serves functions that are decorated with `@remote` of a LiveLoadBalancer or a LoadBalancerSlsResource",
                "name a file that has some: flash run app.py",
            );
            return Err(Failure::new(Fault::Request, trouble));
        }
        for endpoint in &mut project.endpoints {
            *endpoint = endpoint.with(&project.settings.overrides(endpoint.name.as_str(), self.environment.as_ref()));
        }
        Ok(project)
    }

    /// Tells what will surprise, but for what was told the last time.
    pub fn warn(&mut self, project: &Project) {
        let queued = project.endpoints.iter().filter(|endpoint| endpoint.class.kind() != Kind::LoadBalanced).map(|endpoint| {
            Trouble::new(
                format!("endpoint `{}` is not served", endpoint.name),
                format!("it is queue-based ({}), which is not built yet", endpoint.class),
                "declare it as a LiveLoadBalancer to serve its functions at routes",
            )
        });
        let warnings = project.warnings.iter().cloned().map(Trouble::from).chain(queued);
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
    project.endpoints.iter().filter(|endpoint| endpoint.class.kind() == Kind::LoadBalanced).collect()
}

impl From<Diagnostic> for Trouble {
    fn from(diagnostic: Diagnostic) -> Self {
        let Diagnostic { location, excerpt, what, why, remedy, .. } = diagnostic;
        let at = location.map(|location| location.to_string()).into_iter().chain(excerpt.map(|line| format!("  {}", line.trim())));
        let at: Vec<String> = at.collect();
        Self { what, why, remedy, at: (!at.is_empty()).then(|| at.join("\n")), detail: None }
    }
}
