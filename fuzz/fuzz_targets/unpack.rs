//! An artifact of anybody: it is unpacked as a whole, below its folder and within limits, or refused with words and nothing is left.
//!
//! The first byte says what the rest is: an artifact as it is, or the archive in it, whose sums are made right, as whoever means harm
//! would make them.

#![no_main]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::LazyLock;

use flash_build::{Limits, Refused, unpack};
use flate2::{Compression, write::GzEncoder};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("the system has room for a folder");
    fs::write(folder.path().join("beside"), "of somebody else").expect("it can be written");
    folder
});

const LIMITS: Limits = Limits { entries: 20, file_bytes: 4096, total_bytes: 8192 };
/// Blocks of an archive.
const BLOCK: usize = 512;

fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else { return };
    let artifact = if kind % 2 == 0 { rest.to_owned() } else { compressed(&with_sums(rest)) };
    let into = FOLDER.path().join("tree");
    match unpack(&*artifact, &into, &LIMITS) {
        Ok(_) => {
            let (count, bytes) = found(&into);
            assert!(count <= 2 * LIMITS.entries && bytes <= LIMITS.total_bytes, "{count} files and folders, {bytes} bytes");
            assert_eq!(beside(), ["beside", "tree"]);
            fs::remove_dir_all(&into).expect("it is a folder of ours");
        }
        Err(Refused::Artifact(problems)) => {
            assert!(!problems.is_empty() && problems.iter().all(|problem| !problem.to_string().is_empty()));
            assert_eq!(beside(), ["beside"]);
        }
        // What is wrong with an artifact is no fault of the system's.
        Err(Refused::System(error)) => panic!("{error}"),
    }
});

/// The headers' sums made right, as far as each says where the next one is.
fn with_sums(archive: &[u8]) -> Vec<u8> {
    const SUM: std::ops::Range<usize> = 148..156;
    let mut archive = archive.to_owned();
    let mut at = 0;
    while let Some(header) = archive.get_mut(at..at + BLOCK) {
        if header.iter().all(|byte| *byte == 0) {
            break;
        }
        header[SUM].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[SUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let size = std::str::from_utf8(&header[124..135]).ok().and_then(|text| usize::from_str_radix(text.trim_matches(['\0', ' ']), 8).ok());
        at += BLOCK + size.unwrap_or(0).div_ceil(BLOCK) * BLOCK;
    }
    archive
}

fn compressed(archive: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(archive).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

/// What is in the folder around, by name.
fn beside() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(FOLDER.path())
        .expect("it is a folder of ours")
        .map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(fs::read(FOLDER.path().join("beside")).expect("it is there"), b"of somebody else");
    names
}

/// How many files and folders are below a folder, and of how many bytes. There is nothing else, and all is readable.
fn found(folder: &Path) -> (usize, u64) {
    let (mut count, mut bytes) = (0, 0);
    for entry in fs::read_dir(folder).expect("it is a folder") {
        let entry = entry.expect("it can be read");
        let metadata = entry.metadata().expect("it is there");
        let mode = metadata.permissions().mode() & 0o7777;
        count += 1;
        if metadata.is_dir() {
            assert_eq!(mode, 0o755);
            let (inner, of_inner) = found(&entry.path());
            (count, bytes) = (count + inner, bytes + of_inner);
        } else {
            assert!(metadata.is_file() && matches!(mode, 0o644 | 0o755), "{metadata:?}");
            bytes += metadata.len();
        }
    }
    (count, bytes)
}
