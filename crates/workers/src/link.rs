//! The connection to one worker: frames out in batches, frames in, what it prints, its end.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use flash_wire::{self as wire, Decoder, Frame, Kind};
use rustix::process::{Signal, pidfd_send_signal};
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::sync::{Notify, watch};
use tokio::time::MissedTickBehavior;

use crate::base::{Lines, output_pipe};
use crate::dispatch::WorkerId;
use crate::error::Error;
use crate::page::{Cells, Page};
use crate::pool::{Event, Inner, Outcome, Reply};
use crate::zygote::{Forked, ended, watched};

/// How often a busy worker is looked at: whether one `def` holds it up.
const TICK: Duration = Duration::from_millis(10);
/// How often deadlines are looked at.
pub(crate) const SWEEP: Duration = Duration::from_millis(50);
/// How long a worker may take to end after DRAIN.
const END: Duration = Duration::from_secs(2);
/// Bytes read from a worker at once.
const READ: usize = 256 * 1024;

/// One worker's process and connection.
pub(crate) struct Link {
    stream: UnixStream,
    page: Page,
    printed: pipe::Receiver,
    lines: Lines,
    decoder: Decoder,
    process: Option<Process>,
}

struct Process {
    pid: u32,
    pidfd: AsyncFd<OwnedFd>,
}

impl Drop for Process {
    /// No worker outlives its link.
    fn drop(&mut self) {
        kill(self.pidfd.get_ref());
    }
}

fn kill(pidfd: &OwnedFd) {
    // An error means that it has ended already.
    let _ = pidfd_send_signal(pidfd, Signal::KILL);
}

impl Link {
    /// Our ends, and the descriptors for the worker.
    pub(crate) fn new() -> Result<(Self, Vec<OwnedFd>), Error> {
        let (ours, theirs) = StdUnixStream::pair().map_err(Error::System)?;
        ours.set_nonblocking(true).map_err(Error::System)?;
        let page = Page::new().map_err(Error::System)?;
        let (printed, writer) = output_pipe()?;
        let shared = page.descriptor().try_clone_to_owned().map_err(Error::System)?;
        let stream = UnixStream::from_std(ours).map_err(Error::System)?;
        let link = Self { stream, page, printed, lines: Lines::default(), decoder: Decoder::default(), process: None };
        Ok((link, vec![theirs.into(), writer, shared]))
    }

    /// Waits for READY.
    pub(crate) async fn until_ready(mut self, inner: &Inner, forked: Forked) -> Result<Self, Error> {
        let pidfd = watched(forked.pidfd).map_err(Error::System)?;
        self.process = Some(Process { pid: forked.pid, pidfd });
        let first = tokio::time::timeout(inner.settings.start_timeout, async {
            loop {
                if let Some(frame) = self.decoder.next_frame().map_err(|_| Error::Protocol)? {
                    if frame.kind != Kind::Output {
                        return Ok::<Frame, Error>(frame);
                    }
                    // A thread that its modules started.
                    let (stream, text) = wire::decode_output(frame).map_err(|_| Error::Protocol)?;
                    inner.print(None, stream, &String::from_utf8_lossy(&text));
                    continue;
                }
                tokio::select! {
                    readable = self.stream.readable() => {
                        readable.map_err(Error::System)?;
                        match read(&self.stream, &mut self.decoder) {
                            Read::Some => {}
                            Read::Nothing => continue,
                            Read::End => return Err(Error::WorkerGone),
                        }
                    }
                    readable = self.printed.readable() => {
                        readable.map_err(Error::System)?;
                        if !print(&self.printed, &mut self.lines, |text| inner.print(None, 2, text)) {
                            return Err(Error::WorkerGone);
                        }
                    }
                }
            }
        });
        let frame = first.await.map_err(|_| Error::WorkerGone)??;
        match frame.kind {
            Kind::Ready => Ok(self),
            Kind::Failed => Err(Error::CannotLoad(serde_json::from_slice(&frame.payload).map_err(|_| Error::Protocol)?)),
            _ => Err(Error::Protocol),
        }
    }

