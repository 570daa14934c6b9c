//! Which route a method and a path mean, as Starlette decides it but for four things: static routes win over parameters wherever they
//! stand, `Allow` names all methods of the path, HEAD is there where GET is, and parameter names do not matter.

use std::collections::BTreeMap;

use flash_manifest::{Part, PathPattern};
use http::Method;

use crate::document::Document;

/// What a request means.
#[derive(Debug, PartialEq, Eq)]
pub enum Matched {
    /// What the gateway says of the routes.
    Document(Document),
    /// The route of this index, with its parameters' values in order.
    Route(usize, Vec<String>),
    /// The path exists, for these methods.
    OtherMethods(Vec<Method>),
    /// The path exists with a slash more or less at its end.
    Redirect,
    /// No such path.
    Nothing,
}

/// The routes of one endpoint.
#[derive(Debug, Default)]
pub struct Routes {
    fixed: BTreeMap<String, Vec<(Method, usize)>>,
    patterns: Vec<(PathPattern, Method, usize)>,
}

impl Routes {
    /// A table of routes; each one's index is its place in the list.
    pub fn new(routes: impl IntoIterator<Item = (Method, PathPattern)>) -> Self {
        let mut table = Self::default();
        for (index, (method, pattern)) in routes.into_iter().enumerate() {
            match pattern.parts() {
                [Part::Literal(path)] => table.fixed.entry(path.clone()).or_default().push((method, index)),
                _ => table.patterns.push((pattern, method, index)),
            }
        }
        table
    }

    /// Finds the route for a method and a percent-decoded path. HEAD is GET's.
    pub fn find(&self, method: &Method, path: &str) -> Matched {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let mut others = Vec::new();
        for (own, index) in self.fixed.get(path).into_iter().flatten() {
            if own == method {
                return Matched::Route(*index, Vec::new());
            }
            others.push(own.clone());
        }
        // As a static route of the user's would, one of ours wins over parameters.
        if let Some(document) = self.document(path) {
            if [Method::GET, Method::HEAD].contains(method) {
                return Matched::Document(document);
            }
            if !others.contains(&Method::GET) {
                others.push(Method::GET);
            }
        }
        for (pattern, own, index) in &self.patterns {
            let Some(values) = values(pattern.parts(), path) else { continue };
            if own == method {
                return Matched::Route(*index, values.into_iter().map(str::to_owned).collect());
            }
            if !others.contains(own) {
                others.push(own.clone());
            }
        }
        if let Some(get) = others.iter().position(|method| method == Method::GET) {
            others.insert(get + 1, Method::HEAD);
        }
        if !others.is_empty() {
            return Matched::OtherMethods(others);
        }
        let other = path.strip_suffix('/').map_or_else(|| format!("{path}/"), str::to_owned);
        if path != "/" && self.exists(&other) { Matched::Redirect } else { Matched::Nothing }
    }

    /// What stands at `path` unless a route of the user's does. Without routes there is nothing to say.
    fn document(&self, path: &str) -> Option<Document> {
        let has_routes = !self.fixed.is_empty() || !self.patterns.is_empty();
        Document::at(path).filter(|_| has_routes)
    }

    fn exists(&self, path: &str) -> bool {
        self.fixed.contains_key(path)
            || self.document(path).is_some()
            || self.patterns.iter().any(|(pattern, _, _)| values(pattern.parts(), path).is_some())
    }
}

/// The values of the parameters where `parts` match the whole of `path`; parameters take as much as they can.
fn values<'path>(parts: &[Part], path: &'path str) -> Option<Vec<&'path str>> {
    let Some((first, rest)) = parts.split_first() else { return path.is_empty().then(Vec::new) };
    let longest = match first {
        Part::Literal(text) => return values(rest, path.strip_prefix(text.as_str())?),
        Part::Parameter(_) => path.find('/').unwrap_or(path.len()),
        Part::Path(_) => path.len(),
    };
    let shortest = usize::from(matches!(first, Part::Parameter(_)));
    (shortest..=longest).rev().filter(|end| path.is_char_boundary(*end)).find_map(|end| {
        let mut found = values(rest, &path[end..])?;
        found.insert(0, &path[..end]);
        Some(found)
    })
}

#[cfg(test)]
mod tests {
    use super::{Document, Matched, Routes};
    use http::Method;

