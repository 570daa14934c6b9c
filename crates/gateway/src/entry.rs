//! Where connections come in: callers' at the listener that all know, workers' at one of their own, where each shows who it is.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, header, request::Parts};
use percent_encoding::percent_decode_str;

use crate::answer::{self, Payload};
use crate::gateway::unauthorized;

/// What a worker means by an endpoint's name.
#[derive(Debug, PartialEq, Eq)]
pub enum Meant {
    /// The endpoint that is served by this name.
    Endpoint(String),
    /// No endpoint: there is none of that name for who asks.
    Nothing,
    /// Nobody knows: the request shows nothing that would say for whom.
    Unknown,
}

/// Says what a worker means by a name in a request with this head.
pub type Means = Arc<dyn Fn(&Parts, &str) -> Meant + Send + Sync>;

/// How a connection came in.
#[derive(Clone)]
pub(crate) enum Entry {
    /// Where callers come in, at this address.
    Callers(IpAddr),
    /// Where those of this machine do who have a credential, over loopback and without TLS.
    Operators,
    /// Where workers do, over loopback.
    Workers(Means),
}

impl Entry {
    /// The address that is listened on.
    pub(crate) fn local(&self) -> IpAddr {
        match self {
            Self::Callers(local) => *local,
            Self::Operators | Self::Workers(_) => Ipv4Addr::LOCALHOST.into(),
        }
    }

    /// Whether whoever comes from this machine needs no credential.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self, Self::Operators)
    }

    /// Whether connections are encrypted, where the gateway has a certificate.
    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(self, Self::Callers(_))
    }

    /// Tells a worker which endpoint it has reached, in `content-location`: others reach it there at the callers' listener.
    pub(crate) fn told(&self, head: &Parts, headers: &mut HeaderMap) {
        if matches!(self, Self::Workers(_))
            && let Ok(path) = HeaderValue::from_str(head.uri.path())
        {
            headers.entry(header::CONTENT_LOCATION).or_insert(path); // a function may have one of its own
        }
    }

    /// Has a request be one to the endpoint that its sender means. Errs with the answer to one that means none.
    pub(crate) fn lead(&self, head: &mut Parts) -> Result<(), Box<Response<Payload>>> {
        let Self::Workers(means) = self else { return Ok(()) };
        let Some((root, name, rest)) = addressed(&head.uri) else { return Err(nothing()) };
        match means(head, &name) {
            Meant::Endpoint(id) => {
                head.uri = to(&head.uri, &format!("{root}{id}{rest}"));
                Ok(())
            }
            Meant::Nothing => Err(nothing()),
            Meant::Unknown => Err(Box::new(unauthorized())),
        }
    }
}

fn nothing() -> Box<Response<Payload>> {
    Box::new(answer::detail(StatusCode::NOT_FOUND, "Not Found"))
}

/// Below these, endpoints stand by their names: with their routes, and with their jobs.
const ROOTS: [&str; 2] = ["/lb/", "/v2/"];

/// The root, the endpoint's name, and the rest of the path as it came.
fn addressed(uri: &Uri) -> Option<(&'static str, Cow<'_, str>, &str)> {
    let (root, rest) = ROOTS.into_iter().find_map(|root| Some((root, uri.path().strip_prefix(root)?)))?;
    let (name, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    Some((root, percent_decode_str(name).decode_utf8_lossy(), rest))
}

/// The same request's, to another path.
fn to(uri: &Uri, path: &str) -> Uri {
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(format!("{path}{query}")).ok().or(parts.path_and_query);
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn led(uri: &str) -> Result<String, StatusCode> {
        let means: Means = Arc::new(|_, name| match name {
            "a b" => Meant::Endpoint("a-b-shop".into()),
            "stranger" => Meant::Unknown,
            _ => Meant::Nothing,
        });
        let (mut head, ()) = http::Request::builder().uri(uri).body(()).unwrap().into_parts();
        Entry::Workers(means).lead(&mut head).map(|()| head.uri.to_string()).map_err(|response| response.status())
    }

    #[test]
    fn a_workers_request_goes_to_the_endpoint_that_it_means() {
        assert_eq!(led("/lb/a%20b/x/%2F?q=1&r").as_deref(), Ok("/lb/a-b-shop/x/%2F?q=1&r"));
        assert_eq!(led("/lb/a%20b").as_deref(), Ok("/lb/a-b-shop"));
        assert_eq!(led("http://127.0.0.1:1/lb/a%20b/").as_deref(), Ok("http://127.0.0.1:1/lb/a-b-shop/"));
        assert_eq!(led("/v2/a%20b/run?x").as_deref(), Ok("/v2/a-b-shop/run?x"));
        assert_eq!(led("/lb/stranger/x"), Err(StatusCode::UNAUTHORIZED));
        for nothing in ["/lb/c/x", "/lb/", "/", "/api/v1/server", "/lb/a-b-shop/x", "/v2/c/run", "/v2"] {
            assert_eq!(led(nothing), Err(StatusCode::NOT_FOUND), "{nothing}");
        }
    }
}
