//! One frame: its header, its kinds, and a decoder that is fed bytes as they come.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Version of the protocol, the first byte of HELLO. The host refuses a zygote, and a script, of another.
pub const VERSION: u8 = 1;

/// Bytes of a frame before its payload.
pub const HEADER: usize = 9;

/// The longest payload that is accepted, in bytes. Larger bodies travel in chunks, so that one of them never keeps the small ones
/// behind it waiting, and a decoder never buffers more than this.
pub const MAX_PAYLOAD: usize = 1 << 20;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// What a frame says. The host sends 1 to 15, workers and zygotes send 16 and up; CHUNK goes both ways.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Kind { $($(#[$doc])* $name = $code,)* }

        impl Kind {
            /// Every kind, for tests and tables.
            pub const ALL: &[Kind] = &[$(Kind::$name,)*];

            fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Kind::$name),)* _ => None }
            }
        }
    };
}

kinds! {
    /// A request to a route: `u16 route · u8 flags · u32 head length · head · body`.
    Request = 2,
    /// A live call: `u8 flags · body`; the worker's SDK alone knows the body.
    Call = 3,
    /// More of a body: `u8 flags · bytes`.
    Chunk = 4,
    /// The caller's circumstances for live calls (JSON), before the first CALL.
    Context = 5,
    /// Stop this request: nobody waits for it any more.
    Cancel = 6,
    /// Finish what has begun, then end.
    Drain = 7,
    /// To a zygote: fork; the new process's descriptors come along as ancillary data.
    Fork = 8,
    /// To a worker: say PONG when you come to it.
    Ping = 9,

    /// First frame of a base zygote: `u8 version`, then JSON about the interpreter.
    Hello = 16,
    /// The modules are imported, the routes stand (JSON).
    Ready = 17,
    /// Answer to a request or call: `u16 status · u8 flags · u32 head length · head · body`.
    Answer = 18,
    /// Text that a request printed: `u8 stream · text`.
    Output = 19,
    /// The modules cannot be imported or the routes not be built (JSON).
    Failed = 20,
    /// A zygote forked (`u32 pid`); the process's pidfd comes along as ancillary data.
    Forked = 21,
    /// A process that the zygote forked has ended: `u32 pid · i32 wait status`.
    Exited = 22,
    /// A worker is about to import a file of the project that it had not: its path, or nothing where that cannot be said.
    Imported = 23,
    /// A worker's loop has come to PING.
    Pong = 24,
    /// Something that a request gives before its answer: `u8 flags · bytes`.
    Yield = 25,
}

/// A whole frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it says.
    pub kind: Kind,
    /// The request it belongs to; 0 where it belongs to none.
    pub request: u32,
    /// The rest, whose layout the kind decides.
    pub payload: Bytes,
}

/// Bytes that are not a frame. The connection they came from is of no further use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The header announces more than [`MAX_PAYLOAD`].
    #[error("a frame of {length} bytes is longer than the {MAX_PAYLOAD} that the protocol allows")]
    TooLong {
        /// What the header says.
        length: usize,
    },
    /// A kind that this version does not have.
    #[error("{code} is no kind of frame")]
    UnknownKind {
        /// What the header says.
        code: u8,
    },
    /// The payload is shorter than its kind demands, or its parts do not add up.
    #[error("the payload of a {kind:?} frame is malformed")]
    Malformed {
        /// The kind of the frame.
        kind: Kind,
    },
}

/// Appends the header of a frame whose payload of `length` bytes the caller appends next.
pub(crate) fn header(out: &mut BytesMut, kind: Kind, request: u32, length: usize) {
    debug_assert!(length <= MAX_PAYLOAD, "the sender cuts bodies into chunks");
    out.reserve(HEADER + length);
    out.put_u32_le(length as u32);
    out.put_u8(kind as u8);
    out.put_u32_le(request);
}

/// Appends one whole frame to `out`.
pub fn encode(out: &mut BytesMut, kind: Kind, request: u32, payload: &[u8]) {
    header(out, kind, request, payload.len());
    out.put_slice(payload);
}

/// Turns bytes, in pieces of any size, into frames.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    /// The place to read further bytes into.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next whole frame; `None` until more bytes have come. The payload shares the buffer's memory.
    ///
    /// # Errors
    /// As [`Error`] says. The decoder stays at the bad frame: every later call fails too.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Error> {
        if self.buffer.len() < HEADER {
            return Ok(None);
        }
        let length = u32::from_le_bytes([self.buffer[0], self.buffer[1], self.buffer[2], self.buffer[3]]) as usize;
        if length > MAX_PAYLOAD {
            return Err(Error::TooLong { length });
        }
        let code = self.buffer[4];
        let kind = Kind::from_code(code).ok_or(Error::UnknownKind { code })?;
        if self.buffer.len() < HEADER + length {
            self.buffer.reserve(HEADER + length - self.buffer.len());
            return Ok(None);
        }
        let request = u32::from_le_bytes([self.buffer[5], self.buffer[6], self.buffer[7], self.buffer[8]]);
        let mut whole = self.buffer.split_to(HEADER + length);
        whole.advance(HEADER);
        Ok(Some(Frame { kind, request, payload: whole.freeze() }))
    }
}