    fn users() -> Routes {
        let routes = [
            (Method::GET, "/users"),
            (Method::POST, "/users"),
            (Method::GET, "/users/{id}"),
            (Method::DELETE, "/users/{user}"),
            (Method::GET, "/users/me"),
            (Method::GET, "/files/{name:path}.txt"),
            (Method::GET, "/v{version}/x"),
        ];
        Routes::new(routes.map(|(method, path)| (method, path.parse().expect("these are good paths"))))
    }

    fn route(index: usize, values: &[&str]) -> Matched {
        Matched::Route(index, values.iter().map(|value| (*value).to_owned()).collect())
    }

    #[test]
    fn a_static_route_wins_over_a_parameter_declared_before_it() {
        assert_eq!(users().find(&Method::GET, "/users/me"), route(4, &[]));
        assert_eq!(users().find(&Method::GET, "/users/7"), route(2, &["7"]));
    }

    #[test]
    fn a_method_that_the_static_route_lacks_is_found_at_the_parameter() {
        assert_eq!(users().find(&Method::DELETE, "/users/me"), route(3, &["me"]));
    }

    #[test]
    fn allow_is_the_union_of_the_methods() {
        let Matched::OtherMethods(methods) = users().find(&Method::PUT, "/users/7") else { panic!("the path exists") };
        assert_eq!(methods, [Method::GET, Method::HEAD, Method::DELETE]);
    }

    #[test]
    fn head_is_there_where_get_is() {
        assert_eq!(users().find(&Method::HEAD, "/users"), route(0, &[]));
        assert_eq!(users().find(&Method::HEAD, "/users/7"), route(2, &["7"]));
        let routes = Routes::new([(Method::POST, "/a".parse().expect("this is a good path"))]);
        assert_eq!(routes.find(&Method::HEAD, "/a"), Matched::OtherMethods(vec![Method::POST]));
    }

    #[test]
    fn a_slash_more_or_less_is_a_redirect() {
        assert_eq!(users().find(&Method::GET, "/users/"), Matched::Redirect);
        assert_eq!(users().find(&Method::PUT, "/users/7/"), Matched::Redirect);
        assert_eq!(users().find(&Method::GET, "/nothing"), Matched::Nothing);
        assert_eq!(users().find(&Method::GET, "/"), Matched::Nothing);
    }

    #[test]
    fn parameters_hold_no_slash_and_are_never_empty() {
        assert_eq!(users().find(&Method::GET, "/users/a/b"), Matched::Nothing);
        assert_eq!(users().find(&Method::GET, "/v/x"), Matched::Nothing);
        assert_eq!(users().find(&Method::GET, "/v2/x"), route(6, &["2"]));
    }

    #[test]
    fn a_path_parameter_holds_slashes_and_may_be_empty() {
        assert_eq!(users().find(&Method::GET, "/files/a/b.txt.txt"), route(5, &["a/b.txt"]));
        assert_eq!(users().find(&Method::GET, "/files/.txt"), route(5, &[""]));
    }

    #[test]
    fn what_is_said_of_routes_stands_where_no_static_route_does() {
        let routes = [(Method::POST, "/docs"), (Method::GET, "/redoc"), (Method::GET, "/{name}"), (Method::DELETE, "/{name}")];
        let routes = Routes::new(routes.map(|(method, path)| (method, path.parse().expect("these are good paths"))));
        let document = |path| Matched::Document(Document::at(path).expect("there is one"));
        assert_eq!(routes.find(&Method::GET, "/docs"), document("/docs"));
        assert_eq!(routes.find(&Method::HEAD, "/openapi.json"), document("/openapi.json"));
        assert_eq!(routes.find(&Method::POST, "/docs"), route(0, &[]));
        assert_eq!(routes.find(&Method::GET, "/redoc"), route(1, &[]));
        assert_eq!(routes.find(&Method::DELETE, "/redoc"), route(3, &["redoc"]));
        assert_eq!(routes.find(&Method::GET, "/openapi.json/"), Matched::Redirect);
        assert_eq!(
            routes.find(&Method::PUT, "/docs"),
            Matched::OtherMethods(vec![Method::POST, Method::GET, Method::HEAD, Method::DELETE])
        );
        assert_eq!(routes.find(&Method::GET, "/docs/nothing.js"), Matched::Nothing);
        assert_eq!(Routes::default().find(&Method::GET, "/docs"), Matched::Nothing);
    }

    #[test]
    fn letters_of_several_bytes_are_not_cut() {
        assert_eq!(users().find(&Method::GET, "/vé/x"), route(6, &["é"]));
    }
}
