//! What a process writes to its descriptors 1 and 2, apart: C code, subprocesses, processes that it forked.

use std::future::pending;
use std::os::fd::OwnedFd;

use tokio::net::unix::pipe;

use crate::error::Error;
use crate::room::Room;

/// Our ends of the pipes that are a process's standard output and standard error.
#[derive(Debug)]
pub(crate) struct Pipes {
    out: Pipe,
    err: Pipe,
}

#[derive(Debug)]
struct Pipe {
    /// `None` once every writer has closed it.
    reader: Option<pipe::Receiver>,
    lines: Lines,
}

impl Pipes {
    /// Our ends, and the process's, in the order of its descriptors.
    pub(crate) fn new() -> Result<(Self, [OwnedFd; 2]), Error> {
        let ((out, stdout), (err, stderr)) = (Pipe::new()?, Pipe::new()?);
        Ok((Self { out, err }, [stdout, stderr]))
    }

    /// Waits until there may be something to take; for ever once both are closed.
    pub(crate) async fn readable(&self) {
        tokio::select! {
            () = self.out.readable() => {}
            () = self.err.readable() => {}
        }
    }

    /// Hands on what has come, with the stream it came on, 1 or 2: so much at a time that others have their turn. False when nothing had.
    pub(crate) fn take(&mut self, mut print: impl FnMut(u8, &str)) -> bool {
        let out = self.out.take(|text| print(1, text));
        self.err.take(|text| print(2, text)) || out
    }

    /// Hands on everything until both are closed, as long as there is room for it.
    pub(crate) async fn take_all(mut self, room: Option<Room>, mut print: impl FnMut(u8, &str)) {
        while self.out.reader.is_some() || self.err.reader.is_some() {
            self.readable().await;
            self.take(&mut print);
            if let Some(room) = &room {
                room.wait().await;
            }
        }
    }

    /// Hands on what is left of a line without an end: no more is waited for.
    pub(crate) fn finish(&mut self, mut print: impl FnMut(u8, &str)) {
        self.out.lines.finish(|text| print(1, text));
        self.err.lines.finish(|text| print(2, text));
    }
}

impl Pipe {
    fn new() -> Result<(Self, OwnedFd), Error> {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|error| Error::System(error.into()))?;
        let reader = pipe::Receiver::from_owned_fd(reader).map_err(Error::System)?;
        Ok((Self { reader: Some(reader), lines: Lines::default() }, writer))
    }

    async fn readable(&self) {
        match &self.reader {
            // An error shows when it is read.
            Some(reader) => drop(reader.readable().await),
            None => pending().await,
        }
    }

    fn take(&mut self, mut print: impl FnMut(&str)) -> bool {
        let mut some = false;
        for _ in 0..MOST_READS {
            let Some(reader) = &self.reader else { break };
            match reader.try_read_buf(self.lines.buffer()) {
                Ok(1..) => {
                    some = true;
                    self.lines.take(&mut print);
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Ok(_) | Err(_) => {
                    self.lines.finish(&mut print);
                    self.reader = None;
                }
            }
        }
        some
    }
}

/// Cuts bytes into whole lines of text.
#[derive(Debug, Default)]
struct Lines {
    rest: Vec<u8>,
}

/// A line without an end is passed on at this size, in bytes.
const LONGEST_LINE: usize = 64 * 1024;
/// Bytes read from a pipe at once.
const READ: usize = 16 * 1024;
/// How often in a row: a process may write as fast as it is read.
const MOST_READS: usize = 16;

impl Lines {
    /// The place to read further bytes into. It stays: most looks find nothing, and there is one with every batch of answers.
    fn buffer(&mut self) -> &mut Vec<u8> {
        self.rest.reserve(READ);
        &mut self.rest
    }

    /// Hands on everything up to the last newline.
    fn take(&mut self, mut print: impl FnMut(&str)) {
        let end = match self.rest.iter().rposition(|byte| *byte == b'\n') {
            Some(newline) => newline + 1,
            None if self.rest.len() > LONGEST_LINE => self.rest.len(),
            None => return,
        };
        print(&String::from_utf8_lossy(&self.rest[..end]));
        self.rest.drain(..end);
    }

    /// Hands on what is left.
    fn finish(&mut self, mut print: impl FnMut(&str)) {
        if !self.rest.is_empty() {
            print(&String::from_utf8_lossy(&self.rest));
            self.rest.clear();
        }
    }
}
