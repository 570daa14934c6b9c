//! The page that a worker shares with its host: which requests it has begun, which `def` holds up its main thread, and, from the host,
//! which requests it must not begin any more. Behind it in the same file the worker writes where its main thread is, when it is asked.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::dispatch::MAX_SLOTS;

/// Where the cell is that says that there are revoked requests; one a slot with their numbers follows.
const REVOKING: u64 = (MAX_SLOTS as u64 + 1) * 4;
/// Where the cells end, and the text begins.
const CELLS: u64 = 4096;
/// The longest text that is read.
const TEXT: usize = 16 * 1024;

/// A shared memory file of 32-bit cells: one a slot, then the inline cell, then those of the host. The worker maps it; the host reads and
/// writes it by `pread` and `pwrite`, which need no mapping, and only when a worker died, does not answer, or once a tick.
#[derive(Debug)]
pub struct Page {
    file: OwnedFd,
}

/// What a page said at one moment.
#[derive(Debug)]
pub struct Cells([u8; (MAX_SLOTS + 1) * 4]);

impl Page {
    /// A page of zeros.
    pub fn new() -> std::io::Result<Self> {
        let file = rustix::fs::memfd_create("flash-page", rustix::fs::MemfdFlags::CLOEXEC)?;
        rustix::fs::ftruncate(&file, CELLS)?;
        Ok(Self { file })
    }

    /// For the worker.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// All cells.
    pub fn read(&self) -> std::io::Result<Cells> {
        let mut cells = Cells([0; (MAX_SLOTS + 1) * 4]);
        rustix::io::pread(&self.file, &mut cells.0, 0)?;
        Ok(cells)
    }

    /// The request of the `def` that runs on the worker's main thread, or that ran there last; 0 when none does.
    pub fn inline(&self) -> std::io::Result<u32> {
        let mut cell = [0; 4];
        rustix::io::pread(&self.file, &mut cell, (MAX_SLOTS * 4) as u64)?;
        Ok(u32::from_ne_bytes(cell))
    }

    /// Says that these requests are not to be begun any more. Of one that the worker begins at this very moment it is known whether it has
    /// only once the worker must have seen this, or what it wrote be seen here: at the next tick.
    pub fn revoke(&self, requests: &[u32]) -> std::io::Result<()> {
        for request in requests {
            let slot = u64::from(request & 0xFFFF);
            rustix::io::pwrite(&self.file, &request.to_ne_bytes(), REVOKING + 4 + slot * 4)?;
        }
        rustix::io::pwrite(&self.file, &1_u32.to_ne_bytes(), REVOKING)?;
        Ok(())
    }

    /// Where the main thread was when it was asked; empty where it has not answered.
    pub fn whereabouts(&self) -> std::io::Result<String> {
        let mut text = vec![0; TEXT];
        let length = rustix::io::pread(&self.file, &mut text, CELLS)?;
        Ok(String::from_utf8_lossy(&text[..length]).into_owned())
    }
}

impl Cells {
    /// Whether the worker has begun this request.
    pub fn begun(&self, request: u32) -> bool {
        let at = (request & 0xFFFF) as usize * 4;
        self.0.get(at..at + 4).is_some_and(|cell| cell == request.to_ne_bytes())
    }
}
