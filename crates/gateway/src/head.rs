//! Whether a request's head is one that is taken, whatever HTTP it came by.
//!
//! Of HTTP/1.1 hyper counts the fields, and `framing.rs` sees to lengths. Of HTTP/2 nobody does: these rules make it no laxer.

use http::{StatusCode, Version, header, request::Parts};

use crate::answer;
use crate::gateway::Settings;

/// Fields of a head: hyper takes no more of HTTP/1.1, unless it is told to.
pub(crate) const FIELDS: usize = 100;

/// Why a head is refused, if it is.
pub(crate) fn refused(head: &Parts, settings: &Settings) -> Option<(StatusCode, String)> {
    if head.uri.scheme_str().is_some_and(|scheme| !matches!(scheme, "http" | "https")) {
        return Some((StatusCode::BAD_REQUEST, "the request's target is of another scheme than `http` and `https`".to_owned()));
    }
    if head.version == Version::HTTP_2 {
        if head.headers.get_all(header::CONTENT_LENGTH).iter().nth(1).is_some() {
            return Some((StatusCode::BAD_REQUEST, "the request has more than one Content-Length; send one".to_owned()));
        }
        let fields = fields(head);
        if fields > FIELDS {
            return Some((StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, too_many(fields)));
        }
    }
    (length(head) > settings.head_bytes).then(|| (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, answer::head_too_long(settings)))
}

/// What callers hear whose request's head has so many fields.
pub(crate) fn too_many(fields: usize) -> String {
    format!("the request's head has more than the {FIELDS} fields that are allowed: {fields} have come")
}

/// HTTP/2 lets a Cookie come in pieces, which are one field.
fn fields(head: &Parts) -> usize {
    head.headers.len() - head.headers.get_all(header::COOKIE).iter().skip(1).count()
}

/// Bytes of a request's head, as HTTP/1.1 writes it.
fn length(head: &Parts) -> usize {
    let target = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    target + head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum::<usize>()
}
