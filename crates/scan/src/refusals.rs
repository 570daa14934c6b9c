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

/// For a generator with a route.
pub(crate) fn yielding(decorated: &Decorated) -> Diagnostic {
    Diagnostic::error(
        format!("function '{}' yields, and a route answers with one value", decorated.name),
        "answers of load-balanced endpoints are not streamed; functions of queue-based ones may yield",
        "collect the values in a list and return that, or use a ServerlessEndpoint",
    )
}

/// What there is to say of a function that does not take a parameter of its path.
pub(crate) fn dropped_parameter(decorated: &Decorated, path: &PathPattern) -> Option<Diagnostic> {
    let takes = &decorated.parameters;
    let taken = |name: &str| takes.any_name || takes.by_name.iter().chain(&takes.positional_only).any(|own| own == name);
    let missing = path.parameters().find(|name| !taken(name))?;
    let near = nearest(missing, takes.by_name.iter().map(String::as_str));
    let remedy = match near {
        Some(near) => format!("did you mean '{near}'? Name both alike"),
        None => format!("add '{missing}' to the function's parameters, or take it out of the path"),
    };
    Some(Diagnostic::warning(
        format!("path '{path}' has the parameter '{missing}', which function '{}' does not take", decorated.name),
        "its value in a request is dropped",
        remedy,
    ))
}
