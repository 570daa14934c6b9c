//! What `flash run` shows while it serves: a line a request, and what functions print.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use flash_gateway::Finished;
use flash_workers::Printed;
use http::StatusCode;
use jiff::ZonedDateTime;

use crate::lines::Lines;

/// Cloneable; the lines of all clones go the same way.
#[derive(Clone)]
pub struct Log {
    inner: Arc<Inner>,
}

struct Inner {
    lines: Arc<Lines>,
    clock: Mutex<Clock>,
    colour: bool,
    /// Whether lines name their endpoint: with one alone they need not.
    several: AtomicBool,
}

/// The local time of day, worked out once a second.
struct Clock {
    text: String,
    until: Instant,
}

/// Writes what is left when it is dropped.
pub struct Writer(Arc<Lines>);

impl Log {
    /// A log to standard output.
    pub fn start() -> (Self, Writer) {
        let colour = anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never;
        let clock = Mutex::new(Clock { text: String::new(), until: Instant::now() });
        let lines = Lines::start(io::stdout());
        let writer = Writer(lines.clone());
        (Self { inner: Arc::new(Inner { lines, clock, colour, several: AtomicBool::new(false) }) }, writer)
    }

    /// From now on lines name their endpoint, or no longer.
    pub fn name_endpoints(&self, several: bool) {
        self.inner.several.store(several, Ordering::Relaxed);
    }

    /// Something that `flash` itself has done, in a line with the time.
    pub fn note(&self, line: &str) {
        self.inner.lines.add(line.len(), |text| {
            self.tell_time(text);
            text.extend_from_slice(format!(" {line}\n").as_bytes());
        });
    }

    /// Whole lines, as they are but for colours that nobody would see.
    pub fn text(&self, lines: &str) {
        self.inner.lines.add(lines.len(), |text| {
            if self.inner.colour {
                text.extend_from_slice(lines.as_bytes());
            } else {
                text.extend(anstream::adapter::strip_bytes(lines.as_bytes()).flatten());
            }
        });
    }

    /// A request was answered.
    pub fn request(&self, finished: &Finished<'_>) {
        self.inner.lines.add(finished.path.len(), |text| {
            self.tell_time(text);
            let (start, end) = if self.inner.colour { (colour(finished.status), "\x1b[0m") } else { ("", "") };
            let millis = finished.elapsed.as_secs_f64() * 1e3;
            // Writing to a Vec does not fail.
            let _ = write!(text, " #{:x}  {} ", finished.tag, finished.method);
            push_printable(text, finished.path);
            let _ = writeln!(text, "  {start}{}{end}  {millis:.1} ms", finished.status.as_u16());
        });
    }

    /// A function, or a module while it was imported, printed something.
    pub fn printed(&self, printed: &Printed<'_>) {
        self.inner.lines.add(printed.text.len(), |text| {
            for line in printed.text.lines() {
                if let Some(endpoint) = printed.endpoint.filter(|_| self.inner.several.load(Ordering::Relaxed)) {
                    let _ = write!(text, "{endpoint} ");
                }
                if let Some(tag) = printed.tag {
                    let _ = write!(text, "#{tag:x} ");
                }
                let _ = writeln!(text, "{line}");
            }
        });
    }

    fn tell_time(&self, text: &mut Vec<u8>) {
        let mut clock = self.inner.clock.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if now >= clock.until {
            let local = ZonedDateTime::now();
            clock.text = local.strftime("%H:%M:%S").to_string();
            clock.until = now + Duration::from_nanos(1_000_000_000 - local.subsec_nanosecond().unsigned_abs() as u64);
        }
        text.extend_from_slice(clock.text.as_bytes());
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.close();
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
