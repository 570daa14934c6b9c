//! Text on its way to a standard stream: it gathers in a buffer, and one thread writes it, so that nothing that serves ever waits for a
//! terminal or for the program at the other end of a pipe.
//!
//! Where much has gathered, what prints is to wait until there is room ([`Lines::room`]): a file, or a reader that keeps reading, loses nothing.
//! A reader that falls behind loses lines, and is told how many.

use std::fs::File;
use std::io::{Error, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use flash_workers::Room;
use tokio::sync::watch;

/// Where more bytes than these wait to be written, there is no room until they are.
const FULL: usize = 1 << 20;
/// Bytes that may wait for a reader that does not keep up.
const BEHIND: usize = 4 << 20;
/// Bytes that may wait for one that does: what was read of all that print before they wait.
const BOUND: usize = 64 << 20;
/// Bytes written at a time.
const PIECE: usize = 64 << 10;
/// Lines gather this long before they are written: nobody reads faster, and a busy server saves the switches between threads.
const GATHER: Duration = Duration::from_millis(5);
/// A reader keeps up as long as it takes a piece within this. A slower one is not waited for.
const READER: Duration = Duration::from_millis(100);
/// A file takes what it gets, but for a disk that hangs.
const DISK: Duration = Duration::from_secs(5);
/// At the end a reader that does not read is waited for this long.
const PATIENCE: Duration = Duration::from_secs(1);

/// One stream's buffer.
pub struct Lines {
    state: Mutex<State>,
    some: Condvar,
    done: Condvar,
    room: watch::Sender<bool>,
    patience: Duration,
}

struct State {
    text: Vec<u8>,
    /// Since when a piece is being written.
    writing: Option<Instant>,
    lost: u64,
    closed: bool,
    finished: bool,
}

impl Lines {
    /// Starts the thread that writes to `stream`, which ends up in `target`. It calls `failed` when a write fails, once.
    pub fn start(stream: impl Write + Send + 'static, target: impl AsFd, failed: impl FnOnce(&Error) + Send + 'static) -> Arc<Self> {
        let is_file =
            target.as_fd().try_clone_to_owned().and_then(|target| File::from(target).metadata()).is_ok_and(|found| found.is_file());
        let patience = if is_file { DISK } else { READER };
        let state = State { text: Vec::with_capacity(PIECE), writing: None, lost: 0, closed: false, finished: false };
        let (some, done, room) = (Condvar::new(), Condvar::new(), watch::Sender::new(true));
        let lines = Arc::new(Self { state: Mutex::new(state), some, done, room, patience });
        std::thread::spawn({
            let lines = lines.clone();
            move || lines.write_all(stream, failed)
        });
        lines
    }

    /// Whether there is room for more.
    pub fn room(&self) -> Room {
        Room { free: self.room.subscribe(), patience: self.patience }
    }

    /// Has `write` add about `bytes` of text, unless too much is waiting.
    pub fn add(&self, bytes: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.lock();
        if state.text.len() + bytes >= FULL {
            let slow = state.writing.is_some_and(|since| since.elapsed() >= self.patience);
            // Who waits for a reader that does not read would wait for ever.
            self.set_room(slow);
            if state.text.len() + bytes >= if slow { BEHIND } else { BOUND } {
                let mut text = Vec::new();
                write(&mut text);
                state.lost += text.iter().filter(|byte| **byte == b'\n').count() as u64;
                return;
            }
        }
        // The thread waits for the first line alone, and to wake it is a system call whether it waits or not.
        let first = state.text.is_empty();
        write(&mut state.text);
        drop(state);
        if first {
            self.some.notify_one();
        }
    }

    fn set_room(&self, free: bool) {
        self.room.send_if_modified(|before| std::mem::replace(before, free) != free);
    }

    /// Writes what is left, if somebody reads it.
    pub fn close(&self) {
        let until = Instant::now() + PATIENCE;
        let mut state = self.lock();
        state.closed = true;
        self.some.notify_one();
        while !state.finished {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return; // the thread ends with the process
            }
            (state, _) = self.done.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread: until closed, and then what is left.
    fn write_all(&self, mut stream: impl Write, failed: impl FnOnce(&Error)) {
        let mut failed = Some(failed);
        let mut batch = Vec::with_capacity(PIECE);
        loop {
            let mut state = self.lock();
            while state.text.is_empty() && !state.closed {
                state = self.some.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if !state.closed && state.text.len() < PIECE {
                drop(state);
                std::thread::sleep(GATHER);
                state = self.lock();
            }
            std::mem::swap(&mut batch, &mut state.text);
            let (lost, closed) = (std::mem::take(&mut state.lost), state.closed);
            drop(state);
            self.set_room(true);
            if lost > 0 {
                let (lines, are) = if lost == 1 { ("line", "is") } else { ("lines", "are") };
                let _ = writeln!(batch, "flash: {lost} {lines} {are} not shown: whoever reads them is too slow"); // to a Vec
            }
            let mut written = Ok(());
            for piece in batch.chunks(PIECE) {
                self.lock().writing = Some(Instant::now());
                written = stream.write_all(piece);
                if written.is_err() {
                    break;
                }
            }
            // A reader that went away (`flash run | head`), or a full disk, ends the lines and not the service.
            if let Err(error) = written.and_then(|()| stream.flush())
                && let Some(failed) = failed.take()
            {
                failed(&error);
            }
            self.lock().writing = None;
            batch.clear();
            batch.shrink_to(FULL);
            if closed {
                self.lock().finished = true;
                self.done.notify_all();
                return;
            }
        }
    }
}

/// Standard error, once something serves.
static ERRORS: OnceLock<Arc<Lines>> = OnceLock::new();

/// From now on nobody waits for standard error.
pub fn detach_errors() {
    ERRORS.get_or_init(|| Lines::start(anstream::stderr(), std::io::stderr(), |_| {})); // there is nobody else to tell
}

/// Writes to standard error, without colours where nobody would see them. Should that fail there is nobody to tell.
pub fn to_errors(text: &str) {
    match ERRORS.get() {
        Some(lines) => lines.add(text.len(), |buffer| buffer.extend_from_slice(text.as_bytes())),
        None => drop(anstream::stderr().write_all(text.as_bytes())),
    }
}

/// Writes what standard error has not got yet.
pub fn close_errors() {
    if let Some(lines) = ERRORS.get() {
        lines.close();
    }
}

/// Standard error as a stream, for `tracing`.
pub struct Errors;

impl Write for Errors {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        to_errors(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// A line of a flood, numbered.
    fn add(lines: &Lines, number: usize) {
        let line = format!("{number} {}\n", "x".repeat(1000));
        lines.add(line.len(), |text| text.extend_from_slice(line.as_bytes()));
    }

    #[test]
    fn a_line_after_a_rest_is_written_as_the_first_one_is() {
        let (mut reader, writer) = UnixStream::pair().expect("the system gives sockets");
        reader.set_read_timeout(Some(Duration::from_secs(20))).expect("it is a limit");
        let lines = Lines::start(writer.try_clone().expect("the system gives descriptors"), &writer, |_| {});
        for line in ["one\n", "two\n", "six\n"] {
            lines.add(line.len(), |text| text.extend_from_slice(line.as_bytes()));
            let mut read = [0; 4];
            reader.read_exact(&mut read).expect("it comes");
            assert_eq!(read, line.as_bytes());
        }
        lines.close();
    }

    #[tokio::test]
    async fn who_waits_for_room_loses_nothing() {
        let file = tempfile::tempfile().expect("the system gives files");
        let lines = Lines::start(file.try_clone().expect("the system gives descriptors"), &file, |_| {});
        let mut free = lines.room().free;
        // Several times what may wait.
        let count = BOUND / 1000 * 2;
        let mut waits = 0;
        for number in 0..count {
            add(&lines, number);
            if !*free.borrow() {
                waits += 1;
                free.wait_for(|free| *free).await.expect("the lines are there");
            }
        }
        assert!(waits > 0);
        lines.close();
        let mut written = String::new();
        std::io::Seek::rewind(&mut &file).expect("it is a file");
        (&file).read_to_string(&mut written).expect("it is text");
        let numbers = written.lines().map(|line| line.split(' ').next().and_then(|number| number.parse().ok()));
        assert!(numbers.eq((0..count).map(Some)));
    }

    #[test]
    fn a_reader_that_does_not_read_is_not_waited_for_and_is_told_how_many_lines_it_has_not_got() {
        let (mut reader, writer) = UnixStream::pair().expect("the system gives sockets");
        let lines = Lines::start(writer.try_clone().expect("the system gives descriptors"), &writer, |_| {});
        // More than its socket takes, and than may wait.
        let mut count = 0;
        while lines.lock().lost == 0 || !*lines.room().free.borrow() {
            add(&lines, count);
            count += 1;
        }
        for _ in 0..2 {
            lines.add(BEHIND, |text| text.extend_from_slice(b"two\nlines\n"));
        }
        let lost = lines.lock().lost;
        assert!(lost >= 5, "{lost}");
        let reading = std::thread::spawn(move || {
            let mut read = String::new();
            reader.read_to_string(&mut read).expect("it is text");
            read
        });
        lines.close();
        drop((lines, writer));
        let read = reading.join().expect("it does not panic");
        let told = format!("flash: {lost} lines are not shown: whoever reads them is too slow\n");
        assert!(read.contains(&told), "{}", &read[read.len().saturating_sub(500)..]);
        assert_eq!(read.lines().count() as u64 + lost, count as u64 + 4 + 1);
    }

    #[test]
    fn a_stream_that_fails_is_told_once() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::StorageFull.into())
            }

            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let (told, heard) = std::sync::mpsc::channel();
        let lines = Lines::start(Full, std::io::stderr(), move |error| told.send(error.kind()).expect("the test is there"));
        lines.add(4, |text| text.extend_from_slice(b"one\n"));
        assert_eq!(heard.recv(), Ok(std::io::ErrorKind::StorageFull));
        lines.add(4, |text| text.extend_from_slice(b"two\n"));
        lines.close();
        assert!(heard.recv().is_err(), "it is told once");
    }
}
