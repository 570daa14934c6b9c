//! What the launcher is told, and how: in a memory file that comes over its standard input. Arguments and environments can be read by
//! others, and an environment acts on the launcher itself, which may be root.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read as _, Seek as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

/// What the launcher does to itself before it becomes `program`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    /// The whole of it.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// The working directory.
    pub(crate) directory: PathBuf,
    /// User and group.
    pub(crate) user: Option<u32>,
    pub(crate) landlock: bool,
    /// What may be read, listed and started. What is not there is passed over, as in `writable` and `devices`.
    pub(crate) readable: Vec<PathBuf>,
    /// Where everything may be done.
    pub(crate) writable: Vec<PathBuf>,
    /// What may be read, written and sent commands.
    pub(crate) devices: Vec<PathBuf>,
    /// The limit on open files that holds until a process raises it; `None` leaves it as it is.
    pub(crate) soft_open_files: Option<u64>,
    pub(crate) open_files: u64,
    pub(crate) processes: Option<u64>,
    pub(crate) processors: Option<u32>,
}

impl Order {
    /// Sends it to the launcher at the other end.
    pub(crate) fn send(&self, channel: impl AsFd) -> io::Result<()> {
        let mut file = File::from(memfd_create("flash-order", MemfdFlags::CLOEXEC)?);
        file.write_all(&serde_json::to_vec(self)?)?;
        file.rewind()?;
        let descriptors = [file.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        sendmsg(channel, &[IoSlice::new(b"order")], &mut ancillary, SendFlags::NOSIGNAL)?; // nothing was sent before: there is room
        Ok(())
    }

    /// Waits for it; `None` when the host is gone.
    pub(crate) fn receive(channel: impl AsFd) -> io::Result<Option<Self>> {
        let mut packet = [0; 16];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(channel, &mut [IoSliceMut::new(&mut packet)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        if received.bytes == 0 {
            return Ok(None);
        }
        let descriptor = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut rights) => rights.next(),
            _ => None,
        });
        let descriptor: OwnedFd = descriptor.ok_or_else(|| io::Error::other("the order came without its file"))?;
        let mut text = Vec::new();
        File::from(descriptor).read_to_end(&mut text)?;
        Ok(Some(serde_json::from_slice(&text)?))
    }
}
