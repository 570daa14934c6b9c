//! A whole project, and the rules that take more than one endpoint or function to break.

use std::collections::HashMap;
use std::path::PathBuf;

use crate::{AppName, Diagnostic, Endpoint, FlashToml, Function, Route};

/// Everything that a project declares. Holds to every rule: `Project::new` is the only way to make one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Project {
    /// The folder that it lives in.
    pub root: PathBuf,
    /// What it is called.
    pub app: App,
    /// What is set for it beside its code.
    pub settings: FlashToml,
    /// Its endpoints, no two of one name, in the order of their declaration.
    pub endpoints: Vec<Endpoint>,
    /// What will surprise.
    pub warnings: Vec<Diagnostic>,
}

/// A project's name, and who gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// The name.
    pub name: AppName,
    /// Who gave it.
    pub origin: AppOrigin,
}

/// Where an app's name comes from, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppOrigin {
    /// The environment variable `FLASH_APP`.
    Environment,
    /// `flash.toml` in the project's root.
    FlashToml,
    /// `pyproject.toml` in the project's root.
    Pyproject,
    /// The name of the root itself.
    Folder,
}

impl Project {
    /// Puts a project together, adding to `warnings` what the whole of it gives rise to. Errs with everything that is wrong:
    /// two endpoints of one name, two functions of one name in a module or on a queue-based endpoint, two functions on one route.
    pub fn new(root: PathBuf, app: App, endpoints: Vec<Endpoint>, mut warnings: Vec<Diagnostic>) -> Result<Self, Vec<Diagnostic>> {
        let errors = Self::conflicts(&endpoints);
        if !errors.is_empty() {
            return Err(errors);
        }
        warnings.extend(endpoints.iter().flat_map(shadowed_routes));
        Ok(Self { root, app, settings: FlashToml::default(), endpoints, warnings })
    }

    /// What is wrong between the endpoints and functions of one project.
    pub fn conflicts(endpoints: &[Endpoint]) -> Vec<Diagnostic> {
        let mut errors = same_names(endpoints);
        errors.extend(same_functions(endpoints));
        errors.extend(endpoints.iter().flat_map(same_routes));
        errors.extend(endpoints.iter().flat_map(same_job_functions));
        errors
    }

    /// With what its `flash.toml` says.
    #[must_use]
    pub fn with_settings(self, settings: FlashToml) -> Self {
        Self { settings, ..self }
    }
}

fn same_names(endpoints: &[Endpoint]) -> Vec<Diagnostic> {
    let mut seen = HashMap::new();
    let mut errors = Vec::new();
    for endpoint in endpoints {
        if let Some(first) = seen.insert(&endpoint.name, &endpoint.location) {
            errors.push(
                Diagnostic::error(
                    format!("endpoint '{}' is declared twice", endpoint.name),
                    format!("the name is the endpoint's address, and {first} has it already"),
                    "give one of them another name; to add functions to one endpoint from several files, import it",
                )
                .at(endpoint.location.clone()),
            );
        }
    }
    errors
}

fn same_functions(endpoints: &[Endpoint]) -> Vec<Diagnostic> {
    let mut seen = HashMap::new();
    let mut errors = Vec::new();
    for function in endpoints.iter().flat_map(|endpoint| &endpoint.functions) {
        if let Some(first) = seen.insert((&function.module.file, &function.qualname), &function.location) {
            errors.push(
                Diagnostic::error(
                    format!("function '{}' is defined twice", function.qualname),
                    format!("a worker finds functions by their names, and this one is at {first} too"),
                    "give one of them another name",
                )
                .at(function.location.clone()),
            );
        }
    }
    errors
}

fn same_routes(endpoint: &Endpoint) -> Vec<Diagnostic> {
    let mut seen = HashMap::new();
    let mut errors = Vec::new();
    for (function, route) in routed(endpoint) {
        let key = (route.method, route.path.normal());
        if let Some(first) = seen.insert(key, function) {
            errors.push(
                Diagnostic::error(
                    format!("Route conflict detected: {route} defined twice"),
                    format!("{} has this route, and {} asks for it again", site(first), site(function)),
                    "give each function a method and a path of its own, or an endpoint of its own",
                )
                .at(function.location.clone()),
            );
        }
    }
    errors
}

fn same_job_functions(endpoint: &Endpoint) -> Vec<Diagnostic> {
    let mut seen: HashMap<&str, &Function> = HashMap::new();
    let mut errors = Vec::new();
    for function in endpoint.functions.iter().filter(|function| function.route.is_none()) {
        if let Some(first) = seen.insert(&function.qualname, function).filter(|first| first.module.file != function.module.file) {
            errors.push(
                Diagnostic::error(
                    format!("endpoint '{}' has two functions of the name '{}'", endpoint.name, function.qualname),
                    format!("a job says by its name which function it is for, and {} has it already", first.location),
                    "give one of them another name, or an endpoint of its own",
                )
                .at(function.location.clone()),
            );
        }
    }
    errors
}

fn shadowed_routes(endpoint: &Endpoint) -> Vec<Diagnostic> {
    let mut warnings = Vec::new();
    for (index, (function, route)) in routed(endpoint).enumerate() {
        let shadow = routed(endpoint).take(index).find(|(_, earlier)| earlier.method == route.method && earlier.path.covers(&route.path));
        if let Some((first, earlier)) = shadow {
            warnings.push(
                Diagnostic::warning(
                    format!("route {route} is never reached"),
                    format!("{earlier} of {} comes first and matches all of its requests", site(first)),
                    format!("define `{}` before `{}`", function.qualname, first.qualname),
                )
                .at(function.location.clone()),
            );
        }
    }
    warnings
}

fn routed(endpoint: &Endpoint) -> impl Iterator<Item = (&Function, &Route)> {
    endpoint.functions.iter().filter_map(|function| Some((function, function.route.as_ref()?)))
}

fn site(function: &Function) -> String {
    format!("function '{}' ({})", function.qualname, function.location)
}
