//! The connection to one worker: frames out in batches, frames in, what it prints, its end.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use flash_wire::{self as wire, Decoder, Frame, Kind};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::{Notify, watch};
use tokio::time::MissedTickBehavior;

use crate::dispatch::{Answer, WorkerId};
use crate::error::Error;
use crate::flow::Flow;
use crate::page::{Cells, Page};
use crate::pool::{Inner, Shared};
use crate::printed::Pipes;
use crate::process::Process;
use crate::ready::Ready;
use crate::reply::{Outcome, Reply};
use crate::room::Held;
use crate::watch::Watch;

/// How often a busy worker is looked at.
const TICK: Duration = Duration::from_millis(10);
/// How long a worker may take to end after DRAIN.
const END: Duration = Duration::from_secs(2);
/// About as good as never; more would not fit into a moment in time.
pub(crate) const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// How often what it has printed is looked for at its end: far more than pipes hold.
const LAST_WORDS: usize = 64;
/// Bytes read from a worker at once: so many at first, and while more comes at a time, up to so many. A small answer keeps the whole buffer
/// that it came in until its caller has it.
const READ: (usize, usize) = (16 * 1024, 256 * 1024);
/// A buffer for requests that grew larger than this is not kept.
const KEPT: usize = 64 * 1024;

/// One worker's process and connection.
pub(crate) struct Link {
    stream: UnixStream,
    page: Page,
    printed: Pipes,
    decoder: Decoder,
    room: Room,
    flow: Arc<Flow>,
    process: Option<Process>,
    /// While there is no room for what it prints, nothing more is read.
    held: Option<Held>,
}

impl Link {
    /// Our ends, and the descriptors for the worker.
    pub(crate) fn new() -> Result<(Self, Vec<OwnedFd>), Error> {
        let (ours, theirs) = StdUnixStream::pair().map_err(Error::System)?;
        ours.set_nonblocking(true).map_err(Error::System)?;
        let page = Page::new().map_err(Error::System)?;
        let (printed, [out, err]) = Pipes::new()?;
        let shared = page.descriptor().try_clone_to_owned().map_err(Error::System)?;
        let stream = UnixStream::from_std(ours).map_err(Error::System)?;
        let (decoder, room, flow) = (Decoder::default(), Room::default(), Arc::default());
        let link = Self { stream, page, printed, decoder, room, flow, process: None, held: None };
        Ok((link, vec![theirs.into(), out, err, shared]))
    }

    pub(crate) fn page(&self) -> &Page {
        &self.page
    }

    /// Waits for READY, and until the worker has answered a probe; returns what READY says.
    pub(crate) async fn until_ready(mut self, inner: &Inner, mut process: Process) -> Result<(Self, Ready), Error> {
        let limit = inner.settings.start_timeout;
        let first = tokio::time::timeout(limit, self.first(inner, &mut process)).await;
        let frame = first.map_err(|_| Error::NotReady { limit })??;
        let ready = match frame.kind {
            Kind::Ready => {
                inner.imported().add_ready(&frame.payload).ok_or(Error::Protocol)?;
                serde_json::from_slice(&frame.payload).map_err(|_| Error::Protocol)?
            }
            Kind::Failed => return Err(Error::CannotLoad(serde_json::from_slice(&frame.payload).map_err(|_| Error::Protocol)?)),
            _ => return Err(Error::Protocol),
        };
        let limit = inner.settings.workers.probe_timeout;
        let probed = tokio::time::timeout(limit, self.probe(inner, &mut process)).await;
        probed.map_err(|_| Error::Unanswered { limit })??;
        self.process = Some(process);
        Ok((self, ready))
    }

    /// Has the worker's loop go round once.
    async fn probe(&mut self, inner: &Inner, process: &mut Process) -> Result<(), Error> {
        let mut ping = BytesMut::new();
        wire::encode(&mut ping, Kind::Ping, 0, &[]);
        // An error means that it is gone; the read side says so.
        let _ = self.stream.write_all(&ping).await;
        match self.first(inner, process).await?.kind {
            Kind::Pong => Ok(()),
            _ => Err(Error::Protocol),
        }
    }

    /// The first frame that is not of a thread that the worker's modules started.
    async fn first(&mut self, inner: &Inner, process: &mut Process) -> Result<Frame, Error> {
        loop {
            if let Some(frame) = self.decoder.next_frame().map_err(|_| Error::Protocol)? {
                match frame.kind {
                    Kind::Imported => inner.imported().add(frame.payload),
                    Kind::Output => {
                        let (stream, text) = wire::decode_output(frame).map_err(|_| Error::Protocol)?;
                        inner.print(None, stream, &String::from_utf8_lossy(&text));
                    }
                    _ => return Ok(frame),
                }
                continue;
            }
            tokio::select! {
                more = read(&mut self.stream, &mut self.decoder, &mut self.room) => {
                    if !more {
                        return Err(Error::EndedEarly { status: process.status().await });
                    }
                }
                () = self.printed.readable() => { self.printed.take(|stream, text| inner.print(None, stream, text)); }
            }
        }
    }

