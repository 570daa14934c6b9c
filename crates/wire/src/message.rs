//! The payloads of the frames that carry requests and answers.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::frame::{Error, Frame, Kind, header};

/// Status of the ANSWER to a request that was not begun, and is not going to be. Its head is empty.
pub const DROPPED: u16 = 499;
/// Flag: the body goes on in CHUNK frames; the last of them does not carry it.
pub const MORE: u8 = 1;

/// Flag of YIELD: it is a report of progress, and no part of a generator's output.
const PROGRESS: u8 = 2;

/// Bytes of a body that travel in one frame. Half of what a socket buffers, so that small frames get in between.
pub const CHUNK: usize = 256 * 1024;

/// What a request's body is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// Bytes, of which the caller does not say what they are.
    #[default]
    Untyped,
    /// Bytes with this `content-type`, as it came: callers send what they like.
    Typed(Bytes),
    /// The parts of a form, as [`encode_form`] writes them.
    Form,
}

/// What a worker must know of a request beside its route and body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHead {
    /// Percent-decoded values of the route's parameters, in the pattern's order.
    pub path: Vec<String>,
    /// The raw query string, without the question mark.
    pub query: String,
    /// What the body is.
    pub content: Content,
}

impl RequestHead {
    /// An absent head means: no path values, no query, `content-type: application/json`. Most requests are like that.
    fn is_plain(&self) -> bool {
        let is_json = matches!(&self.content, Content::Typed(content_type) if **content_type == *b"application/json");
        is_json && self.path.is_empty() && self.query.is_empty()
    }

    /// `u8 count · count × (u32 length · value) · u32 length · query · u8 content · content type`, or nothing.
    fn encode(&self) -> BytesMut {
        let mut out = BytesMut::new();
        if self.is_plain() {
            return out;
        }
        out.put_u8(u8::try_from(self.path.len()).expect("a path pattern has at most 255 parameters"));
        for value in self.path.iter().chain(std::iter::once(&self.query)) {
            out.put_u32_le(value.len() as u32);
            out.put_slice(value.as_bytes());
        }
        match &self.content {
            Content::Untyped => out.put_u8(0),
            Content::Typed(content_type) => {
                out.put_u8(1);
                out.put_slice(content_type);
            }
            Content::Form => out.put_u8(2),
        }
        out
    }
}

/// One part of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What the form calls it; several parts may have one name.
    pub name: String,
    /// What it holds.
    pub value: PartValue,
}

/// What a part of a form holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartValue {
    /// A field's text.
    Text(String),
    /// A file.
    File {
        /// What its sender calls it; empty where it has no name.
        filename: String,
        /// What its sender says it is; empty where it says nothing.
        content_type: Bytes,
        /// All of it.
        content: Bytes,
    },
}

/// The body of a request whose content is [`Content::Form`]:
/// `u8 kind · u32 length × 4 · name · filename · content type · content`, for each part.
pub fn encode_form(parts: &[Part]) -> Bytes {
    fn split(part: &Part) -> (u8, [&[u8]; 4]) {
        match &part.value {
            PartValue::Text(text) => (0, [part.name.as_bytes(), b"", b"", text.as_bytes()]),
            PartValue::File { filename, content_type, content } => (1, [part.name.as_bytes(), filename.as_bytes(), content_type, content]),
        }
    }
    let length = parts.iter().map(|part| PART_HEAD + split(part).1.iter().map(|piece| piece.len()).sum::<usize>()).sum();
    let mut out = BytesMut::with_capacity(length);
    for part in parts {
        let (kind, pieces) = split(part);
        out.put_u8(kind);
        for piece in pieces {
            out.put_u32_le(piece.len() as u32);
        }
        for piece in pieces {
            out.put_slice(piece);
        }
    }
    out.freeze()
}

/// Bytes of a part before its name.
const PART_HEAD: usize = 1 + 4 * 4;

/// Appends a REQUEST frame with as much of `body` as one frame carries, and returns what is left for CHUNK frames.
pub fn encode_request(out: &mut BytesMut, request: u32, route: u16, head: &RequestHead, body: &Bytes) -> Bytes {
    let head = head.encode();
    let (first, rest) = cut(body);
    header(out, Kind::Request, request, 7 + head.len() + first.len());
    out.put_u16_le(route);
    out.put_u8(if rest.is_empty() { 0 } else { MORE });
    out.put_u32_le(head.len() as u32);
    out.put_slice(&head);
    out.put_slice(first);
    rest
}

