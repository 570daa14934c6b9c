//! What endpoints print, the requests that they answer, and the server's remarks: in files, a line of JSON each.
//!
//! Lines gather in a queue that one thread writes to the files, so that no request waits for a disk. Where much has gathered, what prints waits until
//! there is room ([`Logs::room`]); where the disk hangs, lines are left out, and their number is told. Each endpoint has a file of its own, which is begun anew when it is long; a few before it are kept.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use flash_api::{LogLine, LogStream};
use flash_gateway::{Abridged, Finished, request_id};
use flash_store::Timestamp;
use flash_workers::{Printed, Room};
use tokio::sync::{broadcast, watch};

use crate::clock;

/// A file of an endpoint is begun anew when it has this many bytes.
const LONGEST: u64 = 8 << 20;
/// So many files before it are kept.
const KEPT: usize = 4;
/// Where more bytes of lines than these wait for the disk, there is no room until they are written.
const FULL: usize = 8 << 20;
/// Bytes of lines that may wait at most: what was read of all that print before they wait.
const WAITING: usize = 64 << 20;
/// For so long lines gather: to wake the thread for each, and to write each by itself, costs as much as a small request.
const GATHER: Duration = Duration::from_millis(2);
/// Unless they have this many bytes before.
const MANY: usize = 256 << 10;
/// Nothing waits for longer than this for a disk that hangs.
const PATIENCE: Duration = Duration::from_secs(5);
/// A line is cut after so many bytes.
const LINE: usize = 16 << 10;
/// Lines that a follower may fall behind by.
const BEHIND: usize = 4096;
/// The name of the file for what belongs to no endpoint; no endpoint can have it.
const NONE: &str = "_server";

/// All logs. Cloneable handle.
#[derive(Clone)]
pub struct Logs(Arc<Inner>);

/// Writes what is left when it is dropped.
pub struct Writer {
    logs: Logs,
    thread: Option<JoinHandle<()>>,
}

struct Inner {
    /// Distinguishes the ids of this process's requests.
    epoch: u32,
    queue: Mutex<Queue>,
    filled: Condvar,
    room: watch::Sender<bool>,
    files: Mutex<Files>,
    live: broadcast::Sender<Arc<LogLine>>,
    /// Tells which job a tag is of.
    jobs: OnceLock<Tagged>,
}

/// Tells which job a tag is of, if it is one's.
pub type Tagged = Arc<dyn Fn(u64) -> Option<String> + Send + Sync>;

#[derive(Default)]
struct Queue {
    lines: Vec<Line>,
    bytes: usize,
    lost: u64,
    closed: bool,
}

/// A line, as it is put together where time is short.
struct Line {
    time: Timestamp,
    endpoint: String,
    stream: LogStream,
    tag: Option<u64>,
    text: String,
}

struct Files {
    folder: PathBuf,
    open: HashMap<String, (File, u64)>,
    /// Whether it was told that they cannot be written.
    failing: bool,
}

/// What there was at some moment, and all that comes after it.
pub(crate) struct Reading {
    /// By endpoint, the oldest file first, each with its length then.
    pub(crate) files: Vec<Vec<io::Take<File>>>,
    pub(crate) live: broadcast::Receiver<Arc<LogLine>>,
}

impl Logs {
    /// In this folder. `epoch` is the gateway's.
    pub fn start(folder: PathBuf, epoch: u32) -> (Self, Writer) {
        let files = Mutex::new(Files { folder, open: HashMap::new(), failing: false });
        let (queue, filled, room) = (Mutex::default(), Condvar::new(), watch::Sender::new(true));
        let inner = Inner { epoch, queue, filled, room, files, live: broadcast::Sender::new(BEHIND), jobs: OnceLock::new() };
        let logs = Self(Arc::new(inner));
        let writing = logs.clone();
        let thread = std::thread::Builder::new().name("logs".into()).spawn(move || writing.write());
        let thread = thread.inspect_err(|error| tracing::error!(%error, "logs are not written")).ok();
        (logs.clone(), Writer { logs, thread })
    }

    /// Whether there is room for more.
    pub fn room(&self) -> Room {
        Room { free: self.0.room.subscribe(), patience: PATIENCE }
    }

    /// Names lines of jobs by their jobs. Only the first call does anything.
    pub fn know_jobs(&self, tagged: Tagged) {
        let _ = self.0.jobs.set(tagged); // as documented
    }