    /// The process's number.
    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().expect("it is ready, so it was forked").pid
    }

    /// Carries requests and answers until the worker ends, or is told to. Returns how it ended, and what its page said then.
    pub(crate) async fn carry(
        mut self,
        inner: &Inner,
        id: WorkerId,
        notify: &Notify,
        kill: &Notify,
        mut stopped: watch::Receiver<bool>,
    ) -> (Option<ExitStatus>, Option<Cells>) {
        let mut process = self.process.take().expect("it is ready, so it was forked");
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut watch = Watch::default();
        let mut out = BytesMut::new();
        loop {
            let (busy, dropped) = {
                let mut shared = inner.lock();
                if out.is_empty() {
                    shared.dispatcher.take_output(id, &mut out);
                }
                (shared.dispatcher.pending() > 0 || watch.has_given_up(), shared.dispatcher.take_dropped(id))
            };
            if !dropped.is_empty()
                && let Err(error) = self.page.revoke(&dropped)
            {
                tracing::error!(endpoint = inner.name, %error, "a worker's page cannot be written");
            }
            while !out.is_empty() {
                match self.stream.try_write(&out) {
                    Ok(count) => out.advance(count),
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                    Err(_) => out.clear(), // it is gone; the read side says so
                }
                if out.is_empty() {
                    if out.capacity() > KEPT {
                        out = BytesMut::new();
                    }
                    inner.lock().dispatcher.take_output(id, &mut out);
                }
            }
            let (mut incoming, outgoing) = self.stream.split();
            let held = self.held.is_some();
            tokio::select! {
                biased;
                now = tick.tick(), if busy => watch.look(inner, id, &self.page, &process, held, now.into_std()),
                more = read(&mut incoming, &mut self.decoder, &mut self.room), if !held && !self.flow.is_full() => {
                    // What the worker wrote before its answers goes to the caller before them.
                    self.print(inner, id);
                    if self.take(inner, id).is_err() {
                        tracing::error!(endpoint = inner.name, pid = process.pid, "a worker does not keep to the wire protocol");
                        break;
                    }
                    if !more { break }
                }
                () = notify.notified() => {}
                () = kill.notified() => process.kill(),
                () = self.flow.room(), if self.flow.is_full() => {}
                _ = outgoing.writable(), if !out.is_empty() => {}
                () = self.printed.readable(), if !held => { self.print(inner, id); }
                () = Held::released(self.held.as_ref()), if held => self.held = None,
                () = process.ended() => {
                    while self.stream.try_read_buf(self.room.make(&mut self.decoder)).is_ok_and(|count| count > 0) {}
                    let _ = self.take(inner, id); // it is dead: whatever it wrote last, it is replaced
                    break;
                }
                () = closed(&mut stopped) => {
                    self.end(inner, id, &process).await;
                    break;
                }
            }
        }
        // What a child of it goes on writing is not waited for.
        for _ in 0..LAST_WORDS {
            if !self.print(inner, id) {
                break;
            }
        }
        self.printed.finish(|stream, text| inner.print_unclaimed(&mut inner.lock(), id, stream, text));
        if !*stopped.borrow() {
            tracing::debug!(endpoint = inner.name, pid = process.pid, "a worker has ended");
        }
        // Its page is final only once it has ended.
        process.kill();
        let status = process.status().await;
        (status, self.page.read().ok())
    }

    /// Handles every whole frame.
    fn take(&mut self, inner: &Inner, id: WorkerId) -> Result<(), Error> {
        let mut done = Vec::new();
        let taken = {
            let mut shared = inner.lock();
            let taken = self.take_frames(inner, id, &mut shared, &mut done);
            if taken.is_ok() {
                // Slots are free again, also of requests that nobody waited for any more.
                let told = shared.dispatcher.pump();
                shared.wake(&told);
                shared.dispatcher.note_pace(id, Instant::now());
            }
            taken
        };
        // What came before a breach was good.
        for (reply, answer) in done {
            reply.give(Outcome::Answered(answer));
        }
        taken
    }

    fn take_frames(&mut self, inner: &Inner, id: WorkerId, shared: &mut Shared, done: &mut Vec<(Reply, Answer)>) -> Result<(), Error> {
        while let Some(frame) = self.decoder.next_frame().map_err(|_| Error::Protocol)? {
            let request = frame.request;
            match frame.kind {
                Kind::Answer => {
                    let head = wire::decode_answer(frame).map_err(|_| Error::Protocol)?;
                    done.extend(shared.dispatcher.answered(id, request, head).map_err(|_| Error::Protocol)?);
                }
                Kind::Chunk => {
                    let (more, piece) = wire::decode_chunk(frame).map_err(|_| Error::Protocol)?;
                    done.extend(shared.dispatcher.continued(id, request, more, &piece).map_err(|_| Error::Protocol)?);
                }
                Kind::Output => {
                    let (stream, text) = wire::decode_output(frame).map_err(|_| Error::Protocol)?;
                    match shared.dispatcher.reply(id, request) {
                        Some(Reply::Call(hearer)) => {
                            hearer.print(stream, text);
                            self.held = self.held.take().or_else(|| Held::by_call(&hearer.backlog));
                        }
                        _ => match shared.dispatcher.tag(id, request) {
                            Some(tag) => {
                                inner.print(Some(tag), stream, &String::from_utf8_lossy(&text));
                                self.held = self.held.take().or_else(|| Held::by_log(inner.base.room()));
                            }
                            None => {
                                inner.print_unclaimed(shared, id, stream, &String::from_utf8_lossy(&text));
                                self.hold_unclaimed(inner, id, shared);
                            }
                        },
                    }
                }
                Kind::Yield => {
                    let yielded = wire::decode_yield(frame).map_err(|_| Error::Protocol)?;
                    if let Some(reply) = shared.dispatcher.yielded(id, request).map_err(|_| Error::Protocol)? {
                        reply.yielded(yielded, &self.flow)?;
                    }
                }
                Kind::Imported => inner.imported().add(frame.payload),
                Kind::Pong => shared.dispatcher.heard(id).map_err(|_| Error::Protocol)?,
                _ => return Err(Error::Protocol),
            }
        }
        Ok(())
    }

    /// Passes on what the process wrote to its descriptors; false when it wrote nothing.
    fn print(&mut self, inner: &Inner, id: WorkerId) -> bool {
        let some = self.printed.take(|stream, text| inner.print_unclaimed(&mut inner.lock(), id, stream, text));
        if some {
            self.hold_unclaimed(inner, id, &mut inner.lock());
        }
        some
    }

    /// Has the worker wait where what no request printed has no room.
    fn hold_unclaimed(&mut self, inner: &Inner, id: WorkerId, shared: &mut Shared) {
        if self.held.is_none() {
            self.held = match shared.dispatcher.oldest(id) {
                Some(Reply::Call(hearer)) => Held::by_call(&hearer.backlog),
                Some(Reply::Request { .. } | Reply::Job { .. }) | None => Held::by_log(inner.base.room()),
            };
        }
    }

    /// Lets the worker end by itself: its `atexit` functions run. While the pool goes on, what a function has left running has as long as a
    /// request.
    async fn end(&mut self, inner: &Inner, id: WorkerId, process: &Process) {
        inner.lock().dispatcher.tell(id, Kind::Drain, &[]);
        let mut closing = inner.closing();
        let at_most = async {
            let patience = inner.settings.timeout.clamp(END, FOREVER);
            let _ = tokio::time::timeout(patience, closed(&mut closing)).await;
            if *closing.borrow() {
                tokio::time::sleep(END).await;
            }
        };
        let ended = async {
            loop {
                let mut out = BytesMut::new();
                inner.lock().dispatcher.take_output(id, &mut out);
                while !out.is_empty() && self.stream.writable().await.is_ok() {
                    match self.stream.try_write(&out) {
                        Ok(count) => out.advance(count),
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                        Err(_) => break,
                    }
                }
                tokio::select! {
                    () = process.ended() => return,
                    more = read(&mut self.stream, &mut self.decoder, &mut self.room) => {
                        if !more || self.take(inner, id).is_err() {
                            return process.ended().await;
                        }
                    }
                }
            }
        };
        tokio::select! {
            () = ended => {}
            () = at_most => {
                let what = "did not end in time, and was killed: what its functions or `atexit` functions have left running goes on";
                inner.print(None, 2, &format!("flash: a worker of {} {what}\n", inner.name));
            }
        }
    }
}

