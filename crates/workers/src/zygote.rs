//! Zygotes, seen from the host: start the base one, have them fork, know when they end.

use std::collections::{BTreeMap, HashMap};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
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
use tokio::task::JoinHandle;

use crate::error::Error;
use crate::interpreter::Program;
use crate::isolation::{Isolation, Lineage, Surroundings};
use crate::orphans::Awaited;
use crate::process::{Process, watched};

/// The longest frame on a control channel, in bytes.
const PACKET: usize = 1 << 20;

/// An interpreter says HELLO within this. It imports the runtime alone before, which takes a fraction of a second.
const HELLO_LIMIT: Duration = Duration::from_secs(60);

/// A zygote forks within this, where a start may take so long. It has nothing else to do, and a fork takes milliseconds: one that does not is
/// stopped, or stands still.
pub(crate) const FORK_LIMIT: Duration = Duration::from_secs(20);

struct Order {
    payload: Vec<u8>,
    descriptors: Vec<OwnedFd>,
    limit: Duration,
    reply: oneshot::Sender<Result<Process, Error>>,
}

/// A zygote that says it is ready. Cloneable; the process ends when the last handle is gone.
#[derive(Clone, Debug)]
pub struct Zygote {
    orders: mpsc::Sender<Order>,
    /// The program, as HELLO said; forked zygotes inherit it.
    pub about: Arc<Hello>,
    /// Where its processes are kept apart: which ones they are.
    lineage: Option<Arc<Lineage>>,
    /// The one that forked it, which must outlast it.
    _maker: Option<Arc<Zygote>>,
}

/// A forked zygote that has imported what it was told to.
#[derive(Debug)]
pub(crate) struct Adopted {
    pub(crate) zygote: Zygote,
    /// What it said.
    pub(crate) ready: Ready,
    /// Ends when its process has, which it does once nobody has the zygote any more.
    pub(crate) end: JoinHandle<()>,
}

/// READY of a forked zygote.
#[derive(Debug, Deserialize)]
pub(crate) struct Ready {
    /// What makes forking it unsafe.
    #[serde(rename = "unsafe")]
    pub(crate) unsafe_because: Vec<String>,
    /// The modules that it imported beside the project's own; `None` where they must not be imported before those.
    #[serde(default)]
    pub(crate) libraries: Option<Vec<String>>,
    /// The directories that libraries are installed in, and when each was modified last, in nanoseconds.
    #[serde(default)]
    pub(crate) places: BTreeMap<PathBuf, i64>,
}

/// What a base zygote says of its program.
#[derive(Debug, Deserialize)]
pub struct Hello {
    /// Its version, as `3.12.1`; `None` where it is no Python.
    pub python: Option<String>,
    /// Its path.
    pub executable: String,
    /// The process.
    pub pid: u32,
    /// Version of pydantic, where routes need it.
    pub pydantic: Option<String>,
    /// What could not be imported, where routes need it.
    pub missing: Option<String>,
}

/// Two ends of a control channel: ours, and the one a zygote gets.
pub(crate) fn control_pair() -> std::io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((ours, theirs))
}

impl Zygote {
    /// Starts the base zygote of a program, kept apart where that is asked for; `printed` become its standard streams.
    ///
    /// # Errors
    /// When the interpreter does not start, says nothing, is too old, lacks what it needs, or is of another version than this host.
    pub(crate) async fn start(program: &Program, isolation: Option<&Isolation>, printed: [OwnedFd; 2]) -> Result<Self, Error> {
        let (ours, theirs) = control_pair().map_err(Error::System)?;
        let (mut command, surroundings) = match isolation {
            None => (program.command(None), None),
            Some(isolation) => {
                let (order, surroundings) = isolation.prepare(program, |name| std::env::var_os(name))?;
                order.send(&ours).map_err(Error::System)?;
                (isolation.command(), Some(surroundings))
            }
        };
        let user = surroundings.as_ref().and_then(Surroundings::user);
        let mut lineage = isolation.map(|isolation| Lineage::new(user, &isolation.limits));
        if let Some(lineage) = &lineage {
            lineage.own(&printed).map_err(Error::System)?;
        }
        command.stdin(Stdio::from(theirs));
        let [out, err] = printed;
        let errors = err.try_clone().map_err(Error::System)?;
        command.stdout(Stdio::from(out)).stderr(Stdio::from(err));
        let (mut child, awaited) = Awaited::spawn(&mut command).map_err(|cause| {
            let started = isolation.map_or(program.path(), |isolation| &isolation.launcher);
            Error::NoInterpreter { python: started.to_owned(), cause }
        })?;
        drop(command);
        if let (Some(lineage), Some(pid)) = (&mut lineage, child.id()) {
            lineage.base = pid;
            lineage.limit_left_behind(errors).map_err(Error::System)?;
        }
        let lineage = lineage.map(Arc::new);
        let control = watched(ours).map_err(Error::System)?;
        let Ok(first) = tokio::time::timeout(HELLO_LIMIT, receive(&control)).await else {
            child.kill().await.map_err(Error::System)?;
            return Err(Error::Silent { python: program.path().to_owned(), limit: HELLO_LIMIT });
        };
        let (frame, _) = match first {
            Ok(Some(received)) => received,
            Ok(None) | Err(_) => {
                drop(control); // whatever it is, it ends with its channel
                let status = child.wait().await.map_err(Error::System)?;
                return Err(Error::NotStarted { python: program.path().to_owned(), status });
            }
        };
        let hello = check_hello(program, &frame)?;
        let (orders, queue) = mpsc::channel(16);
        let of = lineage.clone();
        tokio::spawn(async move {
            if serve(control, queue, of).await == Served::Stuck {
                let _ = child.start_kill(); // or it has ended
            }
            // The channel is closed: the zygote ends by itself.
            let _ended = child.wait().await;
            drop(awaited);
            drop(surroundings); // all that came of it ends with it
        });
        Ok(Self { orders, about: Arc::new(hello), lineage, _maker: None })
    }