    /// A request was answered.
    pub fn request(&self, finished: &Finished<'_>) {
        let below = |root: &str| finished.path.strip_prefix(root).and_then(|rest| rest.strip_prefix('/'));
        let Some(path) = below("/lb").or_else(|| below(flash_jobs::ROOT)) else { return };
        let (endpoint, path) = path.split_at(path.find('/').unwrap_or(path.len()));
        // Whoever asks for endpoints that are not there must not fill the disk with their logs.
        if !is_id(endpoint) || finished.status == http::StatusCode::NOT_FOUND && !self.knows(endpoint) {
            return;
        }
        let millis = finished.elapsed.as_secs_f64() * 1e3;
        let [method, path] = [finished.method.as_str(), path].map(Abridged::from);
        let text = format!("{method} {path} {} {millis:.1} ms", finished.status.as_u16());
        self.add(endpoint, LogStream::Request, Some(finished.tag), text);
    }

    /// A process of an endpoint printed something.
    pub fn printed(&self, printed: &Printed<'_>) {
        let stream = if printed.stream == 2 { LogStream::Stderr } else { LogStream::Stdout };
        for line in printed.text.lines() {
            self.add(printed.endpoint.unwrap_or_default(), stream, printed.tag, line.to_owned());
        }
    }

    /// The server has something to say of an endpoint.
    pub fn note(&self, endpoint: &str, text: &str) {
        for line in text.lines() {
            self.add(endpoint, LogStream::Server, None, line.to_owned());
        }
    }

