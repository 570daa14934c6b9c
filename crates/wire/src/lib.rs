//! Frames between the host and a worker: how they look as bytes, and nothing else.
//!
//! `flash-workers` writes and reads them on the host's side; `runpod_flash._worker.frames` is the same page in Python, and
//! `docs/wire.md` draws it. This crate knows bytes only: no socket, no clock, no JSON, no idea of what a route or a function is.
//!
//! ```text
//!  0        4      5          9
//!  ├────────┼──────┼──────────┼───────────────────┐
//!  │ length │ kind │ request  │ payload           │   little-endian; `length` counts the payload alone
//!  └────────┴──────┴──────────┴───────────────────┘
//! ```

mod frame;
mod message;

pub use frame::{Decoder, Error, Frame, HEADER, Kind, MAX_PAYLOAD, VERSION, encode};
pub use message::{
    AnswerHead, CHUNK, Content, DROPPED, MORE, Part, PartValue, RequestHead, YieldKind, Yielded, decode_answer, decode_chunk,
    decode_output, decode_yield, encode_call, encode_chunk, encode_form, encode_request,
};
