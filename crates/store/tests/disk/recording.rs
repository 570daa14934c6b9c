//! What `strace` has written down: system calls, when each began and when it ended.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A call that changes the disk, has it keep something, or says something.
#[derive(Clone, Debug)]
pub enum Call {
    /// A file or folder of this name is made.
    Make {
        path: PathBuf,
        folder: bool,
    },
    /// What the file has is gone.
    Empty {
        path: PathBuf,
    },
    /// Bytes are written; at its end, where no place is given.
    Write {
        path: PathBuf,
        at: Option<u64>,
        bytes: Vec<u8>,
    },
    Truncate {
        path: PathBuf,
        length: u64,
    },
    /// What a file has, or which names a folder has, is to stay.
    Sync {
        path: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
    Say(String),
}

/// Between its two moments a call has happened, has not, or has in part.
#[derive(Debug)]
pub enum Moment {
    Begin(usize, Call),
    End(usize, Call),
}

/// All moments in their order, of files in this folder.
pub fn read(log: &Path, home: &Path) -> Vec<Moment> {
    let text = std::fs::read_to_string(log).unwrap();
    let (mut open, mut calls): (HashMap<&str, (usize, String)>, usize) = (HashMap::new(), 0);
    // Where a call began in the order of moments; what it was is known at its end.
    let mut begun: HashMap<usize, usize> = HashMap::new();
    let mut placed: Vec<Option<Moment>> = Vec::new();
    for line in text.lines() {
        let (process, rest) = line.split_once(' ').expect("a process's number comes first");
        let rest = rest.trim_start();
        if rest.starts_with("+++") {
            continue;
        }
        let (number, whole) = if let Some(begin) = rest.strip_suffix(" <unfinished ...>") {
            calls += 1;
            open.insert(process, (calls, begin.to_owned()));
            begun.insert(calls, placed.len());
            placed.push(None);
            continue;
        } else if let Some(resumed) = rest.strip_prefix("<... ") {
            let Some((number, begin)) = open.remove(process) else { continue };
            let (_, end) = resumed.split_once(" resumed>").expect("a call that goes on");
            (number, begin + end)
        } else {
            calls += 1;
            begun.insert(calls, placed.len());
            placed.push(None);
            (calls, rest.to_owned())
        };
        if let Some(call) = parse(&whole, home) {
            placed[begun[&number]] = Some(Moment::Begin(number, call.clone()));
            placed.push(Some(Moment::End(number, call)));
        }
    }
    placed.into_iter().flatten().collect()
}

/// `None` where it failed, or is about something else.
fn parse(call: &str, home: &Path) -> Option<Call> {
    let (name, rest) = call.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(") = ").or_else(|| rest.rsplit_once(')'))?;
    let result = result.trim().trim_start_matches("= ");
    if result.starts_with('-') || result.starts_with('?') {
        return None;
    }
    assert!(!arguments.contains("\"..."), "a text was cut: {}", &call[..call.len().min(200)]);
    let arguments: Vec<&str> = arguments.split(", ").collect();
    let inside = |path: PathBuf| {
        let within = path.strip_prefix(home).ok()?.to_owned();
        let name = within.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        // The lock has nothing in it, and the index of the log is made anew after a crash.
        (name != "jobs.lock" && !name.ends_with("-shm")).then_some(within)
    };
    // "7</a/file>": its path, as the kernel knows it.
    let opened = |argument: &str| {
        let (_, path) = argument.split_once('<')?;
        let path = path.strip_suffix('>')?;
        Some(PathBuf::from(String::from_utf8(unescape(path)).ok()?))
    };
    let named = |argument: &str| Some(PathBuf::from(String::from_utf8(unescape(argument.trim_matches('"'))).ok()?));
    Some(match name {
        "write" if arguments[0].starts_with("1<") => {
            Call::Say(String::from_utf8_lossy(&unescape(arguments[1].trim_matches('"'))).into_owned())
        }
        "write" | "pwrite64" => {
            let path = inside(opened(arguments[0])?)?;
            let mut bytes = unescape(arguments[1].trim_matches('"'));
            bytes.truncate(result.parse().ok()?);
            Call::Write { path, at: arguments.get(3).map(|at| at.parse().expect("an offset")), bytes }
        }
        "ftruncate" => Call::Truncate { path: inside(opened(arguments[0])?)?, length: arguments[1].parse().ok()? },
        "fsync" | "fdatasync" => Call::Sync { path: inside(opened(arguments[0])?)? },
        "openat" => {
            let path = inside(named(arguments[1])?)?;
            match arguments[2] {
                flags if flags.contains("O_TRUNC") => Call::Empty { path },
                flags if flags.contains("O_CREAT") => Call::Make { path, folder: false },
                _ => return None,
            }
        }
        "mkdir" => Call::Make { path: inside(named(arguments[0])?)?, folder: true },
        "unlink" => Call::Remove { path: inside(named(arguments[0])?)? },
        other => {
            let touches = arguments.iter().any(|argument| opened(argument).or_else(|| named(argument)).and_then(inside).is_some());
            assert!(!touches, "a call that the disk's model does not know: {other}");
            return None;
        }
    })
}

fn unescape(text: &str) -> Vec<u8> {
    text.split("\\x").skip(1).map(|byte| u8::from_str_radix(byte, 16).expect("two digits")).collect()
}
