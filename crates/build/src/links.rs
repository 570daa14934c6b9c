//! Symbolic links: followed within the project, and nowhere else.

use std::io;
use std::path::{Path, PathBuf};

use flash_manifest::Diagnostic;

/// Where a link leads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Leads {
    /// To this place in the project.
    Inside(PathBuf),
    /// Out of the project.
    Outside(PathBuf),
    /// Nowhere, or in a circle.
    Nowhere,
}

/// Follows a link to its end. `root` has no links in it.
pub(crate) fn follow(link: &Path, root: &Path) -> io::Result<Leads> {
    match link.canonicalize() {
        Ok(end) if end.starts_with(root) => Ok(Leads::Inside(end)),
        Ok(end) => Ok(Leads::Outside(end)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Leads::Nowhere),
        // A circle of links; the kind has no stable name.
        Err(error) if std::fs::symlink_metadata(link).is_ok() && error.kind() != io::ErrorKind::PermissionDenied => Ok(Leads::Nowhere),
        Err(error) => Err(error),
    }
}

/// What to say of a link that leads out.
pub(crate) fn leads_out(name: &str, end: &Path) -> Diagnostic {
    Diagnostic::error(
        format!("the link `{name}` leads out of the project, to `{}`", end.display()),
        "a build holds the project's own files, and the same ones wherever it is built",
        format!("copy what it leads to into the project, or leave it out: a line `{name}` in .flashignore"),
    )
}

/// What to say of a link that leads nowhere.
pub(crate) fn leads_nowhere(name: &str) -> Diagnostic {
    Diagnostic::warning(
        format!("the link `{name}` leads nowhere, and is left out"),
        "there is nothing behind it",
        "mend the link, or remove it",
    )
}
