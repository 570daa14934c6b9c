//! What the endpoints of `flash run` depend on and their interpreter lacks: installed before their workers start.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use flash_manifest::Endpoint;

use crate::lines::to_errors;
use crate::packages::{self, Needed};
use crate::report::{Trouble, warn};

/// What the base zygote has imported before any overlay comes in: another version would be half the one, half the other.
const IMPORTED: [&str; 5] = ["annotated-types", "pydantic", "pydantic-core", "typing-extensions", "typing-inspection"];

/// The overlays of endpoints, by their names.
pub type Overlays = BTreeMap<String, PathBuf>;

/// What is known of requirements. What was found once is not looked for again: a reload takes no time for it.
#[derive(Default)]
pub struct Dependencies {
    /// The interpreter; `None` where it is no Python.
    python: Option<PathBuf>,
    known: BTreeMap<BTreeSet<String>, Option<PathBuf>>,
}

impl Dependencies {
    pub fn new(python: Option<PathBuf>) -> Self {
        Self { python, known: BTreeMap::new() }
    }

    /// The overlays of those endpoints that need one, made where they are not there. What cannot be made is told, once for what is asked,
    /// and left out: the functions that do without serve all the same. May be dropped at any point.
    pub async fn overlays(&mut self, endpoints: &[&Endpoint]) -> Overlays {
        let mut overlays = Overlays::new();
        let Some(python) = self.python.clone() else { return overlays };
        for endpoint in endpoints {
            let requirements: BTreeSet<_> = endpoint.functions.iter().flat_map(|function| &function.dependencies).cloned().collect();
            if requirements.is_empty() {
                continue;
            }
            if !self.known.contains_key(&requirements) {
                let needed = Needed {
                    python: python.clone(),
                    requirements: requirements.iter().cloned().collect(),
                    keep: &IMPORTED,
                    path: None,
                    directory: None,
                    variables: std::env::vars_os().collect(),
                };
                let found = match packages::overlay(needed, |line| to_errors(&(line + "\n"))).await {
                    Ok(overlay) => overlay.map(|overlay| overlay.packages),
                    Err(error) => {
                        let what = format!("what endpoint `{}` depends on is not installed: {error}", endpoint.name);
                        let remedy = format!("{}; after that, start `flash run` again", error.remedy());
                        warn(&Trouble::new(what, error.why(), remedy));
                        None
                    }
                };
                self.known.insert(requirements.clone(), found);
            }
            if let Some(overlay) = &self.known[&requirements] {
                overlays.insert(endpoint.name.as_str().to_owned(), overlay.clone());
            }
        }
        overlays
    }
}
