//! What `flash run` shows while it serves: a line a request, and what functions print.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use flash_gateway::{Abridged, Finished};
use flash_workers::{Printed, Room};
use http::StatusCode;
use jiff::ZonedDateTime;

use crate::lines::Lines;
use crate::report::{Trouble, warn};

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
    jobs: OnceLock<Tagged>,
}

/// The id of the job whose prints have this tag; `None` where they are a request's.
type Tagged = Box<dyn Fn(u64) -> Option<String> + Send + Sync>;

/// Callers of the endpoints have nothing to do with who reads the log: the end of `flash run | head` is not theirs.
fn serves_on(error: &io::Error) {
    let what = "the log cannot be written to standard output; the endpoints are served without it";
    warn(&Trouble::new(what, error.to_string(), "end it with Ctrl-C, or SIGTERM, if it is not meant to serve on"));
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
        let lines = Lines::start(io::stdout(), io::stdout(), serves_on);
        let writer = Writer(lines.clone());
        (Self { inner: Arc::new(Inner { lines, clock, colour, several: AtomicBool::new(false), jobs: OnceLock::new() }) }, writer)
    }

    /// Whether there is room for more.
    pub fn room(&self) -> Room {
        self.inner.lines.room()
    }

    /// From now on lines name their endpoint, or no longer.
    pub fn name_endpoints(&self, several: bool) {
        self.inner.several.store(several, Ordering::Relaxed);
    }

    /// From now on what jobs print is told from what requests do. Only the first call has an effect.
    pub fn know_jobs(&self, tagged: Tagged) {
        let _ = self.inner.jobs.set(tagged); // as documented
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
        let [method, path] = [finished.method.as_str(), finished.path].map(Abridged::from);
        self.inner.lines.add(path.start.len(), |text| {
            self.tell_time(text);
            let (start, end) = if self.inner.colour { (colour(finished.status), "\x1b[0m") } else { ("", "") };
            // By hand, for a line is written with each request: `write!` takes ten times as many instructions.
            text.extend_from_slice(b" #");
            push_digits::<16>(text, finished.tag);
            text.extend_from_slice(b"  ");
            push_abridged(text, method);
            text.push(b' ');
            push_abridged(text, path);
            text.extend_from_slice(b"  ");
            text.extend_from_slice(start.as_bytes());
            text.extend_from_slice(finished.status.as_str().as_bytes());
            text.extend_from_slice(end.as_bytes());
            text.extend_from_slice(b"  ");
            push_millis(text, finished.elapsed);
            text.extend_from_slice(b" ms\n");
        });
    }

    /// A function, or a module while it was imported, printed something.
    pub fn printed(&self, printed: &Printed<'_>) {
        let job = printed.tag.and_then(|tag| self.inner.jobs.get()?(tag));
        self.inner.lines.add(printed.text.len(), |text| {
            for line in printed.text.lines() {
                if let Some(endpoint) = printed.endpoint.filter(|_| self.inner.several.load(Ordering::Relaxed)) {
                    let _ = write!(text, "{endpoint} ");
                }
                if let Some(job) = &job {
                    let _ = write!(text, "{job} ");
                } else if let Some(tag) = printed.tag {
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

/// Milliseconds with one decimal.
fn push_millis(text: &mut Vec<u8>, elapsed: Duration) {
    let tenths = (elapsed.as_micros() + 50) / 100;
    push_digits::<10>(text, u64::try_from(tenths / 10).unwrap_or(u64::MAX));
    text.extend_from_slice(&[b'.', b'0' + (tenths % 10) as u8]);
}

fn push_digits<const BASE: u64>(text: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; u64::BITS as usize];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b"0123456789abcdef"[(number % BASE) as usize];
        number /= BASE;
        if number == 0 {
            return text.extend_from_slice(&digits[first..]);
        }
    }
}

fn push_abridged(text: &mut Vec<u8>, abridged: Abridged<'_>) {
    push_printable(text, abridged.start);
    if let Some(bytes) = abridged.of {
        let _ = write!(text, "...({bytes} bytes)"); // as `Abridged` is shown; a `Vec` takes all
    }
}

/// A path comes from outside: nothing in it may steer a terminal.
fn push_printable(text: &mut Vec<u8>, path: &str) {
    if path.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.extend_from_slice(path.as_bytes());
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut text = Vec::new();
        push(&mut text);
        String::from_utf8(text).expect("it is text")
    }

    #[test]
    fn times_are_rounded_to_a_tenth_of_a_millisecond() {
        for (micros, expected) in
            [(0, "0.0"), (49, "0.0"), (50, "0.1"), (949, "0.9"), (950, "1.0"), (12_345, "12.3"), (30_000_000, "30000.0")]
        {
            assert_eq!(pushed(|text| push_millis(text, Duration::from_micros(micros))), expected);
        }
    }

    #[test]
    fn tags_are_hexadecimal() {
        for (tag, expected) in [(0, "0"), (9, "9"), (255, "ff"), (u64::MAX, "ffffffffffffffff")] {
            assert_eq!(pushed(|text| push_digits::<16>(text, tag)), expected);
        }
    }

    #[test]
    fn what_would_steer_a_terminal_is_shown_by_its_escape() {
        for (path, expected) in [("/a b~", "/a b~"), ("/\x1b[31m", "/\\u{1b}[31m"), ("/ä\u{85}", "/ä\\u{85}"), ("/\x7f", "/\\u{7f}")] {
            assert_eq!(pushed(|text| push_printable(text, path)), expected);
        }
    }
}
