//! Where things are in the repository.

use std::path::{Path, PathBuf};

/// The root of the repository, wherever the task was started in it.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a directory of the repository")
}

/// A path in the repository.
pub fn path(relative: &str) -> PathBuf {
    root().join(relative)
}

/// Where cargo puts what it builds, and we what need not be kept.
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => root().join(directory),
        None => root().join("target"),
    }
}

/// A path as a person in the root would type it.
pub fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}
