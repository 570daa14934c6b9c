//! A caller's socket: what hyper reads goes through here, and so does what it writes.
//!
//! - It follows the bounds of HTTP/1.1 messages ([`Framing`]) and notes in the connection's place what is waited for.
//! - hyper takes the end of what a caller sends for the caller's departure. A caller that ends its side after a whole request and
//!   waits for the answer would get none, so hyper hears of that end only when all is answered. Whether the caller is still there is
//!   found out in another way ([`Departure`]). Where requests have come behind the one that is answered, hyper reads nothing, and would
//!   hear of no end: then it is looked for here ([`Ending`]).
//! - hyper's own refusals have no body. They are not written: ours comes in their place.
//! - Its last words arrive. Closing a socket that holds unread bytes resets the connection, and the reset may overtake what was written
//!   last: the refusal of a request that is too long to be read would be lost. So the end takes its time: our side is shut, and what
//!   still comes is read and dropped.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::StatusCode;
use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, Interest, ReadBuf};
use tokio::time::Sleep;

use crate::framing::{Doubt, Framing};
use crate::places::{Phase, Place};

/// Whoever goes on sending for longer than this gets the reset.
const LINGER: Duration = Duration::from_secs(2);
/// Bytes of the preface of HTTP/2, and of the header of the frame that must follow.
const OPENING: usize = 24 + 9;
/// An answer that a caller of HTTP/1.1 expects at any time, and makes nothing of.
const INTERIM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// One connection's.
pub(crate) struct Socket<IO> {
    io: IO,
    place: Arc<Place>,
    /// What was read before hyper was there.
    first: Bytes,
    protocol: Protocol,
    /// The last read found something, so there may be more.
    unread: bool,
    /// Something was written whose rest is not.
    unflushed: bool,
    held: Option<Held>,
    behind: Behind,
    /// The status of hyper's own refusal.
    refused: Option<StatusCode>,
    /// hyper was told to wait for what is held.
    holding: bool,
    end: Option<Pin<Box<Sleep>>>,
}

enum Protocol {
    Http1(Framing),
    /// With the bytes that must come first, as far as they have not.
    Http2 {
        opening: usize,
    },
}

/// What hyper hears of once the requests before it are answered.
enum Held {
    /// The caller's request is not to be read any further.
    Doubt(Doubt),
    /// The caller sends no more.
    End(Caller),
}

/// Whether a caller sends no more whose next requests hyper holds, so that it does not read on.
enum Behind {
    /// That was not of interest yet.
    Unknown,
    /// It sends still, as far as is known. Without a descriptor to spare for it its end goes unnoticed.
    Watched(Option<Ending>),
    End(Caller),
}

/// What is known of a caller that sends no more, and has not got all answers.
enum Caller {
    /// Nothing: its answer may come at once.
    Silent,
    /// It may be gone any time. Without a descriptor to spare for it that goes unnoticed.
    Watched(Option<Departure>),
}

impl<IO: AsyncRead + AsyncWrite + AsFd + Unpin> Socket<IO> {
    /// A connection of HTTP/1.1, of which these bytes have been read.
    pub(crate) fn http1(io: IO, place: Arc<Place>, first: Bytes) -> Self {
        Self::new(io, place, first, Protocol::Http1(Framing::default()))
    }

    /// A connection of HTTP/2, of which these bytes have been read.
    pub(crate) fn http2(io: IO, place: Arc<Place>, first: Bytes) -> Self {
        place.enter(Phase::Head);
        Self::new(io, place, first, Protocol::Http2 { opening: OPENING })
    }

    fn new(io: IO, place: Arc<Place>, first: Bytes, protocol: Protocol) -> Self {
        Self {
            io,
            place,
            first,
            protocol,
            unread: false,
            unflushed: false,
            held: None,
            behind: Behind::Unknown,
            refused: None,
            holding: false,
            end: None,
        }
    }

    /// Why no further head was read. A body that was not read any further is the affair of who was to answer.
    pub(crate) fn doubt(&self) -> Option<Doubt> {
        match self.held {
            Some(Held::Doubt(doubt)) if !self.in_body() => Some(doubt),
            Some(Held::Doubt(_) | Held::End(_)) | None => None,
        }
    }

    fn in_body(&self) -> bool {
        matches!(&self.protocol, Protocol::Http1(framing) if framing.in_body())
    }

    /// How many fields a head of this connection had at most, as far as it has come.
    pub(crate) fn most_fields(&self) -> usize {
        match &self.protocol {
            Protocol::Http1(framing) => framing.most_fields(),
            Protocol::Http2 { .. } => 0,
        }
    }

    /// What hyper has refused a request with.
    pub(crate) fn refused(&self) -> Option<StatusCode> {
        self.refused
    }

