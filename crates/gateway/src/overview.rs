//! The page that shows all endpoints of a listener, where it has one.

use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};
use percent_encoding::percent_decode_str;

use crate::answer::{self, Payload};
use crate::document;
use crate::gateway::{Gateway, method_not_allowed};
use crate::pages::{self, Asset};

/// Answers what is addressed to no endpoint.
pub(crate) fn answer(gateway: &Gateway, head: &Parts) -> Response<Payload> {
    let not_found = || answer::detail(StatusCode::NOT_FOUND, "Not Found");
    let Some((title, names)) = gateway.overview() else { return not_found() };
    let path = head.uri.path();
    let asset = Asset::at(path);
    if !matches!(path, "/" | "/docs") && asset.is_none() {
        return not_found();
    }
    if ![Method::GET, Method::HEAD].contains(&head.method) {
        return method_not_allowed(&[Method::GET]);
    }
    match asset {
        Some(asset) => document::asset(head, asset),
        None if path == "/" => {
            let mut response = answer::detail(StatusCode::TEMPORARY_REDIRECT, "see /docs");
            response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("docs"));
            response
        }
        None => {
            let chosen = chosen(head.uri.query().unwrap_or_default(), &names);
            let links: Vec<_> = names.iter().map(|name| (name.as_str(), Some(name) == chosen)).collect();
            let shown = chosen.map_or_else(String::new, |name| format!("lb/{name}/openapi.json"));
            document::page(head, pages::docs(title, &links, &shown))
        }
    }
}

/// The endpoint that the query names, else the first one.
fn chosen<'names>(query: &str, names: &'names [String]) -> Option<&'names String> {
    let named = query.split('&').find_map(|pair| pair.strip_prefix("endpoint="));
    let named = named.map(|name| percent_decode_str(name).decode_utf8_lossy());
    named.and_then(|named| names.iter().find(|name| **name == *named)).or_else(|| names.first())
}

#[cfg(test)]
mod tests {
    use super::chosen;

    #[test]
    fn the_query_chooses_the_endpoint_that_is_shown() {
        let names = ["a".to_owned(), "b-1".to_owned()];
        for (query, name) in [("", "a"), ("endpoint=b-1", "b-1"), ("x=1&endpoint=b%2D1", "b-1"), ("endpoint=c", "a"), ("endpoint=%ff", "a")]
        {
            assert_eq!(chosen(query, &names).unwrap(), name, "{query}");
        }
        assert_eq!(chosen("endpoint=a", &[]), None);
    }
}
