//! Where a project's sources are: what a search of it finds, and what was imported from elsewhere.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use crate::report::Trouble;
use crate::run::contents::Contents;

/// A project of more folders than these is more than anybody edits: a home directory, say, in which a file lies.
const MOST_FOLDERS: usize = 4096;

/// What is served, and the project that it belongs to.
#[derive(Clone)]
pub struct Place {
    /// A file or a folder.
    target: PathBuf,
    root: PathBuf,
}

/// What one look at the sources has seen.
pub struct Look {
    /// What they hold.
    pub contents: Contents,
    /// The folders in which a further one may appear.
    pub folders: HashSet<PathBuf>,
    /// Imported files that a search of the project does not find.
    pub elsewhere: BTreeSet<PathBuf>,
    /// The project is too large to be searched: imported files are all that was looked at.
    pub narrow: bool,
}

impl Place {
    /// The place of a file or folder; `None` when it is not there.
    pub fn of(target: &Path) -> Option<Self> {
        Some(Self { target: target.canonicalize().ok()?, root: flash_scan::root(target)? })
    }

    /// The project's root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Looks at the sources, and at what was imported from elsewhere or from folders that a search leaves out. What has not changed since
    /// `before` and was not `written` is not read again.
    pub fn look(&self, before: &Contents, written: &BTreeSet<PathBuf>, imported: &BTreeSet<PathBuf>) -> Look {
        let searched = self.searched();
        let narrow = searched.is_none();
        let flash_scan::Sources { mut files, folders } = searched.unwrap_or_default();
        let mut folders: HashSet<_> = folders.into_iter().collect();
        let found: HashSet<_> = files.iter().collect();
        let elsewhere: BTreeSet<_> = imported.iter().filter(|file| !found.contains(file)).cloned().collect();
        files.push(self.target.clone());
        files.extend(elsewhere.iter().cloned());
        files.extend(["flash.toml", "pyproject.toml"].map(|name| self.root.join(name)));
        for folder in imported.iter().filter_map(|file| file.parent()).chain([self.folder(), &self.root]) {
            if !folders.contains(folder) && folder.is_dir() {
                files.extend(python_files(folder));
                folders.insert(folder.to_owned());
            }
        }
        Look { contents: Contents::look(files, before, written), folders, elsewhere, narrow }
    }

    /// What a search of the project finds; `None` when that is too much. The folder to serve may be one that it leaves out.
    fn searched(&self) -> Option<flash_scan::Sources> {
        let mut sources = flash_scan::sources(&self.root, MOST_FOLDERS)?;
        if self.target.is_dir() && !sources.folders.contains(&self.target) {
            let more = flash_scan::sources(&self.target, MOST_FOLDERS)?;
            sources.files.extend(more.files);
            sources.folders.extend(more.folders);
        }
        Some(sources)
    }

    /// The folder to serve, or that of the file.
    fn folder(&self) -> &Path {
        if self.target.is_dir() { &self.target } else { self.target.parent().unwrap_or(&self.root) }
    }

    /// What there is to say of a project that is too large to be searched.
    pub fn too_large(&self) -> Trouble {
        Trouble::new(
            format!("`{}` has more than {MOST_FOLDERS} folders: only those of imported files are watched", self.root.display()),
            "the project is all that is below the nearest folder with flash.toml, pyproject.toml or .git, else below the file's own",
            "put a flash.toml, which may be empty, where the project begins; or name folders in .gitignore",
        )
    }
}

/// The Python files right in a folder.
fn python_files(folder: &Path) -> Vec<PathBuf> {
    let entries = folder.read_dir().into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "py")).collect()
}
