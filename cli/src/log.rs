//! What `flash run` shows while it serves: a line a request, and what functions print.
//!
//! Both come from the request path, which must never wait for a terminal: lines gather in a buffer, and one thread writes them. A
//! reader that falls behind loses lines, and is told how many.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use flash_gateway::Finished;
use flash_workers::Printed;
use http::StatusCode;
use jiff::ZonedDateTime;

/// Bytes that may wait to be written.
const BOUND: usize = 4 << 20;
/// Lines gather this long before they are written: nobody reads faster, and a busy server saves the switches between threads.
const GATHER: Duration = Duration::from_millis(5);

/// Cloneable; the lines of all clones go the same way.
#[derive(Clone)]
pub struct Log {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    some: Condvar,
    colour: bool,
    /// Whether lines name their endpoint: with one alone they need not.
    several: AtomicBool,
}

struct State {
    text: Vec<u8>,
    clock: Clock,
    lost: u64,
    closed: bool,
}

/// The local time of day, worked out once a second.
struct Clock {
    text: String,
    until: Instant,
}

/// Writes what is left when it is dropped.
pub struct Writer {
    log: Log,
    thread: Option<JoinHandle<()>>,
}

impl Log {
    /// A log to standard output.
    pub fn start() -> (Self, Writer) {
        let colour = anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never;
        let clock = Clock { text: String::new(), until: Instant::now() };
        let state = Mutex::new(State { text: Vec::with_capacity(64 * 1024), clock, lost: 0, closed: false });
        let log = Self { inner: Arc::new(Inner { state, some: Condvar::new(), colour, several: AtomicBool::new(false) }) };
        let thread = std::thread::spawn({
            let log = log.clone();
            move || log.write_all()
        });
        (log.clone(), Writer { log, thread: Some(thread) })
    }

    /// From now on lines name their endpoint, or no longer.
    pub fn name_endpoints(&self, several: bool) {
        self.inner.several.store(several, Ordering::Relaxed);
    }

    /// Something that `flash` itself has done, in a line with the time.
    pub fn note(&self, line: &str) {
        let mut state = self.lock();
        state.tell_time();
        state.text.extend_from_slice(format!(" {line}\n").as_bytes());
        self.wake(state);
    }

    /// Whole lines, as they are but for colours that nobody would see.
    pub fn text(&self, lines: &str) {
        let mut state = self.lock();
        if self.inner.colour {
            state.text.extend_from_slice(lines.as_bytes());
        } else {
            state.text.extend(anstream::adapter::strip_bytes(lines.as_bytes()).flatten());
        }
        self.wake(state);
    }

    /// A request was answered.
    pub fn request(&self, finished: &Finished<'_>) {
        let mut state = self.lock();
        if !state.has_room(finished.path.len()) {
            return;
        }
        state.tell_time();
        let State { text, .. } = &mut *state;
        let (start, end) = if self.inner.colour { (colour(finished.status), "\x1b[0m") } else { ("", "") };
        let millis = finished.elapsed.as_secs_f64() * 1e3;
        // Writing to a Vec does not fail.
        let _ = write!(text, " #{:x}  {} ", finished.tag, finished.method);
        push_printable(text, finished.path);
        let _ = writeln!(text, "  {start}{}{end}  {millis:.1} ms", finished.status.as_u16());
        self.wake(state);
    }

    /// A function, or a module while it was imported, printed something.
    pub fn printed(&self, printed: &Printed<'_>) {
        let mut state = self.lock();
        if !state.has_room(printed.text.len()) {
            return;
        }
        for line in printed.text.lines() {
            let State { text, .. } = &mut *state;
            if let Some(endpoint) = printed.endpoint.filter(|_| self.inner.several.load(Ordering::Relaxed)) {
                let _ = write!(text, "{endpoint} ");
            }
            if let Some(tag) = printed.tag {
                let _ = write!(text, "#{tag:x} ");
            }
            let _ = writeln!(text, "{line}");
        }
        self.wake(state);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, state: MutexGuard<'_, State>) {
        drop(state);
        self.inner.some.notify_one();
    }

    /// The thread: until closed, and then what is left.
    fn write_all(&self) {
        let mut batch = Vec::with_capacity(64 * 1024);
        loop {
            let mut state = self.lock();
            while state.text.is_empty() && !state.closed {
                state = self.inner.some.wait(state).unwrap_or_else(PoisonError::into_inner);
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
                let _ = writeln!(batch, "flash: {lost} lines are not shown: whoever reads them is too slow");
            }
            // A reader that went away (`flash run | head`) ends the lines, not the service.
            let _ = io::stdout().write_all(&batch).and_then(|()| io::stdout().flush());
            batch.clear();
            if closed {
                return;
            }
        }
    }
}

impl State {
    fn has_room(&mut self, bytes: usize) -> bool {
        let room = self.text.len() + bytes < BOUND;
        self.lost += u64::from(!room);
        room
    }

    fn tell_time(&mut self) {
        let now = Instant::now();
        if now >= self.clock.until {
            let local = ZonedDateTime::now();
            self.clock.text = local.strftime("%H:%M:%S").to_string();
            self.clock.until = now + Duration::from_nanos(1_000_000_000 - local.subsec_nanosecond().unsigned_abs() as u64);
        }
        self.text.extend_from_slice(self.clock.text.as_bytes());
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.log.lock().closed = true;
        self.log.inner.some.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it does not panic
        }
    }
}

/// A path comes from outside: nothing in it may steer a terminal.
fn push_printable(text: &mut Vec<u8>, path: &str) {
    for character in path.chars() {
        if character.is_control() {
            text.extend(character.escape_default().map(|character| character as u8));
        } else {
            text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

fn colour(status: StatusCode) -> &'static str {
    match status.as_u16() {
        ..=399 => "\x1b[32m",
        400..=499 => "\x1b[33m",
        _ => "\x1b[31m",
    }
}