    /// Ends it with an answer of ours. Where an answer of hyper's is half written the caller could make nothing of it: then without.
    pub(crate) async fn end(mut self, answer: &[u8]) {
        self.refused = None;
        if !self.unflushed && self.place.is_waiting() {
            // It is short, and goes into the system's buffer; whoever has filled that reads nothing.
            let _ = tokio::time::timeout(LINGER, self.io.write_all(answer)).await;
        }
        let _ = self.shutdown().await; // it ends in any case
    }

    fn poll_held(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        let due = self.in_body() || self.place.is_waiting();
        let polled = match &mut self.held {
            Some(Held::Doubt(doubt)) if due => Poll::Ready(Err(Error::new(ErrorKind::InvalidData, *doubt))),
            // In the middle of a stream nobody can be asked: who sends no more has left.
            Some(Held::End(_)) if due || self.place.streams() => Poll::Ready(Ok(())),
            Some(Held::End(Caller::Silent)) => {
                self.held = match self.ask_caller(context) {
                    Ok(caller) => Some(Held::End(caller)),
                    Err(error) => return Poll::Ready(Err(error)),
                };
                return self.poll_held(context);
            }
            Some(Held::End(Caller::Watched(departure))) => gone(departure, context).map(Err),
            Some(Held::Doubt(_)) | None => Poll::Pending,
        };
        self.holding = polled.is_pending();
        polled
    }

    /// Nothing tells a caller that waits from one that is gone, but what its system does with what it is sent.
    fn ask_caller(&mut self, context: &mut Context<'_>) -> Result<Caller> {
        if let Protocol::Http1(framing) = &self.protocol
            && framing.knows_interim_answers()
            && self.place.awaits_answer()
            && !self.unflushed
        {
            match Pin::new(&mut self.io).poll_write(context, INTERIM) {
                Poll::Ready(Ok(count)) if count == INTERIM.len() => {}
                Poll::Pending => {} // it has not read the answers before
                Poll::Ready(_) => return Err(ErrorKind::ConnectionReset.into()),
            }
        }
        Ok(Caller::Watched(Departure::of(&self.io).ok()))
    }

    /// Looks after a caller whose next requests hyper holds. Errs where it has left.
    fn look_behind(&mut self, context: &mut Context<'_>) -> Result<()> {
        let Protocol::Http1(framing) = &self.protocol else { return Ok(()) };
        // Of most requests nothing comes behind: hyper waits for it, and hears of the end.
        if !self.unread || !self.place.awaits_answer() || matches!(self.held, Some(Held::End(_))) {
            return Ok(());
        }
        if framing.in_body() && framing.heads() == self.place.taken() {
            return Ok(()); // it reads on when there is room for more of this body
        }
        loop {
            self.behind = match &mut self.behind {
                Behind::Unknown => Behind::Watched(Ending::of(&self.io).ok()),
                Behind::Watched(Some(ending)) => match ending.poll(context) {
                    Poll::Ready(()) => Behind::End(Caller::Silent),
                    Poll::Pending => return Ok(()),
                },
                Behind::Watched(None) => return Ok(()),
                Behind::End(Caller::Silent) => Behind::End(self.ask_caller(context)?),
                Behind::End(Caller::Watched(departure)) => {
                    return if let Poll::Ready(error) = gone(departure, context) { Err(error) } else { Ok(()) };
                }
            }
        }
    }

