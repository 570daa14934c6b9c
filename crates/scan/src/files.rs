//! Which files of a folder may declare endpoints.

use std::path::{Path, PathBuf};

use flash_manifest::Diagnostic;
use ignore::{DirEntry, WalkBuilder};

/// The Python files below a folder, in order, and what kept others from being found.
///
/// Left out: what `.gitignore` names, hidden files and folders, virtual environments, installed packages, and tests
/// (unless the folder itself is called `tests`).
pub(crate) fn below(folder: &Path) -> (Vec<PathBuf>, Vec<Diagnostic>) {
    let mut files = Vec::new();
    let mut warnings = Vec::new();
    for entry in walk(folder, folder.file_name().is_some_and(|name| name == "tests")) {
        match entry {
            Ok(entry) if is_python(&entry) => files.push(entry.into_path()),
            Ok(_) => {}
            // A link back to a folder above it, or to nothing: there is nothing new behind it.
            Err(error) if is_loop(&error) || error.io_error().is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound) => {}
            Err(error) => warnings.push(Diagnostic::warning(
                format!("a part of the project was not searched: {error}"),
                "functions declared there are not served",
                "make it readable, or name it in .gitignore",
            )),
        }
    }
    (files, warnings)
}

/// The sources of a project: what a change can be in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Its Python files, tests among them: modules may import those.
    pub files: Vec<PathBuf>,
    /// The folders that a further one may appear in.
    pub folders: Vec<PathBuf>,
}

/// The sources below a folder, without what a scan of it leaves out but for tests. `None` when there are more folders than `most`.
pub fn sources(folder: &Path, most: usize) -> Option<Sources> {
    let mut found = Sources::default();
    // What cannot be read is passed over: it has been told of when it was searched.
    for entry in walk(folder, true).filter_map(Result::ok) {
        if is_python(&entry) {
            found.files.push(entry.into_path());
        } else if entry.file_type().is_some_and(|kind| kind.is_dir()) {
            if found.folders.len() == most {
                return None;
            }
            found.folders.push(entry.into_path());
        }
    }
    Some(found)
}

/// What is below a folder, in order and without what is left out.
fn walk(folder: &Path, with_tests: bool) -> ignore::Walk {
    let mut walk = WalkBuilder::new(folder);
    // What is searched depends on the project alone, not on the settings of the machine or of one checkout.
    walk.git_global(false).git_exclude(false).ignore(false).follow_links(true).sort_by_file_name(std::cmp::Ord::cmp);
    walk.filter_entry(move |entry| entry.depth() == 0 || !is_left_out(entry, with_tests));
    walk.build()
}

fn is_left_out(entry: &DirEntry, with_tests: bool) -> bool {
    let name = entry.file_name().to_string_lossy();
    if entry.file_type().is_some_and(|kind| kind.is_dir()) {
        // Names such as `env` and `build` may be packages of the project: what is inside tells.
        return matches!(&*name, "node_modules" | "__pycache__" | "site-packages")
            || name == "tests" && !with_tests
            || entry.path().join("pyvenv.cfg").exists();
    }
    !with_tests && is_test(&name)
}

fn is_test(name: &str) -> bool {
    name == "conftest.py" || name.starts_with("test_") && name.ends_with(".py") || name.ends_with("_test.py")
}

fn is_python(entry: &DirEntry) -> bool {
    entry.file_type().is_some_and(|kind| kind.is_file()) && entry.path().extension().is_some_and(|extension| extension == "py")
}

fn is_loop(error: &ignore::Error) -> bool {
    match error {
        ignore::Error::Loop { .. } => true,
        ignore::Error::WithPath { err, .. } | ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => {
            is_loop(err)
        }
        _ => false,
    }
}
