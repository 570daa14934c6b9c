//! Zygotes, seen from the host: start the base one, have them fork, know when they end.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use flash_wire::{Decoder, Frame, Kind, VERSION, encode};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
    SocketType, recvmsg, sendmsg, socketpair,
};
use serde::Deserialize;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};

use crate::error::Error;
use crate::interpreter::Interpreter;

/// The longest frame on a control channel, in bytes.
const PACKET: usize = 1 << 20;

/// An interpreter says HELLO within this. It imports the runtime alone before, which takes a fraction of a second.
const HELLO_LIMIT: Duration = Duration::from_secs(60);

/// A process that a zygote forked.
#[derive(Debug)]
pub struct Forked {
    /// Its number, for people; signals go through `pidfd`.
    pub pid: u32,
    /// Its descriptor: readable once the process has ended.
    pub pidfd: OwnedFd,
}

struct Order {
    payload: Vec<u8>,
    descriptors: Vec<OwnedFd>,
    reply: oneshot::Sender<Result<Forked, Error>>,
}

/// A zygote that says it is ready. Cloneable; the process ends when the last handle is gone.
#[derive(Clone, Debug)]
pub struct Zygote {
    orders: mpsc::Sender<Order>,
    /// The interpreter, as HELLO said; a project's zygote inherits it.
    pub about: Arc<Hello>,
}

/// What a base zygote says of its interpreter.
#[derive(Debug, Deserialize)]
pub struct Hello {
    /// Its version, as `3.12.1`.
    pub python: String,
    /// Its path.
    pub executable: String,
    /// The process.
    pub pid: u32,
    /// Version of pydantic, where routes need it.
    pub pydantic: Option<String>,
    /// What could not be imported, where routes need it.
    pub missing: Option<String>,
}

/// A descriptor that tasks can wait for.
#[expect(deprecated, reason = "an `OwnedFd` keeps its descriptor open, which is what the `unsafe` successor has callers promise")]
pub fn watched(descriptor: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(descriptor)
}