/// Appends a CALL frame with as much of `body` as one frame carries, and returns what is left for CHUNK frames.
pub fn encode_call(out: &mut BytesMut, request: u32, body: &Bytes) -> Bytes {
    first_or_next(out, Kind::Call, request, body)
}

/// Appends one CHUNK frame, and returns what is left for further ones.
pub fn encode_chunk(out: &mut BytesMut, request: u32, body: &Bytes) -> Bytes {
    first_or_next(out, Kind::Chunk, request, body)
}

fn first_or_next(out: &mut BytesMut, kind: Kind, request: u32, body: &Bytes) -> Bytes {
    let (first, rest) = cut(body);
    header(out, kind, request, 1 + first.len());
    out.put_u8(if rest.is_empty() { 0 } else { MORE });
    out.put_slice(first);
    rest
}

fn cut(body: &Bytes) -> (&[u8], Bytes) {
    if body.len() <= CHUNK { (body, Bytes::new()) } else { (&body[..CHUNK], body.slice(CHUNK..)) }
}

/// The head of an ANSWER frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerHead {
    /// Status of the response; of a call, the kind of its last record.
    pub status: u16,
    /// Whether the body goes on in CHUNK frames.
    pub more: bool,
    /// Response headers, as the worker wrote them (JSON); empty for a plain JSON answer.
    pub headers: Bytes,
    /// The body, or its beginning.
    pub body: Bytes,
}

/// Reads the payload of an ANSWER frame.
///
/// # Errors
/// [`Error::Malformed`] when its parts do not add up.
pub fn decode_answer(frame: Frame) -> Result<AnswerHead, Error> {
    let malformed = Error::Malformed { kind: frame.kind };
    let mut payload = frame.payload;
    if payload.len() < 7 {
        return Err(malformed);
    }
    let status = payload.get_u16_le();
    let more = payload.get_u8() & MORE != 0;
    let head = payload.get_u32_le() as usize;
    if payload.len() < head {
        return Err(malformed);
    }
    let headers = payload.split_to(head);
    Ok(AnswerHead { status, more, headers, body: payload })
}

/// Reads the payload of a CHUNK frame: whether more follow, and the bytes.
///
/// # Errors
/// [`Error::Malformed`] when it is empty.
pub fn decode_chunk(frame: Frame) -> Result<(bool, Bytes), Error> {
    let (flags, bytes) = one_byte_first(frame)?;
    Ok((flags & MORE != 0, bytes))
}

/// The payload of a YIELD frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Yielded {
    /// What it is a piece of.
    pub kind: YieldKind,
    /// Whether it goes on in the request's next YIELD frame.
    pub more: bool,
    /// It, or a piece of it.
    pub bytes: Bytes,
}

/// What a request gives before its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum YieldKind {
    /// A part of a generator's output.
    Part,
    /// A report of progress.
    Progress,
}

/// Reads the payload of a YIELD frame.
///
/// # Errors
/// [`Error::Malformed`] when it is empty, or has a flag that there is not.
pub fn decode_yield(frame: Frame) -> Result<Yielded, Error> {
    let malformed = Error::Malformed { kind: frame.kind };
    let (flags, bytes) = one_byte_first(frame)?;
    if flags & !(MORE | PROGRESS) != 0 {
        return Err(malformed);
    }
    let kind = if flags & PROGRESS == 0 { YieldKind::Part } else { YieldKind::Progress };
    Ok(Yielded { kind, more: flags & MORE != 0, bytes })
}

/// Reads the payload of an OUTPUT frame: the stream (1 or 2) and the text.
///
/// # Errors
/// [`Error::Malformed`] when it is empty.
pub fn decode_output(frame: Frame) -> Result<(u8, Bytes), Error> {
    one_byte_first(frame)
}

fn one_byte_first(frame: Frame) -> Result<(u8, Bytes), Error> {
    let mut payload = frame.payload;
    if payload.is_empty() {
        return Err(Error::Malformed { kind: frame.kind });
    }
    let first = payload.get_u8();
    Ok((first, payload))
}
