//! Zygotes: start processes on command, tell of their end.

use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command};

use bytes::BytesMut;
use flash_wire::{Decoder, Kind, encode};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::Deserialize;

use crate::{Options, Role};

/// The longest frame on a control channel.
const PACKET: usize = 1 << 20;

/// FORK's payload.
#[derive(Deserialize)]
struct Fork {
    role: Role,
    config: serde_json::Value,
    #[serde(default)]
    environment: BTreeMap<String, String>,
}

/// Starts processes until the host closes the channel.
pub(crate) fn serve(control: &OwnedFd) -> io::Result<()> {
    let mut children: Vec<(Child, OwnedFd)> = Vec::new();
    let mut started = 0;
    loop {
        let descriptors = std::iter::once(control).chain(children.iter().map(|(_, pidfd)| pidfd));
        let mut watched: Vec<PollFd<'_>> = descriptors.map(|descriptor| PollFd::new(descriptor, PollFlags::IN)).collect();
        poll(&mut watched, None)?;
        let ready: Vec<bool> = watched.iter().map(|descriptor| !descriptor.revents().is_empty()).collect();
        for index in (0..children.len()).rev().filter(|index| ready[index + 1]) {
            let (mut child, _) = children.swap_remove(index);
            let status = child.wait()?.into_raw();
            tell(control, Kind::Exited, &[child.id().to_le_bytes(), status.to_le_bytes()].concat(), &[])?;
        }
        if !ready[0] {
            continue;
        }
        let Some((payload, descriptors)) = receive(control)? else { return Ok(()) };
        started += 1;
        let child = start(&payload, descriptors, started)?;
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
        tell(control, Kind::Forked, &child.id().to_le_bytes(), &[pidfd.as_fd()])?;
        children.push((child, pidfd));
    }
}

/// Starts this program in another role. A worker's page is inherited under its number here: standard streams are for the rest.
fn start(payload: &[u8], descriptors: Vec<OwnedFd>, number: usize) -> io::Result<Child> {
    let Fork { role, config, environment } = serde_json::from_slice(payload)?;
    let mut descriptors = descriptors.into_iter();
    let (Some(channel), Some(out), Some(err)) = (descriptors.next(), descriptors.next(), descriptors.next()) else {
        return Err(io::Error::other("FORK came without its descriptors"));
    };
    let page = descriptors.next();
    if let Some(page) = &page {
        rustix::io::fcntl_setfd(page, rustix::io::FdFlags::empty())?;
    }
    let inherited = page.as_ref().map(AsRawFd::as_raw_fd);
    let options = serde_json::to_string(&Options { role, parent: std::process::id(), number, page: inherited, config })?;
    Command::new("/proc/self/exe").arg(options).envs(environment).stdin(channel).stdout(out).stderr(err).spawn()
}

/// Sends one frame as one packet, with descriptors.
///
/// # Errors
/// What the system says, such as that the host is gone.
pub fn tell(control: &OwnedFd, kind: Kind, payload: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut packet = BytesMut::new();
    encode(&mut packet, kind, 0, payload);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    sendmsg(control, &[IoSlice::new(&packet)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The next FORK; `None` once the channel is closed.
fn receive(control: &OwnedFd) -> io::Result<Option<(bytes::Bytes, Vec<OwnedFd>)>> {
    let mut packet = vec![0; PACKET];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(control, &mut [IoSliceMut::new(&mut packet)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes == 0 {
        return Ok(None);
    }
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    let mut decoder = Decoder::default();
    decoder.buffer().extend_from_slice(&packet[..received.bytes]);
    match decoder.next_frame().map_err(io::Error::other)? {
        Some(frame) if frame.kind == Kind::Fork => Ok(Some((frame.payload, descriptors))),
        frame => Err(io::Error::other(format!("a zygote takes FORK alone, and this is {frame:?}"))),
    }
}
