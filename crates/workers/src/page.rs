//! The page that a worker shares with its host: which requests it has begun, and which `def` holds up its main thread.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::dispatch::MAX_SLOTS;

/// A shared memory file of 32-bit cells: one a slot, then the inline cell. The worker maps it; the host reads it by `pread`, which
/// needs no mapping, and only when a worker died or once a tick.
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
        rustix::fs::ftruncate(&file, 4096)?;
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
}

impl Cells {
    /// Whether the worker has begun this request.
    pub fn begun(&self, request: u32) -> bool {
        let at = (request & 0xFFFF) as usize * 4;
        self.0.get(at..at + 4).is_some_and(|cell| cell == request.to_ne_bytes())
    }
}
