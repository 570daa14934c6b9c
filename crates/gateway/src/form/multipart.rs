//! `multipart/form-data` (RFC 7578): parts between boundaries, each with a head and a content.
//!
//! By hand rather than by `multer`: that looks through all it has whenever more comes, takes a name out of the middle of a quoted
//! filename, and gives a part without a head the head of the next one.

use bytes::Bytes;
use flash_wire::{Part, PartValue};
use memchr::memmem::{self, Finder};

use super::{Charset, Error, FormLimits, parameters};

/// The longest boundary; RFC 2046 allows 70.
pub(crate) const BOUNDARY_BYTES: usize = 256;

/// The parts of a body.
pub(super) fn split(body: &Bytes, boundary: &[u8], charset: Charset, limits: &FormLimits) -> Result<Vec<Part>, Error> {
    if boundary.len() > BOUNDARY_BYTES {
        return Err(Error::LongBoundary(boundary.len()));
    }
    let delimiter = [b"\r\n--", boundary].concat();
    let boundaries = Boundaries { body, delimiter: Finder::new(&delimiter) };
    let mut parts = Vec::new();
    let (mut fields, mut files) = (0, 0);
    let mut after = boundaries.first().ok_or(Error::NoBeginning)?;
    while let After::Part(start) = after {
        let number = parts.len() + 1;
        let (head, start) = head(body, start, number, limits)?;
        let end = boundaries.from(start).ok_or(Error::BreaksOff(number))?;
        let content = start..end.start;
        let value = match head.filename {
            Some(filename) => {
                files += 1;
                if files > limits.files {
                    return Err(Error::ManyFiles(limits.files));
                }
                let content_type = body.slice_ref(head.content_type);
                PartValue::File { filename: charset.decode(&filename), content_type, content: body.slice(content) }
            }
            None => {
                fields += 1;
                if fields > limits.fields {
                    return Err(Error::ManyFields(limits.fields));
                }
                if content.len() > limits.field_bytes {
                    return Err(Error::LongField { field: fields, limit: limits.field_bytes });
                }
                PartValue::Text(charset.decode(&body[content]))
            }
        };
        parts.push(Part { name: charset.decode(&head.name), value });
        after = end.after;
    }
    Ok(parts)
}

struct Boundaries<'body> {
    body: &'body [u8],
    /// With the line break before it, which is part of it.
    delimiter: Finder<'body>,
}

struct Boundary {
    /// Where it begins, and what is before it ends.
    start: usize,
    after: After,
}

/// What comes after a boundary.
enum After {
    /// A part, whose head begins here.
    Part(usize),
    /// Nothing that means anything.
    End,
}

impl Boundaries<'_> {
    /// What comes after the one with which the body begins, or the first line that is not empty and has a hyphen. RFC 2046 has a
    /// preamble before it, and nobody sends one: what stood there would be a part whose boundary is broken.
    fn first(&self) -> Option<After> {
        let start = match self.body.first()? {
            b'\r' | b'\n' => memchr::memchr(b'-', self.body)?,
            _ => 0,
        };
        let bare = &self.delimiter.needle()[2..]; // no line comes before it
        self.body[start..].starts_with(bare).then(|| self.after(start + bare.len())).flatten()
    }

    /// The first one at `start` or after. A line that goes on differently is none.
    fn from(&self, start: usize) -> Option<Boundary> {
        self.delimiter.find_iter(&self.body[start..]).find_map(|found| {
            let start = start + found;
            Some(Boundary { start, after: self.after(start + self.delimiter.needle().len())? })
        })
    }

    fn after(&self, end: usize) -> Option<After> {
        let rest = &self.body[end..];
        if rest.starts_with(b"--") {
            return Some(After::End);
        }
        let padding = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        rest[padding..].starts_with(b"\r\n").then_some(After::Part(end + padding + 2))
    }
}

struct Head<'body> {
    name: Vec<u8>,
    filename: Option<Vec<u8>>,
    content_type: &'body [u8],
}

/// The head of the part that begins at `start`, and where its content begins.
fn head<'body>(body: &'body [u8], start: usize, part: usize, limits: &FormLimits) -> Result<(Head<'body>, usize), Error> {
    let too_long = Error::LongHead { part, limit: limits.head_bytes };
    let (mut disposition, mut content_type) = (None, &b""[..]);
    let mut at = start;
    loop {
        let line = &body[at..];
        let Some(length) = memmem::find(&line[..line.len().min(limits.head_bytes + 2)], b"\r\n") else {
            return Err(if line.len() > limits.head_bytes { too_long } else { Error::BreaksOff(part) });
        };
        at += length + 2;
        if length == 0 {
            break;
        }
        if at - start > limits.head_bytes {
            return Err(too_long);
        }
        let (name, value) = header(&line[..length]).ok_or(Error::BadHead(part))?;
        if name.eq_ignore_ascii_case(b"content-disposition") {
            disposition = Some(value);
        } else if name.eq_ignore_ascii_case(b"content-type") {
            content_type = value;
        }
    }
    let (_, parameters) = parameters::parse(disposition.unwrap_or_default());
    let name = parameters.get(b"name").ok_or(Error::NoName(part))?.to_vec();
    Ok((Head { name, filename: parameters.get(b"filename").map(<[u8]>::to_vec), content_type }, at))
}

fn header(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b':', line)?;
    let (name, value) = (&line[..end], &line[end + 1..]);
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    if name.is_empty() || !name.iter().all(is_token) || value.contains(&b'\r') {
        return None;
    }
    Some((name, &value[value.iter().take_while(|byte| **byte == b' ').count()..]))
}
