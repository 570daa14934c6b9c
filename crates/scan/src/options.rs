//! The options of `remote`, by name or by position, as the SDK takes them.

use flash_manifest::{Diagnostic, nearest};

use crate::syntax::{Call, Expression, Item};

const RESOURCE: &str = "resource_config";

/// The options: those of older programs, in the order in which they give them by position, and one that is given by name.
const NAMES: [&str; 7] = ["dependencies", "system_dependencies", "accelerate_downloads", "local", "method", "path", "retries"];

/// How many of them have a position.
const BY_POSITION: usize = 6;

/// The order in which the guide has them, known by a text in the first place: `remote(api, "POST", "/users")`.
const ROUTE_FIRST: [&str; 5] = ["method", "path", "dependencies", "system_dependencies", "accelerate_downloads"];

/// What a call of `remote` was given.
#[derive(Debug, Default)]
pub(crate) struct Options<'call> {
    pub(crate) resource: Option<&'call Expression>,
    pub(crate) method: Option<&'call Expression>,
    pub(crate) path: Option<&'call Expression>,
    pub(crate) dependencies: Option<&'call Expression>,
    pub(crate) system_dependencies: Option<&'call Expression>,
    pub(crate) retries: Option<&'call Expression>,
}

impl<'call> Options<'call> {
    /// Sorts a call's arguments; `is_text` tells the two orders apart. Errs on unknown, doubled and unpacked ones.
    pub(crate) fn read(call: &'call Call, is_text: impl FnOnce(&Expression) -> bool) -> Result<Self, Diagnostic> {
        let mut positional = Vec::new();
        for item in &call.positional {
            match item {
                Item::One(one) => positional.push(one),
                Item::All(_) => return Err(unpacked("*")),
            }
        }
        let mut named = Vec::new();
        for (name, value) in &call.named {
            named.push((name.as_deref().ok_or_else(|| unpacked("**"))?, value));
        }
        let is_known = |name: &str| name == RESOURCE || name == "_internal" || NAMES.contains(&name);
        let unknown: Vec<&str> = named.iter().map(|(name, _)| *name).filter(|name| !is_known(name)).collect();
        if !unknown.is_empty() {
            return Err(unknown_options(unknown));
        }
        let order: &[&str] = if positional.get(1).is_some_and(|first| is_text(first)) { &ROUTE_FIRST } else { &NAMES[..BY_POSITION] };
        if positional.len() > order.len() + 1 {
            return Err(Diagnostic::error(
                format!("remote() takes at most {} positional arguments ({} given)", order.len() + 1, positional.len()),
                "only so many options have a place in the order",
                "give the options by name",
            ));
        }
        let by_position = std::iter::once(RESOURCE).chain(order.iter().copied()).zip(positional);
        let mut options = Self::default();
        for (name, value) in by_position.chain(named) {
            let slot = match name {
                RESOURCE => &mut options.resource,
                "method" => &mut options.method,
                "path" => &mut options.path,
                "dependencies" => &mut options.dependencies,
                "system_dependencies" => &mut options.system_dependencies,
                "retries" => &mut options.retries,
                _ => continue, // Nothing here depends on the others.
            };
            if slot.replace(value).is_some() {
                return Err(Diagnostic::error(
                    format!("remote() got multiple values for argument '{name}'"),
                    "it is given by position and by name",
                    "give it once",
                ));
            }
        }
        Ok(options)
    }
}

fn unpacked(stars: &str) -> Diagnostic {
    Diagnostic::error(
        format!("remote() is given its options by `{stars}`, which cannot be told from the source"),
        "what is unpacked is known only when the program runs, and it is read without being run",
        "write the options out: method='POST', path='/api/process'",
    )
}

fn unknown_options(mut names: Vec<&str>) -> Diagnostic {
    names.sort_unstable();
    let near = |name: &str| nearest(name, NAMES);
    let shown = names.iter().map(|name| match near(name) {
        Some(near) => format!("'{name}' (Did you mean '{near}'?)"),
        None => format!("'{name}'"),
    });
    let plural = if names.len() > 1 { "s" } else { "" };
    Diagnostic::error(
        format!("remote() got unknown keyword argument{plural}: {}", shown.collect::<Vec<_>>().join(", ")),
        format!("it takes {}", NAMES.join(", ")),
        match names.iter().find_map(|name| Some((name, near(name)?))) {
            Some((name, near)) => format!("write {near}=... for {name}=..."),
            None => "take it out".into(),
        },
    )
}
