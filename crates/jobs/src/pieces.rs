//! Answers with large outputs: read from their files as fast as callers take them, or shared, so that one who reads slowly keeps no memory
//! of its own.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read as _};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use flash_gateway::MountedBody;
use flash_store::jobs::Large;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, SizeHint};
use tokio::task::JoinHandle;

/// So much is read at a time.
const PIECE: u64 = 256 << 10;

/// An output, with what comes before it and after it.
pub(crate) fn around(large: Large, (head, tail): (Bytes, Bytes)) -> MountedBody {
    let left = large.bytes;
    Pieces { next: Next::Head(head, large.file), left, tail }.boxed_unsync()
}

/// All of these, of which none is copied.
pub(crate) fn list(pieces: VecDeque<Bytes>) -> MountedBody {
    List(pieces).boxed_unsync()
}

struct List(VecDeque<Bytes>);

impl Body for List {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|piece| piece.len() as u64).sum())
    }
}

struct Pieces {
    next: Next,
    /// Of the file.
    left: u64,
    tail: Bytes,
}

enum Next {
    Head(Bytes, File),
    Read(File),
    Reading(JoinHandle<io::Result<(File, Bytes)>>),
    /// All was given, or the file cannot be read.
    Nothing,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            match std::mem::replace(&mut self.next, Next::Nothing) {
                Next::Head(head, file) => {
                    self.next = Next::Read(file);
                    return Poll::Ready(Some(Ok(Frame::data(head))));
                }
                Next::Read(_) if self.left == 0 => {
                    return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.tail)))));
                }
                Next::Read(file) => {
                    let count = self.left.min(PIECE);
                    self.next = Next::Reading(tokio::task::spawn_blocking(move || read(file, count)));
                }
                Next::Reading(mut reading) => {
                    let Poll::Ready(done) = Pin::new(&mut reading).poll(context) else {
                        self.next = Next::Reading(reading);
                        return Poll::Pending;
                    };
                    match done.map_err(io::Error::other).flatten() {
                        Ok((file, piece)) => {
                            self.left -= piece.len() as u64;
                            self.next = Next::Read(file);
                            return Poll::Ready(Some(Ok(Frame::data(piece))));
                        }
                        // What is shorter than it was announced as ends its connection.
                        Err(error) => tracing::warn!(%error, "the output of a job cannot be read to its end"),
                    }
                }
                Next::Nothing => return Poll::Ready(None),
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        let head = if let Next::Head(head, _) = &self.next { head.len() } else { 0 };
        SizeHint::with_exact(head as u64 + self.left + self.tail.len() as u64)
    }
}

fn read(mut file: File, count: u64) -> io::Result<(File, Bytes)> {
    let mut piece = Vec::with_capacity(usize::try_from(count).unwrap_or_default());
    if file.by_ref().take(count).read_to_end(&mut piece)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((file, piece.into()))
}
