//! What the gateway says of an endpoint's routes: the OpenAPI document, two pages that show it, and what the pages load.

use std::hash::{DefaultHasher, Hasher};

use bytes::Bytes;
use flash_workers::Undescribed;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use crate::answer::{self, Payload};
use crate::endpoint::Endpoint;
use crate::gateway::Settings;
use crate::pages::{self, Asset};
use crate::{forwarded, openapi};

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document {
    /// The OpenAPI document.
    OpenApi,
    /// Swagger UI, which shows it.
    Docs,
    /// ReDoc, which shows it.
    Redoc,
    /// A script or a style of these pages.
    Asset(&'static Asset),
}

impl Document {
    /// What stands at this path of an endpoint.
    pub fn at(path: &str) -> Option<Self> {
        match path {
            "/openapi.json" => Some(Self::OpenApi),
            "/docs" => Some(Self::Docs),
            "/redoc" => Some(Self::Redoc),
            _ => Asset::at(path).map(Self::Asset),
        }
    }

    /// Answers a GET or HEAD.
    pub(crate) async fn answer(self, endpoint: &Endpoint, settings: &Settings, head: &Parts) -> Response<Payload> {
        match self {
            Self::OpenApi => openapi(endpoint, settings, head).await,
            Self::Docs => page(head, pages::docs(&endpoint.name, &[], "openapi.json")),
            Self::Redoc => page(head, pages::redoc(&endpoint.name, "openapi.json")),
            Self::Asset(found) => asset(head, found),
        }
    }
}

async fn openapi(endpoint: &Endpoint, settings: &Settings, head: &Parts) -> Response<Payload> {
    let unavailable = |text: &str| {
        let mut response = answer::detail(StatusCode::SERVICE_UNAVAILABLE, text);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        response
    };
    let name = &endpoint.name;
    let Ok(described) = tokio::time::timeout(settings.timeout, endpoint.pool.description()).await else {
        return unavailable(&format!("{name} is still being described"));
    };
    let described = match described {
        Ok(described) => described,
        Err(Undescribed::NeverReady) => return unavailable(&format!("{name} has not been ready yet, so its routes are not known")),
        Err(Undescribed::CannotRun(error)) => return unavailable(&answer::cannot_run(name, &error)),
        Err(Undescribed::Closing) => return unavailable(&format!("{name} is being stopped")),
        Err(Undescribed::Failed(_)) => return unavailable(&format!("the routes of {name} cannot be described: see its log")),
    };
    let base = if settings.trust_proxy { forwarded::base(&head.headers) } else { String::new() };
    let Some(document) = openapi::document(name, &format!("{base}/lb/{name}"), &described) else {
        tracing::error!(endpoint = name, "the description of its routes is not what it should be");
        return unavailable(&format!("the routes of {name} cannot be described"));
    };
    let mut response = tagged(head, document.into(), "application/json");
    if settings.trust_proxy {
        response.headers_mut().insert(header::VARY, HeaderValue::from_static(forwarded::VARY));
    }
    response
}

/// A page, under rules that let it load nothing but what is here.
pub(crate) fn page(head: &Parts, html: String) -> Response<Payload> {
    let mut response = tagged(head, html.into(), "text/html; charset=utf-8");
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(pages::POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// A script or a style.
pub(crate) fn asset(head: &Parts, asset: &'static Asset) -> Response<Payload> {
    let Asset { body, kind, compressed: true, .. } = *asset else { return tagged(head, Bytes::from_static(asset.body), asset.kind) };
    if refuses_gzip(&head.headers) {
        let text = "this file is kept compressed: ask for it with `accept-encoding: gzip`";
        return answer::detail(StatusCode::NOT_ACCEPTABLE, text);
    }
    let mut response = tagged(head, Bytes::from_static(body), kind);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    // Its version is in its name.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    response
}

/// 200 with this body, or 304 where the caller has it already.
fn tagged(head: &Parts, body: Bytes, kind: &'static str) -> Response<Payload> {
    let mut hasher = DefaultHasher::new();
    hasher.write(&body);
    let tag = format!("\"{:016x}\"", hasher.finish());
    let is_known = has(&head.headers, &tag);
    let mut response = Response::new(Payload::Whole((!is_known).then_some(body)));
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::ETAG, HeaderValue::try_from(tag).expect("hexadecimal digits are allowed"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache")); // kept, and asked after
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Whether the caller says that it has what this tag stands for.
fn has(headers: &HeaderMap, tag: &str) -> bool {
    let sent = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    sent.flat_map(|value| value.split(',')).map(str::trim).any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

/// Whether the caller takes no gzip. One that says nothing of encodings takes any.
fn refuses_gzip(headers: &HeaderMap) -> bool {
    let sent: Vec<&str> = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).collect();
    if sent.is_empty() {
        return false;
    }
    let codings = sent.iter().flat_map(|value| value.split(',')).map(|coding| {
        let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = parameters.trim().strip_prefix("q=").and_then(|weight| weight.parse().ok()).unwrap_or(1.0);
        (name.trim().to_ascii_lowercase(), weight > 0.0)
    });
    let codings: Vec<(String, bool)> = codings.collect();
    let taken = |wanted: &str| codings.iter().find(|(name, _)| name == wanted).map(|(_, taken)| *taken);
    !taken("gzip").or_else(|| taken("*")).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_caller_has_what_it_names() {
        let has = |sent: &[&'static str]| has(&headers(header::IF_NONE_MATCH, sent), "\"ab\"");
        assert!(has(&["\"ab\""]) && has(&["\"x\", W/\"ab\""]) && has(&["*"]) && has(&["\"x\"", "\"ab\""]));
        assert!(!has(&[]) && !has(&["\"abc\""]) && !has(&["ab"]));
    }

    #[test]
    fn gzip_is_refused_by_those_who_say_what_they_take_and_leave_it_out() {
        let refuses = |sent: &[&'static str]| refuses_gzip(&headers(header::ACCEPT_ENCODING, sent));
        assert!(refuses(&["identity"]) && refuses(&[""]) && refuses(&["gzip;q=0, *"]) && refuses(&["br, *;q=0"]));
        assert!(!refuses(&[]) && !refuses(&["gzip, deflate, br"]) && !refuses(&["*"]) && !refuses(&["br;q=1.0", "GZIP;q=0.5"]));
    }
}
