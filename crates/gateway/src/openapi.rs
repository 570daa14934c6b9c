//! The OpenAPI document of an endpoint: what its process says of the routes, and what the gateway alone knows.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The version of OpenAPI that `_worker/openapi.py` writes.
const OPENAPI: &str = "3.1.0";

/// The version of the endpoint's interface. Nobody states one, so it is FastAPI's for those who do not.
const VERSION: &str = "0.1.0";

/// What a process says of its routes. It is passed on as it came.
#[derive(Deserialize)]
struct Described<'described> {
    #[serde(borrow)]
    paths: &'described RawValue,
    #[serde(borrow)]
    components: Option<&'described RawValue>,
}

#[derive(Serialize)]
struct Whole<'parts> {
    openapi: &'parts str,
    info: Info<'parts>,
    servers: [Server<'parts>; 1],
    paths: &'parts RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    components: Option<&'parts RawValue>,
}

#[derive(Serialize)]
struct Info<'parts> {
    title: &'parts str,
    version: &'parts str,
}

#[derive(Serialize)]
struct Server<'parts> {
    url: &'parts str,
}

/// The document of an endpoint that callers address at `url`; `None` where `described` is no description.
pub(crate) fn document(endpoint: &str, url: &str, described: &[u8]) -> Option<Vec<u8>> {
    let Described { paths, components } = serde_json::from_slice(described).ok()?;
    let info = Info { title: endpoint, version: VERSION };
    serde_json::to_vec(&Whole { openapi: OPENAPI, info, servers: [Server { url }], paths, components }).ok()
}

#[cfg(test)]
mod tests {
    use super::document;

    fn written(url: &str, described: &str) -> Option<String> {
        document("users", url, described.as_bytes()).map(|document| String::from_utf8(document).unwrap())
    }

    #[test]
    fn what_describes_routes_is_passed_on_as_it_came() {
        let whole = written("/lb/users", r#"{"paths":{"/b": {},"/a":{"x":1e400}},"components":{ }}"#);
        let head = r#"{"openapi":"3.1.0","info":{"title":"users","version":"0.1.0"},"servers":[{"url":"/lb/users"}]"#;
        assert_eq!(whole.unwrap(), format!(r#"{head},"paths":{{"/b": {{}},"/a":{{"x":1e400}}}},"components":{{ }}}}"#));
        assert_eq!(written("/lb/users", r#"{"paths":{}}"#).unwrap(), format!(r#"{head},"paths":{{}}}}"#));
    }

    #[test]
    fn what_is_no_description_makes_no_document() {
        assert_eq!(written("/", "{}"), None);
        assert_eq!(written("/", r#"{"paths":{}"#), None);
        assert_eq!(written("/", ""), None);
    }
}
