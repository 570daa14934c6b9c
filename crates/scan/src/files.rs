//! Which files of a folder may declare endpoints.

use std::path::{Path, PathBuf};

use flash_manifest::Diagnostic;
use ignore::overrides::{Override, OverrideBuilder};
use ignore::{DirEntry, WalkBuilder};

/// The Python files below a folder, in order, and what kept others from being found.
///
/// Left out: what `exclude`, `.flashignore` and `.gitignore` name, hidden files and folders, virtual environments, installed packages, and tests
/// (unless the folder itself is called `tests`).
pub(crate) fn below(folder: &Path, exclude: Override) -> (Vec<PathBuf>, Vec<Diagnostic>) {
    let mut files = Vec::new();
    let mut warnings = Vec::new();
    for entry in walk(folder, folder.file_name().is_some_and(|name| name == "tests"), exclude) {
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

/// Patterns of files to leave out, as `.gitignore` has them, from a project's root. Errs with the one that is none.
pub(crate) fn excluding(root: &Path, patterns: &[String]) -> Result<Override, Diagnostic> {
    let wrong = |pattern: &str, error: ignore::Error| {
        let why = format!("it is not as patterns are in .gitignore: {error}");
        Diagnostic::error(format!("`{pattern}` is no pattern of files"), why, "a pattern such as '*.csv' or 'data/'")
    };
    let mut excluded = OverrideBuilder::new(root);
    for pattern in patterns {
        if pattern.starts_with('!') {
            let why = "what is excluded is named; nothing is taken in again here";
            return Err(Diagnostic::error(format!("`{pattern}` is no pattern to exclude"), why, "put it into .flashignore"));
        }
        // Here a pattern names what is taken, unless it is turned around.
        excluded.add(&format!("!{pattern}")).map_err(|error| wrong(pattern, error))?;
    }
    excluded.build().map_err(|error| wrong(&patterns.join(","), error))
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
    for entry in walk(folder, true, Override::empty()).filter_map(Result::ok) {
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
fn walk(folder: &Path, with_tests: bool, exclude: Override) -> ignore::Walk {
    let mut walk = WalkBuilder::new(folder);
    walk.add_custom_ignore_filename(".flashignore").overrides(exclude);
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
            || entry.path().join("pyvenv.cfg").exists()
            || is_home(entry.path());
    }
    !with_tests && is_test(&name)
}

/// Whether a folder is a server's `FLASH_HOME`: nothing in it is a project's, and what is secret in it is for nobody.
pub fn is_home(folder: &Path) -> bool {
    folder.join("token").exists() && folder.join("state.db").exists()
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
