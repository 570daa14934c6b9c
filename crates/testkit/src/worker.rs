//! A worker's end of the wire.

use std::collections::{HashMap, HashSet};
use std::fs::OpenOptions;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use flash_wire::{self as wire, DROPPED, Decoder, Frame, Kind, MORE};

/// Index of the shared page's cell that names what runs on the main thread.
const INLINE_CELL: u32 = 128;
/// Index of the cell that says that the host has revoked requests; one for each slot follows.
const REVOKING_CELL: u32 = 129;
const READ: usize = 256 * 1024;

/// A request, or a live call, whose body is whole.
#[derive(Debug)]
pub struct Request {
    /// Its number.
    pub number: u32,
    /// The route's index; `None` for a live call.
    pub route: Option<u16>,
    /// What it asks beside the body; empty for a plain JSON request.
    pub head: Bytes,
    /// The whole body.
    pub body: Bytes,
}

/// What the host wants.
#[derive(Debug)]
pub enum Order {
    /// Run this.
    Run(Request),
    /// Nobody waits for this request any more; stop it even when it has begun, if `anyway`.
    Cancel {
        /// Its number.
        request: u32,
        /// Whether its deadline has passed.
        anyway: bool,
    },
    /// Finish, and end.
    Drain,
}

struct Partial {
    route: Option<u16>,
    head: Bytes,
    body: BytesMut,
}

/// One worker process.
pub struct Worker {
    /// Its place among the processes that its zygote started, from 1.
    pub number: usize,
    /// What the endpoint's workers are told.
    pub config: serde_json::Value,
    wire: UnixStream,
    page: OwnedFd,
    decoder: Decoder,
    partial: HashMap<u32, Partial>,
    dropped: HashSet<u32>,
    out: BytesMut,
}

impl Worker {
    /// The page is open already, under this number; opened anew it is this worker's own.
    pub(crate) fn new(channel: OwnedFd, page: RawFd, number: usize, config: serde_json::Value) -> io::Result<Self> {
        let page = OpenOptions::new().read(true).write(true).open(format!("/proc/self/fd/{page}"))?.into();
        let (decoder, partial, dropped, out) = (Decoder::default(), HashMap::new(), HashSet::new(), BytesMut::new());
        Ok(Self { number, config, wire: channel.into(), page, decoder, partial, dropped, out })
    }

    /// Answers every request with what `function` makes of it, until it is told to end. It must have no effects: where the host takes this
    /// process for silent, another may run the request as well, for here nobody looks for revocations.
    ///
    /// # Errors
    /// When the host is gone.
    pub fn serve(mut self, function: impl Fn(&Request) -> Bytes) -> io::Result<()> {
        self.ready();
        loop {
            match self.next_order()? {
                Order::Run(request) => {
                    self.begin(request.number)?;
                    self.answer(request.number, 200, "", &function(&request));
                }
                Order::Cancel { .. } => {} // it was answered before this was read
                Order::Drain => return self.flush(),
            }
        }
    }

    /// Says READY.
    pub fn ready(&mut self) {
        let functions = self.config["functions"].as_array().map_or(0, Vec::len);
        let routes = vec![serde_json::json!({ "name": "any", "plan": { "body": null } }); functions];
        let ready = serde_json::json!({ "pid": std::process::id(), "routes": routes });
        wire::encode(&mut self.out, Kind::Ready, 0, ready.to_string().as_bytes());
    }

