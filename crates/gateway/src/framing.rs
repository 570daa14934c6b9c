//! Where the messages of an HTTP/1.1 connection begin and end, and whether that is in doubt.
//!
//! hyper parses what callers send. It takes more than the grammar allows: lines that end with a line feed alone, a `Content-Length`
//! beside a `Transfer-Encoding` or beside its like, codings that it cannot undo. Who stands between a caller and us may read such a
//! request in another way, and take the end of one for the beginning of the next. So the bounds are followed here too, before hyper sees
//! the bytes, and what could be read in two ways goes no further. What hyper refuses by itself is left to hyper.

use http::StatusCode;
use memchr::memchr;

/// Digits of a chunk's size. More than these would be zeros, or more than any body may have.
const SIZE_DIGITS: u8 = 16;

/// Follows the messages of one connection.
pub(crate) struct Framing {
    at: At,
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    fields: Fields,
    /// Fields of the head at hand, and of the longest one before.
    count: usize,
    most: usize,
    interim: bool,
    /// Heads that have come whole, as they are counted around.
    heads: u32,
    /// A request's first line has come.
    begun: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before a request's first line; empty lines may come.
    Between,
    Head,
    /// So many bytes of the body are to come.
    Body(u64),
    Size {
        size: u64,
        digits: u8,
    },
    /// After a chunk's size and white space.
    SizeSpace(u64),
    Extension(u64),
    SizeFeed(u64),
    Chunk(u64),
    ChunkReturn,
    ChunkFeed,
    Trailers,
}

/// What a head says of its body's length.
#[derive(Clone, Copy, Default)]
struct Fields {
    length: Option<u64>,
    chunked: bool,
}

/// Why a request could be read in more than one way, or its end cannot be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Doubt {
    #[error("a line of the request's head ends with a line feed alone; lines end with CR and LF")]
    Feed,
    #[error("a line of the request's head continues the one before it, which HTTP allows no longer; write each field in one line")]
    Folded,
    #[error("the request's Content-Length is not a number of bytes")]
    Length,
    #[error("the request's Content-Length is more than any body may have")]
    TooLong,
    #[error("the request has more than one Content-Length; send one")]
    Lengths,
    #[error("the request has both a Content-Length and a Transfer-Encoding; send one of them")]
    Both,
    #[error("the request's Transfer-Encoding does not end with `chunked`, once: where its body ends cannot be known")]
    Coding,
    #[error("the request's Transfer-Encoding has a coding beside `chunked`, and this server undoes none")]
    Codings,
    #[error("a chunk of the request's body does not begin with its size, or does not end where that says")]
    Chunk,
}

impl Doubt {
    /// The status that tells the caller.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Codings => StatusCode::NOT_IMPLEMENTED,
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Feed | Self::Folded | Self::Length | Self::Lengths | Self::Both | Self::Coding | Self::Chunk => StatusCode::BAD_REQUEST,
        }
    }
}

impl Default for Framing {
    fn default() -> Self {
        Self { at: At::Between, line: Vec::new(), fields: Fields::default(), count: 0, most: 0, interim: false, heads: 0, begun: false }
    }
}