/// Waits until a process has ended, and takes its status where that falls to us: when its zygote was killed, it is our child.
pub(crate) async fn ended(process: &AsyncFd<OwnedFd>) {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    // Neither fails but for a process that somebody else has waited for, which has ended all the same.
    let _ = process.readable().await;
    let _ = waitid(WaitId::PidFd(process.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
}

/// Two ends of a control channel: ours, and the one a zygote gets.
pub(crate) fn control_pair() -> std::io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((ours, theirs))
}

impl Zygote {
    /// Starts the base zygote of an interpreter; `printed` gets what it writes to its standard streams.
    ///
    /// # Errors
    /// When the interpreter does not start, says nothing, is too old, lacks what it needs, or is of another version than this host.
    pub async fn start(interpreter: &Interpreter, printed: OwnedFd) -> Result<Self, Error> {
        let (ours, theirs) = control_pair().map_err(Error::System)?;
        let mut command = interpreter.command();
        command.stdin(Stdio::from(theirs));
        command.stdout(Stdio::from(printed.try_clone().map_err(Error::System)?));
        command.stderr(Stdio::from(printed));
        let mut child = command.spawn().map_err(|cause| Error::NoInterpreter { python: interpreter.python.clone(), cause })?;
        drop(command);
        let control = watched(ours).map_err(Error::System)?;
        let Ok(first) = tokio::time::timeout(HELLO_LIMIT, receive(&control)).await else {
            child.kill().await.map_err(Error::System)?;
            return Err(Error::Silent { python: interpreter.python.clone(), limit: HELLO_LIMIT });
        };
        let (frame, _) = match first {
            Ok(Some(received)) => received,
            Ok(None) | Err(_) => {
                drop(control); // whatever it is, it ends with its channel
                let status = child.wait().await.map_err(Error::System)?;
                return Err(Error::NotStarted { python: interpreter.python.clone(), status });
            }
        };
        let hello = check_hello(interpreter, &frame)?;
        let (orders, queue) = mpsc::channel(16);
        tokio::spawn(async move {
            serve(control, queue).await;
            // The channel is closed: the zygote ends by itself.
            let _ended = child.wait().await;
        });
        Ok(Self { orders, about: Arc::new(hello) })
    }

    /// Takes over a forked project zygote at its control channel, once it has imported its modules.
    ///
    /// # Errors
    /// [`Error::CannotLoad`] with the zygote's own report.
    pub async fn adopt(&self, forked: Forked, control: OwnedFd) -> Result<(Self, Vec<String>), Error> {
        let control = watched(control).map_err(Error::System)?;
        let Some((frame, _)) = receive(&control).await.map_err(Error::System)? else { return Err(Error::ZygoteGone) };
        let unsafe_because = match frame.kind {
            Kind::Ready => serde_json::from_slice::<Ready>(&frame.payload).map_err(|_| Error::Protocol)?.changes,
            Kind::Failed => return Err(Error::CannotLoad(serde_json::from_slice(&frame.payload).map_err(|_| Error::Protocol)?)),
            _ => return Err(Error::Protocol),
        };
        let (orders, queue) = mpsc::channel(16);
        let process = watched(forked.pidfd).map_err(Error::System)?;
        tokio::spawn(async move {
            serve(control, queue).await;
            ended(&process).await;
        });
        Ok((Self { orders, about: self.about.clone() }, unsafe_because))
    }

    /// Has it fork a process that gets `descriptors` (channel, output, and for a worker the page).
    ///
    /// # Errors
    /// [`Error::ZygoteGone`] when it ended before; [`Error::OrderTooLong`] when the order does not fit into a packet.
    pub async fn fork(&self, order: &serde_json::Value, descriptors: Vec<OwnedFd>) -> Result<Forked, Error> {
        let (reply, answer) = oneshot::channel();
        let order = Order { payload: order.to_string().into_bytes(), descriptors, reply };
        self.orders.send(order).await.map_err(|_| Error::ZygoteGone)?;
        answer.await.map_err(|_| Error::ZygoteGone)?
    }

    /// Whether its process is known to have ended.
    pub fn is_gone(&self) -> bool {
        self.orders.is_closed()
    }
}

#[derive(Deserialize)]
struct Ready {
    #[serde(rename = "unsafe")]
    changes: Vec<String>,
}

fn check_hello(interpreter: &Interpreter, frame: &Frame) -> Result<Hello, Error> {
    let python = interpreter.python.clone();
    match frame.kind {
        Kind::Hello => {}
        Kind::Failed => return Err(Error::CannotLoad(serde_json::from_slice(&frame.payload).map_err(|_| Error::Protocol)?)),
        _ => return Err(Error::Protocol),
    }
    let mut payload = frame.payload.clone();
    let version = if payload.is_empty() { 0 } else { payload.get_u8() };
    if version != VERSION {
        return Err(Error::OtherVersion { python, version });
    }
    let hello: Hello = serde_json::from_slice(&payload).map_err(|_| Error::Protocol)?;
    match hello.missing {
        Some(missing) => Err(Error::Missing { python, missing }),
        None => Ok(hello),
    }
}

/// Carries orders to the zygote, one at a time, until it or the last handle is gone.
async fn serve(control: AsyncFd<OwnedFd>, mut orders: mpsc::Receiver<Order>) {
    loop {
        let order = tokio::select! {
            order = orders.recv() => order,
            received = receive(&control) => match received {
                Ok(Some((frame, _))) => { note(&frame); continue }
                Ok(None) | Err(_) => return,
            },
        };
        let Some(order) = order else { return };
        let done = fork(&control, &order).await;
        let gone = matches!(done, Err(Error::ZygoteGone));
        drop(order.reply.send(done)); // who asked may have given up
        if gone {
            return;
        }
    }
}

async fn fork(control: &AsyncFd<OwnedFd>, order: &Order) -> Result<Forked, Error> {
    let mut packet = BytesMut::new();
    encode(&mut packet, Kind::Fork, 0, &order.payload);
    let descriptors: Vec<BorrowedFd<'_>> = order.descriptors.iter().map(AsFd::as_fd).collect();
    let sent = control
        .async_io(Interest::WRITABLE, |control| {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
            Ok(sendmsg(control, &[IoSlice::new(&packet)], &mut ancillary, SendFlags::NOSIGNAL)?)
        })
        .await;
    sent.map_err(|error| match rustix::io::Errno::from_io_error(&error) {
        Some(rustix::io::Errno::MSGSIZE) => Error::OrderTooLong { bytes: packet.len() },
        _ => Error::ZygoteGone,
    })?;
    loop {
        let Ok(Some((frame, mut descriptors))) = receive(control).await else { return Err(Error::ZygoteGone) };
        match (frame.kind, descriptors.pop()) {
            (Kind::Forked, Some(pidfd)) if frame.payload.len() == 4 => {
                return Ok(Forked { pid: frame.payload.clone().get_u32_le(), pidfd });
            }
            _ => note(&frame),
        }
    }
}

fn note(frame: &Frame) {
    if frame.kind == Kind::Exited && frame.payload.len() == 8 {
        let mut payload = frame.payload.clone();
        let (pid, status) = (payload.get_u32_le(), payload.get_i32_le());
        tracing::debug!(pid, status, "a forked process has ended");
    }
}

/// One packet: a frame, and the descriptors that came with it. `None` when the other end is closed.
async fn receive(control: &AsyncFd<OwnedFd>) -> std::io::Result<Option<(Frame, Vec<OwnedFd>)>> {
    control
        .async_io(Interest::READABLE, |control| {
            let mut packet = vec![0; PACKET];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let received = recvmsg(control, &mut [IoSliceMut::new(&mut packet)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
            let mut descriptors = Vec::new();
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(rights) = message {
                    descriptors.extend(rights);
                }
            }
            if received.bytes == 0 {
                return Ok(None);
            }
            let mut decoder = Decoder::default();
            decoder.buffer().extend_from_slice(&packet[..received.bytes]);
            let frame = decoder.next_frame().map_err(std::io::Error::other)?;
            frame.map(|frame| Some((frame, descriptors))).ok_or_else(|| std::io::Error::other("a frame cut short"))
        })
        .await
}