    /// Carries requests and answers until the worker ends, or is told to. Returns what its page said at the end.
    pub(crate) async fn carry(mut self, inner: &Inner, id: WorkerId, notify: &Notify) -> Option<Cells> {
        let process = self.process.take().expect("it is ready, so it was forked");
        let mut closing = inner.closing();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut watch = Watch::default();
        let mut out = BytesMut::new();
        let mut printing = true;
        loop {
            let busy = {
                let mut shared = inner.lock();
                if out.is_empty() {
                    out = shared.dispatcher.take_output(id);
                }
                shared.dispatcher.pending() > 0
            };
            while !out.is_empty() {
                match self.stream.try_write(&out) {
                    Ok(count) => out.advance(count),
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                    Err(_) => out.clear(), // it is gone; the read side says so
                }
                if out.is_empty() {
                    out = inner.lock().dispatcher.take_output(id);
                }
            }
            tokio::select! {
                biased;
                now = tick.tick(), if busy => watch.look(inner, id, &self.page, &process, now.into_std()),
                readable = self.stream.readable() => {
                    let read = if readable.is_ok() { read(&self.stream, &mut self.decoder) } else { Read::End };
                    if matches!(read, Read::Nothing) { continue }
                    if printing {
                        // What the worker wrote before its answers goes to the caller before them.
                        printing = self.print(inner, id);
                    }
                    if self.take(inner, id).is_err() {
                        tracing::error!(endpoint = inner.name, pid = process.pid, "a worker does not keep to the wire protocol");
                        break;
                    }
                    if matches!(read, Read::End) { break }
                }
                () = notify.notified() => {}
                _ = self.stream.writable(), if !out.is_empty() => {}
                readable = self.printed.readable(), if printing => {
                    printing = readable.is_ok() && self.print(inner, id);
                }
                _ = process.pidfd.readable() => {
                    while matches!(read(&self.stream, &mut self.decoder), Read::Some) {}
                    let _ = self.take(inner, id); // it is dead: whatever it wrote last, it is replaced
                    break;
                }
                () = closed(&mut closing) => {
                    self.end(inner, id, &process).await;
                    break;
                }
            }
        }
        while printing && self.print_now(inner, id) {}
        self.lines.finish(|text| inner.print_unclaimed(&mut inner.lock(), id, 2, text));
        if !*inner.closing().borrow() {
            tracing::debug!(endpoint = inner.name, pid = process.pid, "a worker has ended");
        }
        // Its page is final only once it has ended.
        kill(process.pidfd.get_ref());
        ended(&process.pidfd).await;
        self.page.read().ok()
    }