impl Framing {
    /// Follows what has come. Errs with the number of bytes before the one that made the doubt; it has no use for anything after that.
    /// A doubt within a head comes with the end of a line, after the first byte of that head.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<(), (usize, Doubt)> {
        let mut taken = 0;
        while taken < bytes.len() {
            taken += self.step(&bytes[taken..]).map_err(|(before, doubt)| (taken + before, doubt))?;
        }
        Ok(())
    }

    /// Part of a head has come, and not all of it.
    pub(crate) fn in_head(&self) -> bool {
        self.at == At::Head || self.at == At::Between && !self.line.is_empty()
    }

    /// A head has come, and not all of its body.
    pub(crate) fn in_body(&self) -> bool {
        !matches!(self.at, At::Between | At::Head)
    }

    /// How many heads have come whole, as they are counted around.
    pub(crate) fn heads(&self) -> u32 {
        self.heads
    }

    /// Something has come beside empty lines.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }

    /// How many fields the longest head had, as far as it has come.
    pub(crate) fn most_fields(&self) -> usize {
        self.most
    }

    /// Whether the caller of the last request knows interim answers: they came with HTTP/1.1.
    pub(crate) fn knows_interim_answers(&self) -> bool {
        self.interim
    }

    /// Takes a line, a run of a body, or a byte between; returns how much that was.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, (usize, Doubt)> {
        let run = |left: u64| usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let first = bytes[0];
        self.at = match self.at {
            At::Between | At::Head | At::Trailers => return self.lines(bytes),
            At::Body(left) => {
                let run = run(left);
                self.at = if run as u64 == left { At::Between } else { At::Body(left - run as u64) };
                return Ok(run);
            }
            At::Chunk(left) => {
                let run = run(left);
                self.at = if run as u64 == left { At::ChunkReturn } else { At::Chunk(left - run as u64) };
                return Ok(run);
            }
            At::Size { size, digits } => match char::from(first).to_digit(16) {
                Some(digit) if digits < SIZE_DIGITS => At::Size { size: size << 4 | u64::from(digit), digits: digits + 1 },
                None if digits > 0 => size_end(size, first)?,
                Some(_) | None => return Err((0, Doubt::Chunk)),
            },
            At::SizeSpace(size) => size_end(size, first)?,
            At::Extension(size) => match first {
                b'\r' => At::SizeFeed(size),
                b'\t' | b' '..=b'~' | 0x80.. => At::Extension(size),
                _ => return Err((0, Doubt::Chunk)),
            },
            At::SizeFeed(0) if first == b'\n' => At::Trailers,
            At::SizeFeed(size) if first == b'\n' => At::Chunk(size),
            At::ChunkReturn if first == b'\r' => At::ChunkFeed,
            At::ChunkFeed if first == b'\n' => At::Size { size: 0, digits: 0 },
            At::SizeFeed(_) | At::ChunkReturn | At::ChunkFeed => return Err((0, Doubt::Chunk)),
        };
        Ok(1)
    }

    fn lines(&mut self, bytes: &[u8]) -> Result<usize, (usize, Doubt)> {
        let Some(end) = memchr(b'\n', bytes) else {
            self.line.extend_from_slice(bytes); // hyper reads no head that is longer than its limit
            return Ok(bytes.len());
        };
        let line = &bytes[..end];
        let read = if self.line.is_empty() {
            self.line(line)
        } else {
            let mut whole = std::mem::take(&mut self.line);
            whole.extend_from_slice(line);
            self.line(&whole)
        };
        read.map(|()| end + 1).map_err(|doubt| (end, doubt))
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Doubt> {
        if self.at == At::Between && matches!(line, [] | b"\r") {
            return Ok(()); // an empty line before a request means nothing, however it ends
        }
        let line = line.strip_suffix(b"\r").ok_or(Doubt::Feed)?;
        if self.at == At::Head && !line.is_empty() {
            self.count += 1;
            self.most = self.most.max(self.count);
        }
        match (self.at, line) {
            (At::Between, line) => {
                self.at = At::Head;
                self.count = 0;
                self.begun = true;
                self.interim = line.ends_with(b"HTTP/1.1");
            }
            (At::Head, []) => {
                self.at = std::mem::take(&mut self.fields).body();
                self.heads = self.heads.wrapping_add(1);
            }
            (At::Trailers, []) => self.at = At::Between,
            (_, [b' ' | b'\t', ..]) => return Err(Doubt::Folded),
            (At::Head, [b'c' | b'C' | b't' | b'T', ..]) => self.fields.read(line)?,
            _ => {}
        }
        Ok(())
    }
}

/// What comes after a chunk's size and this byte.
fn size_end(size: u64, byte: u8) -> Result<At, (usize, Doubt)> {
    match byte {
        b' ' | b'\t' => Ok(At::SizeSpace(size)),
        b';' => Ok(At::Extension(size)),
        b'\r' => Ok(At::SizeFeed(size)),
        _ => Err((0, Doubt::Chunk)),
    }
}

impl Fields {
    fn read(&mut self, line: &[u8]) -> Result<(), Doubt> {
        let Some(colon) = memchr(b':', line) else { return Ok(()) };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            if self.length.is_some() {
                return Err(Doubt::Lengths);
            }
            if self.chunked {
                return Err(Doubt::Both);
            }
            let length = length(value).ok_or(Doubt::Length)?;
            // By the two highest numbers hyper means something else.
            if length >= u64::MAX - 1 {
                return Err(Doubt::TooLong);
            }
            self.length = Some(length);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.length.is_some() {
                return Err(Doubt::Both);
            }
            if self.chunked {
                return Err(Doubt::Coding);
            }
            if !value.eq_ignore_ascii_case(b"chunked") {
                let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default();
                return Err(if last.trim_ascii().eq_ignore_ascii_case(b"chunked") { Doubt::Codings } else { Doubt::Coding });
            }
            self.chunked = true;
        }
        Ok(())
    }

    fn body(self) -> At {
        match self.length {
            _ if self.chunked => At::Size { size: 0, digits: 0 },
            None | Some(0) => At::Between,
            Some(length) => At::Body(length),
        }
    }
}

/// Digits alone: no sign, no list.
fn length(value: &[u8]) -> Option<u64> {
    let digit =
        |length: u64, byte: &u8| length.checked_mul(10)?.checked_add(u64::from(byte.checked_sub(b'0').filter(|digit| *digit < 10)?));
    if value.is_empty() { None } else { value.iter().try_fold(0, digit) }
}

#[cfg(test)]
mod tests;
