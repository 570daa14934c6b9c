//! What the SDK refuses too when it decorates, in its words.

use flash_manifest::{Diagnostic, PathPattern, nearest};

use crate::syntax::Decorated;

/// For what `remote` is given instead of a resource.
pub(crate) fn not_a_resource(got: &str) -> Diagnostic {
    Diagnostic::error(
        format!("remote() takes a resource first. Got: {got}"),
        "the resource says which endpoint the function belongs to",
        "api = LiveLoadBalancer(name='my-api'), then @remote(api, ...)",
    )
}

/// For a function that is decorated a second time.
pub(crate) fn twice(decorated: &Decorated) -> Diagnostic {
    Diagnostic::error(
        format!("function '{}' is decorated with @remote twice", decorated.name),
        "a function has one endpoint and one route",
        "write a second function for the second route, and let both call a third",
    )
}

/// Whether the function takes the parameters of its path.
pub(crate) fn check_parameters(decorated: &Decorated, path: &PathPattern) -> Result<(), Diagnostic> {
    let takes = &decorated.parameters;
    let lacks = |name: &&str| !takes.any_name && !takes.by_name.iter().any(|own| own == name);
    let Some(missing) = path.parameters().find(lacks) else { return Ok(()) };
    let positional_only = takes.positional_only.iter().any(|own| own == missing);
    let near = nearest(missing, takes.by_name.iter().map(String::as_str));
    let remedy = match near {
        _ if positional_only => format!("move '{missing}' behind the '/' in the signature"),
        Some(near) => format!("did you mean '{near}'? Name both alike"),
        None => format!("add '{missing}' to the function's parameters, or take it out of the path"),
    };
    let by_name = if positional_only { " by name" } else { "" };
    Err(Diagnostic::error(
        format!("path '{path}' has the parameter '{missing}', which function '{}' does not take{by_name}", decorated.name),
        "a path's parameters are passed to the function by name",
        remedy,
    ))
}