    /// Handles every whole frame.
    fn take(&mut self, inner: &Inner, id: WorkerId) -> Result<(), Error> {
        let mut done = Vec::new();
        {
            let mut shared = inner.lock();
            let shared = &mut *shared;
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
                            Some(Reply::Call(events)) => drop(events.send(Event::Output(stream, text))), // unheard is fine
                            Some(Reply::Request { tag, .. }) => {
                                let tag = *tag;
                                inner.print(Some(tag), stream, &String::from_utf8_lossy(&text));
                            }
                            None => inner.print_unclaimed(shared, id, stream, &String::from_utf8_lossy(&text)),
                        }
                    }
                    _ => return Err(Error::Protocol),
                }
            }
            if !done.is_empty() {
                let told = shared.dispatcher.pump();
                shared.wake(&told);
            }
        }
        for (reply, answer) in done {
            reply.give(Outcome::Answered(answer));
        }
        Ok(())
    }

    /// Passes on what the process wrote to its descriptors: to the oldest live call in flight, else to the log.
    /// False when the pipe is closed.
    fn print(&mut self, inner: &Inner, id: WorkerId) -> bool {
        print(&self.printed, &mut self.lines, |text| {
            inner.print_unclaimed(&mut inner.lock(), id, 2, text);
        })
    }

    /// As [`Self::print`], after the process's end; false once there is nothing more.
    fn print_now(&mut self, inner: &Inner, id: WorkerId) -> bool {
        let mut some = false;
        let open = print(&self.printed, &mut self.lines, |text| {
            some = true;
            inner.print_unclaimed(&mut inner.lock(), id, 2, text);
        });
        open && some
    }

    /// Lets the worker end by itself: its `atexit` functions run.
    async fn end(&mut self, inner: &Inner, id: WorkerId, process: &Process) {
        inner.lock().dispatcher.tell(id, Kind::Drain, &[]);
        let ended = tokio::time::timeout(END, async {
            loop {
                let mut out = inner.lock().dispatcher.take_output(id);
                while !out.is_empty() && self.stream.writable().await.is_ok() {
                    match self.stream.try_write(&out) {
                        Ok(count) => out.advance(count),
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                        Err(_) => break,
                    }
                }
                tokio::select! {
                    _ = process.pidfd.readable() => return,
                    readable = self.stream.readable() => match readable.map(|()| read(&self.stream, &mut self.decoder)) {
                        Ok(Read::Nothing) => {}
                        Ok(Read::Some) if self.take(inner, id).is_ok() => {}
                        Ok(_) | Err(_) => { let _ = process.pidfd.readable().await; return }
                    },
                }
            }
        });
        if ended.await.is_err() {
            tracing::warn!(endpoint = inner.name, pid = process.pid, "a worker did not end within {END:?} and was killed");
        }
    }
}

/// Returns once the pool closes.
pub(crate) async fn closed(closing: &mut watch::Receiver<bool>) {
    // An error would mean that the pool is gone, which is closed as well.
    let _ = closing.wait_for(|closing| *closing).await;
}

/// Looks after one worker's time.
#[derive(Default)]
struct Watch {
    inline: u32,
    swept: Option<Instant>,
}

impl Watch {
    fn look(&mut self, inner: &Inner, id: WorkerId, page: &Page, process: &Process, now: Instant) {
        let mut shared = inner.lock();
        // A `def` that is still there after two ticks holds up the worker's main thread.
        let inline = page.inline().unwrap_or_default();
        let told = shared.dispatcher.stalled(id, inline != 0 && inline == self.inline);
        self.inline = inline;
        shared.wake(&told);
        if self.swept.is_some_and(|swept| now.duration_since(swept) < SWEEP) {
            return;
        }
        self.swept = Some(now);
        let swept = shared.dispatcher.sweep(now);
        shared.wake(&swept.told);
        drop(shared);
        for reply in swept.expired {
            reply.give(Outcome::Expired);
        }
        if inner.settings.replace_stuck && swept.stuck.contains(&id) {
            tracing::warn!(endpoint = inner.name, pid = process.pid, "a worker goes on past its deadline and is replaced");
            kill(process.pidfd.get_ref());
        }
    }
}

enum Read {
    Some,
    Nothing,
    End,
}

fn read(stream: &UnixStream, decoder: &mut Decoder) -> Read {
    let buffer = decoder.buffer();
    buffer.reserve(READ);
    match stream.try_read_buf(buffer) {
        Ok(0) => Read::End,
        Ok(_) => Read::Some,
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Read::Nothing,
        Err(_) => Read::End,
    }
}

fn print(printed: &pipe::Receiver, lines: &mut Lines, mut to: impl FnMut(&str)) -> bool {
    let mut buffer = [0; 16 * 1024];
    loop {
        match printed.try_read(&mut buffer) {
            Ok(0) => {
                lines.finish(&mut to);
                return false;
            }
            Ok(count) => lines.push(&buffer[..count], &mut to),
            Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
        }
    }
}