/// Returns once the pool closes.
pub(crate) async fn closed(closing: &mut watch::Receiver<bool>) {
    // An error would mean that the pool is gone, which is closed as well.
    let _ = closing.wait_for(|closing| *closing).await;
}

/// Room for what is read next: as much as has come at a time.
struct Room(usize);

impl Default for Room {
    fn default() -> Self {
        Self(READ.0)
    }
}

impl Room {
    /// The place to read into. A buffer is read into until little of it is left: a new one is an allocation.
    fn make<'decoder>(&self, decoder: &'decoder mut Decoder) -> &'decoder mut BytesMut {
        let buffer = decoder.buffer();
        if buffer.capacity() - buffer.len() < self.0 / 4 {
            buffer.reserve(self.0);
        }
        buffer
    }

    fn adapt(&mut self, filled: bool, count: usize) {
        if filled {
            self.0 = (self.0 * 2).min(READ.1);
        } else if count < self.0 / 16 {
            self.0 = (self.0 / 2).max(READ.0);
        }
    }
}

/// Waits for more from the worker; false at its end. Unlike `try_read_buf` it knows, when less came than there is room for, that no more is
/// there, and does not ask the system once more.
async fn read(stream: &mut (impl AsyncRead + Unpin), decoder: &mut Decoder, room: &mut Room) -> bool {
    let buffer = room.make(decoder);
    let Ok(count @ 1..) = stream.read_buf(buffer).await else { return false };
    room.adapt(buffer.len() == buffer.capacity(), count);
    true
}
