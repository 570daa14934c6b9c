//! Where things are in an artifact, and in the folder that it is unpacked into.

use std::path::{Path, PathBuf};

/// The folder with the project's files.
pub(crate) const SOURCES: &str = "src";

/// The locked requirements.
pub(crate) const LOCK: &str = "requirements.lock";

/// The folder that the manifest's paths are relative to, in an unpacked artifact.
pub(crate) fn sources(tree: &Path) -> PathBuf {
    tree.join(SOURCES)
}