    /// Takes over a forked zygote at its control channel, once it has imported its modules.
    ///
    /// # Errors
    /// [`Error::CannotLoad`] with the zygote's own report.
    pub(crate) async fn adopt(&self, mut process: Process, control: OwnedFd) -> Result<Adopted, Error> {
        let control = watched(control).map_err(Error::System)?;
        let Some((frame, _)) = receive(&control).await.map_err(Error::System)? else {
            return Err(Error::EndedEarly { status: process.status().await });
        };
        let ready = match frame.kind {
            Kind::Ready => serde_json::from_slice(&frame.payload).map_err(|_| Error::Protocol)?,
            Kind::Failed => return Err(Error::CannotLoad(serde_json::from_slice(&frame.payload).map_err(|_| Error::Protocol)?)),
            _ => return Err(Error::Protocol),
        };
        let (orders, queue) = mpsc::channel(16);
        let of = self.lineage.clone();
        let end = tokio::spawn(async move {
            if serve(control, queue, of).await == Served::Stuck {
                process.kill();
            }
            process.ended().await;
        });
        let zygote = Self { orders, about: self.about.clone(), lineage: self.lineage.clone(), _maker: Some(Arc::new(self.clone())) };
        Ok(Adopted { zygote, ready, end })
    }

    /// Has it fork a process that gets `descriptors` (channel, output, errors, and for a worker the page). One that has not within `limit`, or
    /// [`FORK_LIMIT`] where that is less, is killed.
    ///
    /// # Errors
    /// [`Error::ZygoteGone`] when it ended before; [`Error::ZygoteStuck`] when it did not fork in time; [`Error::OrderTooLong`] when the order
    /// does not fit into a packet.
    pub(crate) async fn fork(&self, order: &serde_json::Value, descriptors: Vec<OwnedFd>, limit: Duration) -> Result<Process, Error> {
        let (reply, answer) = oneshot::channel();
        if let (Some(lineage), Some(streams)) = (&self.lineage, descriptors.get(1..3)) {
            lineage.own(streams).map_err(Error::System)?;
        }
        let order = Order { payload: order.to_string().into_bytes(), descriptors, limit: limit.min(FORK_LIMIT), reply };
        self.orders.send(order).await.map_err(|_| Error::ZygoteGone)?;
        answer.await.map_err(|_| Error::ZygoteGone)?
    }

    /// Whether its process is known to have ended.
    pub fn is_gone(&self) -> bool {
        self.orders.is_closed()
    }
}

fn check_hello(program: &Program, frame: &Frame) -> Result<Hello, Error> {
    let python = program.path().to_owned();
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

/// Why a zygote gets no more orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Served {
    /// It has ended, or does so now: nobody has it any more.
    Done,
    /// It does not fork, and hears of no end.
    Stuck,
}

/// Carries orders to the zygote, one at a time, until it or the last handle is gone.
async fn serve(control: AsyncFd<OwnedFd>, mut orders: mpsc::Receiver<Order>, lineage: Option<Arc<Lineage>>) -> Served {
    let mut alive = Alive::default();
    loop {
        let order = tokio::select! {
            order = orders.recv() => order,
            received = receive(&control) => match received {
                Ok(Some((frame, _))) => { alive.note(&frame); continue }
                Ok(None) | Err(_) => return Served::Done,
            },
        };
        let Some(order) = order else { return Served::Done };
        let limit = order.limit;
        let done = tokio::time::timeout(limit, fork(&control, &order, &mut alive, lineage.as_deref())).await;
        let done = done.unwrap_or(Err(Error::ZygoteStuck { limit }));
        let served = match done {
            Err(Error::ZygoteGone) => Some(Served::Done),
            Err(Error::ZygoteStuck { .. }) => Some(Served::Stuck),
            _ => None,
        };
        if served.is_some() {
            orders.close(); // whoever is told so finds it gone
        }
        drop(order.reply.send(done)); // who asked may have given up
        if let Some(served) = served {
            return served;
        }
    }
}

async fn fork(control: &AsyncFd<OwnedFd>, order: &Order, alive: &mut Alive, lineage: Option<&Lineage>) -> Result<Process, Error> {
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
                let pid = frame.payload.clone().get_u32_le();
                if let Some(lineage) = lineage {
                    if !lineage.has(pid, &pidfd) {
                        return Err(Error::Foreign);
                    }
                    if let Some(errors) = order.descriptors.get(2) {
                        lineage.limit(pid, &pidfd, errors).map_err(Error::System)?;
                    }
                }
                return Process::new(pid, pidfd, alive.expect(pid)).map_err(Error::System);
            }
            _ => alive.note(&frame),
        }
    }
}

/// Whom to tell how a process has ended, by its number.
#[derive(Default)]
struct Alive(HashMap<u32, oneshot::Sender<ExitStatus>>);

impl Alive {
    fn expect(&mut self, pid: u32) -> oneshot::Receiver<ExitStatus> {
        let (sender, receiver) = oneshot::channel();
        self.0.insert(pid, sender);
        receiver
    }

    fn note(&mut self, frame: &Frame) {
        if frame.kind != Kind::Exited || frame.payload.len() != 8 {
            return;
        }
        let mut payload = frame.payload.clone();
        let (pid, status) = (payload.get_u32_le(), payload.get_i32_le());
        if let Some(sender) = self.0.remove(&pid) {
            let _ = sender.send(ExitStatus::from_raw(status)); // nobody may want to know
        }
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
