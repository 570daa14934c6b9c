//! `flash.toml`: what is set for a project beside its code. Text in, values out; `docs/flash_toml.md` has every key.

mod read;

use std::collections::BTreeMap;

use crate::{AppName, Diagnostic, Endpoint, EnvironmentName, Kind, Location, Origin, Origins, Overrides, ServerUrl, SettingKey, nearest};

/// What a project's `flash.toml` says. Holds to every rule that takes the file alone to check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlashToml {
    app: Option<Given<AppName>>,
    common: Layer,
    environments: BTreeMap<EnvironmentName, Layer>,
}

/// A value, and the line that gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given<T> {
    /// The value.
    pub value: T,
    /// The line.
    pub location: Location,
}

/// What is set for all environments, or for one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Layer {
    server: Option<Given<ServerUrl>>,
    endpoints: BTreeMap<String, Section>,
}

/// What is set for one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Section {
    overrides: Overrides,
    /// Where its header is, and the text of the line.
    header: Location,
    excerpt: String,
    keys: BTreeMap<SettingKey, Location>,
    variables: BTreeMap<String, Location>,
    scaler: Option<Labelled>,
}

/// A scaler's type: what endpoints of one kind may call their rule, and those of the other may not.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Labelled {
    kind: Kind,
    location: Location,
    excerpt: String,
}

/// What the rule is called by which endpoints of a kind are scaled.
fn scaler_of(kind: Kind) -> &'static str {
    match kind {
        Kind::LoadBalanced => "REQUEST_COUNT",
        Kind::QueueBased => "QUEUE_DELAY",
    }
}

impl FlashToml {
    /// The app's name.
    pub fn app(&self) -> Option<&Given<AppName>> {
        self.app.as_ref()
    }

    /// The server for an environment, or for all.
    pub fn server(&self, environment: Option<&EnvironmentName>) -> Option<(&ServerUrl, Origin)> {
        let own = environment.and_then(|name| Some((name, self.environments.get(name)?.server.as_ref()?)));
        match (own, &self.common.server) {
            (Some((name, own)), _) => Some((&own.value, Origin::Environment(name.clone(), own.location.clone()))),
            (None, Some(common)) => Some((&common.value, Origin::FlashToml(common.location.clone()))),
            (None, None) => None,
        }
    }

    /// The environments that have a section.
    pub fn environments(&self) -> impl Iterator<Item = &EnvironmentName> {
        self.environments.keys()
    }

    /// What is set for an endpoint in an environment, or in all of them where none is given.
    pub fn overrides(&self, endpoint: &str, environment: Option<&EnvironmentName>) -> Overrides {
        let sections = self.sections(endpoint, environment);
        sections.fold(Overrides::default(), |weaker, (_, section)| section.overrides.before(&weaker))
    }

    /// Where the values of an endpoint come from.
    pub fn origins(&self, endpoint: &Endpoint, environment: Option<&EnvironmentName>) -> Origins {
        let mut origins = Origins::in_code(endpoint);
        for (environment, section) in self.sections(endpoint.name.as_str(), environment) {
            let origin = |location: &Location| match environment {
                None => Origin::FlashToml(location.clone()),
                Some(name) => Origin::Environment(name.clone(), location.clone()),
            };
            origins.keys.extend(section.keys.iter().map(|(key, location)| (*key, origin(location))));
            origins.variables.extend(section.variables.iter().map(|(name, location)| (name.clone(), origin(location))));
        }
        origins
    }

    /// The sections of endpoints that a whole project does not have. They are wrong: nothing would ever read them.
    pub fn strangers<'e>(&self, endpoints: impl Iterator<Item = &'e Endpoint> + Clone) -> Vec<Diagnostic> {
        let names = || endpoints.clone().map(|endpoint| endpoint.name.as_str());
        let layers = std::iter::once(&self.common).chain(self.environments.values());
        let sections = layers.flat_map(|layer| &layer.endpoints).filter(|(name, _)| !names().any(|known| known == *name));
        let mut problems: Vec<Diagnostic> = sections
            .map(|(name, section)| {
                let near = nearest(name, names());
                let hint = near.map(|near| format!(" (Did you mean '{near}'?)")).unwrap_or_default();
                let remedy = match near {
                    Some(near) => format!("write '{near}'"),
                    None => format!("take it out; the endpoints are: {}", names().collect::<Vec<_>>().join(", ")),
                };
                let what = format!("the project has no endpoint '{}'{hint}", crate::text::shown(name));
                Diagnostic::error(what, "settings are for endpoints that the code declares", remedy)
                    .at(section.header.clone())
                    .showing(section.excerpt.as_str())
            })
            .collect();
        problems.sort_by_key(|problem| problem.location.clone());
        problems
    }

    /// What is set for endpoints that are of another kind than it is for.
    pub fn misfits<'e>(&self, endpoints: impl Iterator<Item = &'e Endpoint>) -> Vec<Diagnostic> {
        let mut problems = Vec::new();
        for endpoint in endpoints {
            let layers = std::iter::once(&self.common).chain(self.environments.values());
            for section in layers.filter_map(|layer| layer.endpoints.get(endpoint.name.as_str())) {
                let (own, Some(labelled)) = (endpoint.class.kind(), &section.scaler) else { continue };
                if labelled.kind != own {
                    let (name, given, right) = (endpoint.name.as_str(), scaler_of(labelled.kind), scaler_of(own));
                    let problem = Diagnostic::error(
                        format!("'{name}' has no scaler {given}"),
                        format!("it is a {}, whose scaler is {right}", endpoint.class),
                        format!("write {right}, or leave the type out"),
                    );
                    problems.push(problem.at(labelled.location.clone()).showing(labelled.excerpt.as_str()));
                }
            }
        }
        problems
    }

    /// The sections of an endpoint, the weakest first.
    fn sections<'s>(
        &'s self,
        endpoint: &'s str,
        environment: Option<&'s EnvironmentName>,
    ) -> impl Iterator<Item = (Option<&'s EnvironmentName>, &'s Section)> {
        let own = environment.and_then(|name| Some((Some(name), self.environments.get(name)?)));
        let layers = std::iter::once((None, &self.common)).chain(own);
        layers.filter_map(move |(name, layer)| Some((name, layer.endpoints.get(endpoint)?)))
    }
}
