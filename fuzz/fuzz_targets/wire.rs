//! Frames from a worker: whatever comes, and however it is cut, it is frames or an error, and what is read is what was written.

#![no_main]

use bytes::{BufMut as _, BytesMut};
use flash_wire::{Decoder, Error, Frame, HEADER, Kind, decode_answer, decode_chunk, decode_output, decode_yield, encode};
use libfuzzer_sys::fuzz_target;

fn frames(bytes: &[u8], piece: usize) -> (Vec<Frame>, Option<Error>) {
    let mut decoder = Decoder::default();
    let mut frames = Vec::new();
    for piece in bytes.chunks(piece) {
        decoder.buffer().put(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

fuzz_target!(|data: &[u8]| {
    let [piece, bytes @ ..] = data else { return };
    let (whole, error) = frames(bytes, bytes.len().max(1));
    let (cut, other) = frames(bytes, usize::from(*piece).max(1));
    assert_eq!(format!("{whole:?} {error:?}"), format!("{cut:?} {other:?}"));

    let mut written = BytesMut::new();
    for frame in &whole {
        encode(&mut written, frame.kind, frame.request, &frame.payload);
    }
    assert_eq!(written, bytes[..written.len()]);
    if error.is_none() {
        assert!(bytes.len() - written.len() < HEADER + flash_wire::MAX_PAYLOAD, "what is left is less than a frame");
    }

    for frame in whole {
        // Either a payload means something, or it is an error.
        match frame.kind {
            Kind::Answer => drop(decode_answer(frame)),
            Kind::Chunk => drop(decode_chunk(frame)),
            Kind::Output => drop(decode_output(frame)),
            Kind::Yield => drop(decode_yield(frame)),
            _ => {}
        }
    }
});