    /// Notes what has been read, from this byte of the buffer on.
    fn note(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>, before: usize) -> Poll<Result<()>> {
        let bytes = &buffer.filled()[before..];
        match &mut self.protocol {
            Protocol::Http1(_) if bytes.is_empty() => {
                if !self.place.is_waiting() {
                    self.held = Some(Held::End(Caller::Silent));
                    context.waker().wake_by_ref(); // looked after once its request has begun
                    return Poll::Pending;
                }
            }
            Protocol::Http1(framing) => match framing.take(bytes) {
                Ok(()) if framing.in_head() => self.place.enter(Phase::Head),
                Ok(()) if framing.in_body() => self.place.enter(Phase::Body),
                Ok(()) if framing.has_begun() => self.place.enter(Phase::Idle),
                Ok(()) => {} // empty lines are no request: its first one is waited for still
                Err((passed, doubt)) => {
                    self.held = Some(Held::Doubt(doubt));
                    buffer.set_filled(before + passed);
                    if passed == 0 {
                        return self.poll_held(context);
                    }
                }
            },
            Protocol::Http2 { opening } => {
                if *opening > 0 {
                    *opening = opening.saturating_sub(bytes.len());
                    self.place.enter(if *opening > 0 { Phase::Head } else { Phase::Idle });
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes what hyper writes by itself, between answers: its refusal of a head.
    fn silence(&mut self, bytes: &[u8]) -> bool {
        if matches!(self.protocol, Protocol::Http1(_)) && self.place.owes_nothing() && self.refused.is_none() {
            self.refused = bytes.get("HTTP/1.1 ".len()..).and_then(|rest| StatusCode::from_bytes(rest.get(..3)?).ok());
        }
        self.refused.is_some()
    }

    fn wrote(&mut self, written: Poll<Result<usize>>) -> Poll<Result<usize>> {
        self.unflushed = true;
        self.place.block(written.is_pending());
        written
    }
}

impl<IO: AsyncRead + AsyncWrite + AsFd + Unpin> AsyncRead for Socket<IO> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        if this.held.is_some() {
            return this.poll_held(context);
        }
        let before = buffer.filled().len();
        if this.first.is_empty() {
            let read = Pin::new(&mut this.io).poll_read(context, buffer);
            this.unread = buffer.filled().len() > before;
            ready!(read)?;
        } else {
            let count = this.first.len().min(buffer.remaining());
            buffer.put_slice(&this.first[..count]);
            this.first.advance(count);
            this.unread = true;
        }
        this.note(context, buffer, before)
    }
}

impl<IO: AsyncRead + AsyncWrite + AsFd + Unpin> AsyncWrite for Socket<IO> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        if self.silence(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<Result<usize>> {
        if self.silence(slices.first().map_or(&[], |slice| slice)) {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        let written = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// hyper calls it when it has written all that it had.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.unflushed = false;
        self.place.settle();
        if self.holding && self.place.is_waiting() {
            self.holding = false;
            context.waker().wake_by_ref(); // it would not look again by itself
        }
        ready!(Pin::new(&mut self.io).poll_flush(context))?;
        Poll::Ready(self.look_behind(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        if self.refused.is_some() {
            return Poll::Ready(Ok(())); // not before it is said why
        }
        if self.end.is_none() {
            ready!(Pin::new(&mut self.io).poll_shutdown(context))?;
        }
        if !self.unread {
            return Poll::Ready(Ok(()));
        }
        // Looked at first: a sender that never pauses meets it too.
        let end = self.end.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        if end.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let mut scratch = [0; 16 * 1024];
        let mut buffer = ReadBuf::new(&mut scratch);
        match ready!(Pin::new(&mut self.io).poll_read(context, &mut buffer)) {
            Ok(()) if !buffer.filled().is_empty() => {
                context.waker().wake_by_ref(); // others in between
                Poll::Pending
            }
            _ => Poll::Ready(Ok(())),
        }
    }
}

/// Tells when a caller sends no more, though what it has sent is not read yet.
struct Ending(AsyncFd<OwnedFd>);

impl Ending {
    fn of(socket: &impl AsFd) -> Result<Self> {
        registered(socket, Interest::READABLE).map(Self)
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let Ok(mut edge) = ready!(self.0.poll_read_ready(context)) else { return Poll::Ready(()) };
            if edge.ready().is_read_closed() {
                return Poll::Ready(());
            }
            edge.clear_ready();
        }
    }
}

/// Tells when a caller that sends no more is gone altogether: its system answers what it is sent with a reset.
///
/// Its own registration, for edges of the other direction: once a socket's reading side has ended, tokio takes it for readable for ever.
struct Departure(AsyncFd<OwnedFd>);

impl Departure {
    fn of(socket: &impl AsFd) -> Result<Self> {
        registered(socket, Interest::WRITABLE).map(Self)
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let Ok(mut edge) = ready!(self.0.poll_write_ready(context)) else { return Poll::Ready(()) };
            if is_reset(edge.get_inner()) {
                return Poll::Ready(());
            }
            edge.clear_ready();
        }
    }
}

/// The socket by a descriptor of its own, for edges that hyper's registration does not tell.
#[expect(deprecated, reason = "an `OwnedFd` keeps its descriptor open, which is what the `unsafe` successor has callers promise")]
fn registered(socket: &impl AsFd, interest: Interest) -> Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(socket.as_fd().try_clone_to_owned()?, interest)
}

fn is_reset(socket: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(socket, PollFlags::empty())]; // errors and hang-ups are always told
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    match rustix::event::poll(&mut polled, Some(&at_once)) {
        Ok(_) => polled[0].revents().intersects(PollFlags::ERR | PollFlags::HUP),
        Err(_) => true,
    }
}

/// The error that says so, once it is known; never without a descriptor to know it by.
fn gone(departure: &mut Option<Departure>, context: &mut Context<'_>) -> Poll<Error> {
    match departure {
        Some(departure) => departure.poll(context).map(|()| ErrorKind::ConnectionReset.into()),
        None => Poll::Pending,
    }
}
