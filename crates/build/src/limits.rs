//! What an artifact may hold, whoever made it.

/// Limits on an artifact: those of who packs it, and of who unpacks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Files, and as many folders for them.
    pub entries: usize,
    /// The largest single file, in bytes.
    pub file_bytes: u64,
    /// All files together, in bytes, before they are compressed.
    pub total_bytes: u64,
}

impl Default for Limits {
    /// Room for any code and the data beside it. What is larger, such as a model's weights, is better fetched by the function that needs it:
    /// each deployment would send it again.
    fn default() -> Self {
        Self { entries: 20_000, file_bytes: 512 * MIB, total_bytes: 1024 * MIB }
    }
}

const MIB: u64 = 1024 * 1024;

/// The longest path in an artifact, in bytes. Systems take 4096, of which the folder that it is unpacked into has a part.
pub(crate) const LONGEST_PATH: usize = 1024;

/// How many folders a file may be within.
pub(crate) const DEEPEST: usize = 64;

/// The longest name of a file or folder that systems take.
pub(crate) const LONGEST_NAME: usize = 255;

/// A number of bytes as people read it: `2.1 kB`.
pub fn size(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", units[unit]) }
}