    /// Waits for the next order, after everything has been sent.
    ///
    /// # Errors
    /// When the host is gone, or sends what is no frame.
    pub fn next_order(&mut self) -> io::Result<Order> {
        loop {
            if let Some(frame) = self.decoder.next_frame().map_err(io::Error::other)? {
                match self.order(frame) {
                    Some(order) => return Ok(order),
                    None => continue,
                }
            }
            self.flush()?;
            let buffer = self.decoder.buffer();
            let length = buffer.len();
            buffer.resize(length + READ, 0);
            let count = self.wire.read(&mut buffer[length..])?;
            buffer.truncate(length + count);
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// What a frame asks for; `None` as long as more of it is to come. A malformed one is the host's bug, for which this may panic.
    fn order(&mut self, frame: Frame) -> Option<Order> {
        let Frame { kind, request, mut payload } = frame;
        match kind {
            Kind::Request => {
                let (route, flags) = (payload.get_u16_le(), payload.get_u8());
                let length = payload.get_u32_le() as usize;
                let head = payload.split_to(length);
                self.partial.insert(request, Partial { route: Some(route), head, body: BytesMut::new() });
                self.gather(request, flags, &payload)
            }
            Kind::Call => {
                self.partial.insert(request, Partial { route: None, head: Bytes::new(), body: BytesMut::new() });
                let flags = payload.get_u8();
                self.gather(request, flags, &payload)
            }
            Kind::Chunk => {
                let flags = payload.get_u8();
                self.gather(request, flags, &payload)
            }
            Kind::Cancel if self.partial.contains_key(&request) => {
                self.dropped.insert(request);
                None
            }
            Kind::Cancel => Some(Order::Cancel { request, anyway: payload.get_u8() == 1 }),
            Kind::Drain => Some(Order::Drain),
            Kind::Ping => {
                wire::encode(&mut self.out, Kind::Pong, 0, &[]);
                None
            }
            _ => None,
        }
    }

    fn gather(&mut self, request: u32, flags: u8, piece: &[u8]) -> Option<Order> {
        let partial = self.partial.get_mut(&request)?;
        partial.body.put_slice(piece);
        if flags & MORE != 0 {
            return None;
        }
        let Partial { route, head, body } = self.partial.remove(&request)?;
        if self.dropped.remove(&request) {
            self.answer(request, DROPPED, "", &Bytes::new());
            return None;
        }
        Some(Order::Run(Request { number: request, route, head, body: body.freeze() }))
    }

    /// Says in the page that this request has begun.
    ///
    /// # Errors
    /// What the system says.
    pub fn begin(&self, request: u32) -> io::Result<()> {
        self.write_cell(request & 0xFFFF, request)
    }

    /// Says in the page what runs on the main thread: 0 for nothing.
    ///
    /// # Errors
    /// What the system says.
    pub fn inline(&self, request: u32) -> io::Result<()> {
        self.write_cell(INLINE_CELL, request)
    }

    /// Whether the host has revoked this request: it must not be run.
    ///
    /// # Errors
    /// What the system says.
    pub fn is_revoked(&self, request: u32) -> io::Result<bool> {
        let mut cell = [0; 4];
        let index = REVOKING_CELL + 1 + (request & 0xFFFF);
        rustix::io::pread(&self.page, &mut cell, u64::from(index) * 4)?;
        Ok(cell == request.to_ne_bytes())
    }

    fn write_cell(&self, cell: u32, number: u32) -> io::Result<()> {
        rustix::io::pwrite(&self.page, &number.to_ne_bytes(), u64::from(cell) * 4)?;
        Ok(())
    }

    /// Answers, in as many frames as the body takes. `head` is the headers' JSON.
    pub fn answer(&mut self, request: u32, status: u16, head: &str, body: &Bytes) {
        let mut rest = body.clone();
        let first = rest.split_to(rest.len().min(wire::CHUNK));
        self.begin_answer(request, status, head, &first, !rest.is_empty());
        while !rest.is_empty() {
            rest = wire::encode_chunk(&mut self.out, request, &rest);
        }
    }

    /// An ANSWER alone; `more` says that chunks follow.
    pub fn begin_answer(&mut self, request: u32, status: u16, head: &str, body: &[u8], more: bool) {
        let mut payload = BytesMut::with_capacity(7 + head.len() + body.len());
        payload.put_u16_le(status);
        payload.put_u8(if more { MORE } else { 0 });
        payload.put_u32_le(head.len() as u32);
        payload.put_slice(head.as_bytes());
        payload.put_slice(body);
        wire::encode(&mut self.out, Kind::Answer, request, &payload);
    }

    /// Bytes for the host, as they are.
    pub fn say(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Sends what has gathered.
    ///
    /// # Errors
    /// When the host is gone.
    pub fn flush(&mut self) -> io::Result<()> {
        self.wire.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }
}
