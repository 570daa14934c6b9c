//! Forms: bodies of `multipart/form-data` and `application/x-www-form-urlencoded`, taken apart as Starlette does.
//!
//! Pure functions over a body that is there as a whole: a part is a slice of it, and no byte is looked at twice because more have come.

mod multipart;
mod parameters;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use flash_wire::{Part, PartValue};
use percent_encoding::percent_decode;

use parameters::Parameters;

/// Limits on forms, beside those on all bodies. Files together are bounded by the body.
#[derive(Clone, Debug)]
pub struct FormLimits {
    /// Most fields.
    pub fields: usize,
    /// Most files.
    pub files: usize,
    /// Longest field, in bytes: its text; in a URL-encoded form its name as well, both as they are sent.
    pub field_bytes: usize,
    /// Longest head of a part, in bytes.
    pub head_bytes: usize,
}

impl Default for FormLimits {
    /// Starlette's for fields and files.
    fn default() -> Self {
        Self { fields: 1000, files: 1000, field_bytes: 1 << 20, head_bytes: 16 << 10 }
    }
}

/// Why a form cannot be taken apart, as its sender is told. Parts count from 1.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("the content type `multipart/form-data` names no boundary, which is what separates the parts")]
    NoBoundary,
    #[error("the boundary is {0} bytes long, and {max} are allowed", max = multipart::BOUNDARY_BYTES)]
    LongBoundary(usize),
    #[error("a form in the charset `{0}` is not supported: send it in UTF-8")]
    Charset(String),
    #[error("the body does not begin with the boundary that its content type names")]
    NoBeginning,
    #[error("the form breaks off in part {0}: no boundary ends it")]
    BreaksOff(usize),
    #[error("a line in the head of part {0} is no header")]
    BadHead(usize),
    #[error("the head of part {part} is longer than the {limit} bytes that are allowed")]
    LongHead { part: usize, limit: usize },
    #[error("part {0} has no name: its `content-disposition` must give one")]
    NoName(usize),
    #[error("the form has more than the {0} fields that are allowed")]
    ManyFields(usize),
    #[error("the form has more than the {0} files that are allowed")]
    ManyFiles(usize),
    #[error("field {field} of the form is longer than the {limit} bytes that are allowed")]
    LongField { field: usize, limit: usize },
}

/// A body that its content type calls a form.
pub(crate) enum Announced {
    Multipart(Parameters),
    UrlEncoded,
}

impl Announced {
    /// What a content type announces; `None` if it is no form's.
    pub(crate) fn by(content_type: &[u8]) -> Option<Self> {
        // Most are JSON's: nothing is taken apart for them.
        let start = content_type.trim_ascii_start();
        let may_be = |kind: &str| start.get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind.as_bytes()));
        if !may_be("multipart/form-data") && !may_be("application/x-www-form-urlencoded") {
            return None;
        }
        let (kind, parameters) = parameters::parse(content_type);
        match kind.as_slice() {
            b"multipart/form-data" => Some(Self::Multipart(parameters)),
            b"application/x-www-form-urlencoded" => Some(Self::UrlEncoded),
            _ => None,
        }
    }

    /// The parts of the form, in the order in which they were sent. A body that is empty is a form without parts.
    pub(crate) fn parts(&self, body: &Bytes, limits: &FormLimits) -> Result<Vec<Part>, Error> {
        match self {
            Self::UrlEncoded => url_encoded(body, limits),
            Self::Multipart(parameters) => {
                let charset = Charset::of(parameters)?;
                let boundary = parameters.get(b"boundary").filter(|boundary| !boundary.is_empty()).ok_or(Error::NoBoundary)?;
                if body.is_empty() { Ok(Vec::new()) } else { multipart::split(body, boundary, charset, limits) }
            }
        }
    }
}

/// How the text of a multipart form is encoded.
#[derive(Clone, Copy)]
enum Charset {
    Utf8,
    Latin1,
}

impl Charset {
    fn of(parameters: &Parameters) -> Result<Self, Error> {
        let Some(label) = parameters.get(b"charset") else { return Ok(Self::Utf8) };
        match label.to_ascii_lowercase().as_slice() {
            b"utf-8" | b"utf8" => Ok(Self::Utf8),
            b"iso-8859-1" | b"latin-1" | b"latin1" | b"us-ascii" | b"ascii" => Ok(Self::Latin1),
            _ => Err(Error::Charset(String::from_utf8_lossy(label).into_owned())),
        }
    }

    /// Text that is not what it should be is read as latin-1, in which everything means something.
    fn decode(self, bytes: &[u8]) -> String {
        match (self, std::str::from_utf8(bytes)) {
            (Self::Utf8, Ok(text)) => text.to_owned(),
            _ => latin1(bytes),
        }
    }
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

fn url_encoded(body: &[u8], limits: &FormLimits) -> Result<Vec<Part>, Error> {
    let mut parts = Vec::new();
    for field in body.split(|byte| *byte == b'&').filter(|field| !field.is_empty()) {
        if parts.len() == limits.fields {
            return Err(Error::ManyFields(limits.fields));
        }
        let end = memchr::memchr(b'=', field);
        let (name, text) = end.map_or((field, &b""[..]), |end| (&field[..end], &field[end + 1..]));
        if name.len() + text.len() > limits.field_bytes {
            return Err(Error::LongField { field: parts.len() + 1, limit: limits.field_bytes });
        }
        parts.push(Part { name: unquoted(name), value: PartValue::Text(unquoted(text)) });
    }
    Ok(parts)
}

/// As Python's `unquote_plus(text.decode("latin-1"))`: what is percent-encoded is UTF-8, and what is not ASCII stands for itself.
fn unquoted(text: &[u8]) -> String {
    let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    let mut out = String::with_capacity(text.len());
    for run in spaced.chunk_by(|left, right| left.is_ascii() == right.is_ascii()) {
        if run.is_ascii() { out.push_str(&percent_decode(run).decode_utf8_lossy()) } else { out.push_str(&latin1(run)) }
    }
    out
}
