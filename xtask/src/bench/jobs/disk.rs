//! How long this machine's disk takes to have something for certain: what every durable queue waits for.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Instant;

use crate::bench::unexpected;
use crate::failure::Failure;

/// So many in all the rounds.
pub const TIMES: u32 = 1000;

/// Microseconds of so many `fdatasync`s, each after an append of 4 KiB to a file in this folder.
pub fn sync_times(folder: &Path, count: u32) -> Result<Vec<f64>, Failure> {
    let trouble = |cause: std::io::Error| unexpected("fdatasync", cause);
    let path = folder.join("synced");
    let mut file = File::options().append(true).create(true).mode(0o600).open(&path).map_err(trouble)?;
    let mut once = || {
        file.write_all(&[1; 4096])?;
        let start = Instant::now();
        file.sync_data()?;
        Ok(start.elapsed().as_secs_f64() * 1e6)
    };
    (0..count).map(|_| once()).collect::<Result<_, _>>().map_err(trouble)
}