    /// Removes the logs of all but these endpoints.
    pub fn keep(&self, known: impl Fn(&str) -> bool) -> io::Result<()> {
        let mut files = self.files();
        files.open.retain(|id, _| id == NONE || known(id));
        for entry in fs::read_dir(&files.folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let id = name.rsplit_once(".jsonl").map_or(name, |(id, _)| id);
            if id != NONE && !known(id) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Opens what there is of an endpoint, or of all.
    pub(crate) fn read(&self, endpoint: Option<&str>) -> io::Result<Reading> {
        let files = self.files();
        let ids = match endpoint {
            Some(id) => vec![id.to_owned()],
            None => {
                let names = fs::read_dir(&files.folder)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
                names.filter_map(|name| name.strip_suffix(".jsonl").map(str::to_owned)).collect()
            }
        };
        let open = |id: &String| {
            let parts = (0..=KEPT).rev().filter_map(|age| File::open(files.path(id, age)).ok());
            parts.filter_map(|file| Some(file.metadata().ok()?.len()).map(|length| file.take(length))).collect()
        };
        Ok(Reading { files: ids.iter().map(open).collect(), live: self.0.live.subscribe() })
    }

    fn add(&self, endpoint: &str, stream: LogStream, tag: Option<u64>, mut text: String) {
        if text.len() > LINE {
            text.truncate((0..=LINE).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default());
            text.push_str(" ...");
        }
        let line = Line { time: clock::now(), endpoint: endpoint.to_owned(), stream, tag, text };
        let mut queue = self.queue();
        let bytes = line.text.len() + size_of::<Line>();
        if queue.bytes + bytes > WAITING {
            queue.lost += 1;
            return;
        }
        queue.bytes += bytes;
        if queue.bytes > FULL {
            self.set_room(false);
        }
        queue.lines.push(line);
        if queue.lines.len() == 1 {
            self.0.filled.notify_one();
        }
    }

    /// Until it is closed, and all is written.
    fn write(&self) {
        let mut lines = Vec::new();
        loop {
            let mut queue = self.queue();
            while queue.lines.is_empty() && !queue.closed {
                queue = self.0.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            if !queue.closed && queue.bytes < MANY {
                drop(queue);
                std::thread::sleep(GATHER);
                queue = self.queue();
            }
            std::mem::swap(&mut queue.lines, &mut lines);
            let (lost, closed) = (std::mem::take(&mut queue.lost), queue.closed);
            queue.bytes = 0;
            drop(queue);
            self.set_room(true);
            if lost > 0 {
                let (time, text) = (clock::now(), format!("{lost} lines are not here: the disk could not keep up"));
                lines.push(Line { time, endpoint: String::new(), stream: LogStream::Server, tag: None, text });
            }
            self.write_batch(lines.drain(..));
            if closed {
                return;
            }
        }
    }

    /// The id of a request, or of a job.
    fn named(&self, tag: u64) -> String {
        let job = self.0.jobs.get().and_then(|jobs| jobs(tag));
        job.unwrap_or_else(|| request_id(self.0.epoch, tag))
    }

    fn write_batch(&self, lines: impl Iterator<Item = Line>) {
        let mut texts: HashMap<String, Vec<u8>> = HashMap::new();
        let lines: Vec<_> = lines
            .map(|line| LogLine {
                time: clock::text(line.time),
                endpoint: line.endpoint,
                stream: line.stream,
                request: line.tag.map(|tag| self.named(tag)),
                text: line.text,
            })
            .collect();
        for line in &lines {
            let text = texts.entry(line.endpoint.clone()).or_default();
            serde_json::to_writer(&mut *text, line).expect("it is plain data, and memory takes it");
            text.push(b'\n');
        }
        // Together with the files: who begins to follow finds each line in the one or the other.
        let mut files = self.files();
        for (endpoint, text) in texts {
            let id = if endpoint.is_empty() { NONE } else { &endpoint };
            let written = files.append(id, &text);
            if let Err(error) = &written
                && !files.failing
            {
                tracing::error!(endpoint, %error, "logs cannot be written; what is printed meanwhile is lost");
            }
            files.failing = written.is_err();
        }
        if self.0.live.receiver_count() > 0 {
            for line in lines {
                let _ = self.0.live.send(Arc::new(line)); // whoever followed may just have left
            }
        }
    }

    fn set_room(&self, free: bool) {
        self.0.room.send_if_modified(|before| std::mem::replace(before, free) != free);
    }

    fn knows(&self, endpoint: &str) -> bool {
        self.files().open.contains_key(endpoint)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.0.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files {
    /// The file of an endpoint, or one before it.
    fn path(&self, id: &str, age: usize) -> PathBuf {
        self.folder.join(if age == 0 { format!("{id}.jsonl") } else { format!("{id}.jsonl.{age}") })
    }

    fn append(&mut self, id: &str, text: &[u8]) -> io::Result<()> {
        if !self.open.contains_key(id) {
            let file = OpenOptions::new().append(true).create(true).mode(0o600).open(self.path(id, 0))?;
            let length = file.metadata()?.len();
            self.open.insert(id.to_owned(), (file, length));
        }
        let Some((file, length)) = self.open.get_mut(id) else { return Ok(()) };
        file.write_all(text)?;
        *length += text.len() as u64;
        if *length >= LONGEST {
            self.open.remove(id);
            for age in (0..KEPT).rev() {
                match fs::rename(self.path(id, age), self.path(id, age + 1)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.logs.queue().closed = true;
        self.logs.0.filled.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic in it was reported
        }
    }
}

/// Whether it can be an endpoint's id, and so the name of a file here.
fn is_id(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !text.is_empty() && text.len() <= 255 - ".jsonl.9".len() && text.bytes().all(legal) && text.as_bytes()[0].is_ascii_alphanumeric()
}

#[cfg(test)]
mod tests {
    use std::io::BufRead as _;

    use super::*;

    fn texts(reading: Reading) -> Vec<String> {
        let lines = reading.files.into_iter().flatten().flat_map(|file| io::BufReader::new(file).lines());
        lines.map(|line| serde_json::from_str::<LogLine>(&line.unwrap()).unwrap().text).collect()
    }

    #[test]
    fn lines_are_there_in_order_and_files_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let (logs, writer) = Logs::start(folder.path().to_owned(), 0);
        let long = "x".repeat(LINE);
        let count = (KEPT + 3) * LONGEST as usize / LINE;
        for number in 0..count {
            logs.note("api", &format!("{number} {long}"));
            // So that none is left out.
            while !*logs.room().free.borrow() {
                std::thread::yield_now();
            }
        }
        logs.note("other", "hello");
        drop(writer);
        let found = texts(logs.read(Some("api")).unwrap());
        let numbers: Vec<usize> = found.iter().map(|text| text.split(' ').next().unwrap().parse().unwrap()).collect();
        assert_eq!(numbers, ((count - numbers.len())..count).collect::<Vec<_>>());
        assert_eq!(texts(logs.read(Some("other")).unwrap()), ["hello"]);
        let files = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
        let (mut all, mut number) = (0, 0);
        for length in files {
            all += length;
            number += 1;
        }
        assert!(number <= KEPT + 3 && all < (KEPT as u64 + 2) * LONGEST + FULL as u64, "{number} files, {all} bytes");
        logs.keep(|id| id == "api").unwrap();
        assert_eq!(texts(logs.read(Some("other")).unwrap()), [""; 0]);
    }

    #[test]
    fn only_ids_name_files() {
        for text in ["a", "a-b_c.1", "A"] {
            assert!(is_id(text), "{text}");
        }
        for text in ["", ".", "..", "_server", "a/b", "%2e", "ä", &"a".repeat(248)] {
            assert!(!is_id(text), "{text}");
        }
    }
}
