//! What an expression turns out to be.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use flash_manifest::{Diagnostic, Endpoint, ResourceClass, nearest};
use ruff_text_size::{TextRange, TextSize};

use crate::library::PythonModule;

/// A value that is known without running the program.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    None,
    Bool(bool),
    Whole(i64),
    Text(String),
    List(Vec<Value>),
    /// A dict whose keys are texts.
    Dict(BTreeMap<String, Value>),
    /// The SDK's module.
    Sdk,
    /// A name that the SDK's module exports, or a member of an enum among them: `GpuGroup.ANY`.
    OfSdk(String),
    /// A module or a folder of modules of the project.
    Package(Package),
    /// A function or a class of the project, by name.
    Definition(String),
    Resource(Arc<Resource>),
}

/// A module of the project, a folder of modules, or both.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Package {
    pub(crate) file: Option<PathBuf>,
    pub(crate) folder: Option<PathBuf>,
}

/// A declared endpoint, as yet without its functions.
#[derive(Debug)]
pub(crate) struct Resource {
    pub(crate) endpoint: Endpoint,
    pub(crate) key: ResourceKey,
}

/// What tells one declaration from another: the file, and the place of the call in it.
pub(crate) type ResourceKey = (PathBuf, TextSize);

impl PartialEq for Resource {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Value {
    /// The name of its type in Python, for messages.
    pub(crate) fn type_name(&self) -> &str {
        match self {
            Self::None => "NoneType",
            Self::Bool(_) => "bool",
            Self::Whole(_) => "int",
            Self::Text(_) => "str",
            Self::List(_) => "list",
            Self::Dict(_) => "dict",
            Self::Sdk | Self::Package(_) => "module",
            Self::OfSdk(name) => name.split_once('.').map_or("type", |(class, _)| class),
            Self::Definition(_) => "function",
            Self::Resource(resource) => resource.endpoint.class.as_str(),
        }
    }

    /// Whether Python takes it for true; none where that is not known.
    pub(crate) fn truth(&self) -> Option<bool> {
        match self {
            Self::None => Some(false),
            Self::Bool(value) => Some(*value),
            Self::Whole(number) => Some(*number != 0),
            Self::Text(text) => Some(!text.is_empty()),
            Self::List(items) => Some(!items.is_empty()),
            Self::Dict(items) => Some(!items.is_empty()),
            Self::Sdk | Self::OfSdk(_) | Self::Package(_) | Self::Definition(_) | Self::Resource(_) => None,
        }
    }
}

impl fmt::Display for Value {
    /// As Python's `repr` has it, near enough for a message.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => out.write_str("None"),
            Self::Bool(value) => out.write_str(if *value { "True" } else { "False" }),
            Self::Whole(number) => write!(out, "{number}"),
            Self::Text(text) => write!(out, "'{}'", text.escape_debug().to_string().replace("\\\"", "\"")),
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(ToString::to_string).collect();
                write!(out, "[{}]", items.join(", "))
            }
            Self::Dict(items) => {
                // What is in one may be a secret.
                let items: Vec<String> = items.keys().map(|key| format!("'{}': ...", key.escape_debug())).collect();
                write!(out, "{{{}}}", items.join(", "))
            }
            Self::Sdk => out.write_str("the module runpod_flash"),
            Self::OfSdk(name) if ResourceClass::named(name).is_some() => write!(out, "the class {name}"),
            Self::OfSdk(name) if name.contains('.') => out.write_str(name),
            Self::OfSdk(name) => write!(out, "{name} of runpod_flash"),
            Self::Package(_) => out.write_str("a module"),
            Self::Definition(name) => write!(out, "{name}"),
            Self::Resource(resource) => write!(out, "endpoint '{}'", resource.endpoint.name),
        }
    }
}

/// Why there is no value.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It takes the running program to know.
    Unresolved(Unresolved),
    /// It is wrong, and was reported where it was declared.
    Reported,
}

/// An expression without a known value.
#[derive(Debug)]
pub(crate) struct Unresolved {
    pub(crate) module: Arc<PythonModule>,
    pub(crate) range: TextRange,
    pub(crate) cause: Cause,
}

/// What keeps a value from being known. Most are never told: a decorator that is not known is not ours.
#[derive(Debug)]
pub(crate) enum Cause {
    Told {
        reason: String,
        remedy: String,
    },
    /// A name that its module does not set.
    Unbound {
        name: String,
        module: Arc<PythonModule>,
    },
}

impl Unresolved {
    /// The diagnostic for `subject`, whose value this was to be.
    pub(crate) fn about(&self, subject: &str) -> Diagnostic {
        let source = &self.module.source;
        let what = format!("{subject} cannot be told from the source: `{}`", source.snippet(&self.range));
        let (reason, remedy) = match &self.cause {
            Cause::Told { reason, remedy } => (reason.clone(), remedy.clone()),
            Cause::Unbound { name, module } => self.unbound(name, module),
        };
        source.point(Diagnostic::error(what, reason, remedy), self.range.start())
    }

    fn unbound(&self, name: &str, module: &PythonModule) -> (String, String) {
        let file = module.source.shown.display();
        let reason = if module.source.file == self.module.source.file {
            format!("`{name}` is not set before this line in `{file}`")
        } else {
            format!("`{file}` does not set `{name}` at module level")
        };
        let known = module.contents.bindings.keys().map(String::as_str).filter(|known| *known != name);
        let remedy = match nearest(name, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("set `{name}` at module level, above the line that uses it"),
        };
        (reason, remedy)
    }
}
