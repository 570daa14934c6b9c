//! Text on its way to a standard stream: it gathers in a buffer, and one thread writes it, so that nothing that serves ever waits for a
//! terminal or for the program at the other end of a pipe. A reader that falls behind loses lines, and is told how many.

use std::io::{Error, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Bytes that may wait to be written.
const BOUND: usize = 4 << 20;
/// Lines gather this long before they are written: nobody reads faster, and a busy server saves the switches between threads.
const GATHER: Duration = Duration::from_millis(5);
/// At the end a reader that does not read is waited for this long.
const PATIENCE: Duration = Duration::from_secs(1);

/// One stream's buffer.
pub struct Lines {
    state: Mutex<State>,
    some: Condvar,
    done: Condvar,
}

struct State {
    text: Vec<u8>,
    lost: u64,
    closed: bool,
    finished: bool,
}

impl Lines {
    /// Starts the thread that writes to `stream`. It calls `failed` when a write fails, once.
    pub fn start(stream: impl Write + Send + 'static, failed: impl FnOnce(&Error) + Send + 'static) -> Arc<Self> {
        let state = State { text: Vec::with_capacity(64 * 1024), lost: 0, closed: false, finished: false };
        let lines = Arc::new(Self { state: Mutex::new(state), some: Condvar::new(), done: Condvar::new() });
        std::thread::spawn({
            let lines = lines.clone();
            move || lines.write_all(stream, failed)
        });
        lines
    }

    /// Has `write` add about `bytes` of text, unless too much is waiting.
    pub fn add(&self, bytes: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.lock();
        if state.text.len() + bytes >= BOUND {
            state.lost += 1;
            return;
        }
        // The thread waits for the first line alone, and to wake it is a system call whether it waits or not.
        let first = state.text.is_empty();
        write(&mut state.text);
        drop(state);
        if first {
            self.some.notify_one();
        }
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
        let mut batch = Vec::with_capacity(64 * 1024);
        loop {
            let mut state = self.lock();
            while state.text.is_empty() && !state.closed {
                state = self.some.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if !state.closed {
                drop(state);
                std::thread::sleep(GATHER);
                state = self.lock();
            }
            std::mem::swap(&mut batch, &mut state.text);
            let (lost, closed) = (std::mem::take(&mut state.lost), state.closed);
            drop(state);
            if lost > 0 {
                let _ = writeln!(batch, "flash: {lost} lines are not shown: whoever reads them is too slow"); // to a Vec
            }
            // A reader that went away (`flash run | head`), or a full disk, ends the lines and not the service.
            if let Err(error) = stream.write_all(&batch).and_then(|()| stream.flush())
                && let Some(failed) = failed.take()
            {
                failed(&error);
            }
            batch.clear();
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
    ERRORS.get_or_init(|| Lines::start(anstream::stderr(), |_| {})); // there is nobody else to tell
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

    #[test]
    fn a_line_after_a_rest_is_written_as_the_first_one_is() {
        let (mut reader, writer) = UnixStream::pair().expect("the system gives sockets");
        reader.set_read_timeout(Some(Duration::from_secs(20))).expect("it is a limit");
        let lines = Lines::start(writer, |_| {});
        for line in ["one\n", "two\n", "six\n"] {
            lines.add(line.len(), |text| text.extend_from_slice(line.as_bytes()));
            let mut read = [0; 4];
            reader.read_exact(&mut read).expect("it comes");
            assert_eq!(read, line.as_bytes());
        }
        lines.close();
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
        let lines = Lines::start(Full, move |error| told.send(error.kind()).expect("the test is there"));
        lines.add(4, |text| text.extend_from_slice(b"one\n"));
        assert_eq!(heard.recv(), Ok(std::io::ErrorKind::StorageFull));
        lines.add(4, |text| text.extend_from_slice(b"two\n"));
        lines.close();
        assert!(heard.recv().is_err(), "it is told once");
    }
}
