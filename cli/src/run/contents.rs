//! What the project's sources hold: whether they are still what they were, whatever was done to the files.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The files that there were, at one look. Paths are free of links.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    files: BTreeMap<PathBuf, Seen>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    stamp: Stamp,
    /// `None` where it could not be read.
    digest: Option<u64>,
}

/// A file with the stamp that it had need not be read again, unless it was written just now: the clock of files has a coarse tick.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    changed: (i64, i64),
    length: u64,
    inode: u64,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            length: metadata.len(),
            inode: metadata.ino(),
        }
    }
}

impl Contents {
    /// Looks at files. Those that are as they were in `before` are not read again, but for those that were `written`.
    pub fn look(files: impl IntoIterator<Item = PathBuf>, before: &Self, written: &BTreeSet<PathBuf>) -> Self {
        let mut folders = Folders::default();
        let written: BTreeSet<_> = written.iter().filter_map(|file| folders.without_links(file)).collect();
        let mut seen = BTreeMap::new();
        for file in files {
            let Some(file) = folders.without_links(&file) else { continue };
            let Some(stamp) = fs::metadata(&file).ok().filter(Metadata::is_file).map(|metadata| Stamp::of(&metadata)) else { continue };
            let known = before.files.get(&file).filter(|known| known.stamp == stamp && !written.contains(&file));
            let digest = known.map_or_else(|| digest(&file), |known| known.digest);
            seen.insert(file, Seen { stamp, digest });
        }
        Self { files: seen }
    }

    /// The files that hold something else than before, are new, or are gone.
    pub fn changed_since(&self, before: &Self) -> BTreeSet<PathBuf> {
        let all = self.files.keys().chain(before.files.keys());
        let digest = |contents: &Self, file: &PathBuf| contents.files.get(file).map(|seen| seen.digest);
        all.filter(|file| digest(self, file) != digest(before, file)).cloned().collect()
    }

    /// Whether all of these were there.
    pub fn has_all(&self, files: &BTreeSet<PathBuf>) -> bool {
        files.iter().all(|file| self.files.contains_key(file))
    }

    /// Takes over what is known of `files` for the first time: they are not new, nobody looked for them before.
    pub fn adopt(&mut self, files: &BTreeSet<PathBuf>, now: &Self) {
        for file in files {
            if let Some(seen) = now.files.get(file) {
                self.files.entry(file.clone()).or_insert_with(|| seen.clone());
            }
        }
    }

    /// Files that may have been read in another state than the one that was looked at count as changed at the next look.
    pub fn doubt(&mut self, written: &BTreeSet<PathBuf>) {
        let mut folders = Folders::default();
        for file in written.iter().filter_map(|file| folders.without_links(file)) {
            self.files.remove(&file);
        }
    }
}

/// Folders, and what they are called without links.
#[derive(Default)]
struct Folders {
    known: HashMap<PathBuf, Option<PathBuf>>,
}

impl Folders {
    /// The file's path without links, whether it is there or not; `None` when its folder is not.
    fn without_links(&mut self, file: &Path) -> Option<PathBuf> {
        if file.is_symlink() {
            return file.canonicalize().ok();
        }
        let (folder, name) = (file.parent()?, file.file_name()?);
        if !self.known.contains_key(folder) {
            self.known.insert(folder.to_owned(), folder.canonicalize().ok());
        }
        self.known[folder].as_ref().map(|folder| folder.join(name))
    }
}

fn digest(file: &Path) -> Option<u64> {
    let bytes = fs::read(file).ok()?;
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().canonicalize().unwrap().join(name)
        }

        fn write(&self, name: &str, text: &str) -> PathBuf {
            fs::write(self.path(name), text).unwrap();
            self.path(name)
        }
    }

    fn look(files: &[&PathBuf]) -> Contents {
        Contents::look(files.iter().copied().cloned(), &Contents::default(), &BTreeSet::new())
    }

    #[test]
    fn what_is_written_again_as_it_was_has_not_changed() {
        let folder = Folder::new();
        let (same, other) = (folder.write("same.py", "x = 1"), folder.write("other.py", "x = 1"));
        let before = look(&[&same, &other]);
        folder.write("same.py.tmp", "x = 1");
        fs::rename(folder.path("same.py.tmp"), &same).unwrap();
        folder.write("other.py", "x = 2");
        assert_eq!(look(&[&same, &other]).changed_since(&before), [other].into());
    }

    #[test]
    fn new_files_and_those_that_are_gone_have_changed() {
        let folder = Folder::new();
        let gone = folder.write("gone.py", "");
        let before = look(&[&gone]);
        fs::remove_file(&gone).unwrap();
        let new = folder.write("new.py", "");
        assert_eq!(look(&[&gone, &new]).changed_since(&before), [gone, new].into());
    }

    #[test]
    fn what_was_written_is_read_though_its_stamp_is_the_same() {
        let folder = Folder::new();
        let file = folder.write("a.py", "x = 1");
        let mut before = look(&[&file]);
        let seen = before.files.get_mut(&file).unwrap();
        seen.digest = Some(1); // as if the text had been another within the same tick
        let again = |written: &[&PathBuf]| {
            Contents::look([file.clone()], &before, &written.iter().copied().cloned().collect()).changed_since(&before)
        };
        assert_eq!(again(&[]), [].into());
        assert_eq!(again(&[&file]), [file.clone()].into());
    }

    #[test]
    fn what_is_doubted_counts_as_changed() {
        let folder = Folder::new();
        let file = folder.write("a.py", "x = 1");
        let mut before = look(&[&file]);
        before.doubt(&[file.clone()].into());
        assert_eq!(look(&[&file]).changed_since(&before), [file].into());
    }

    #[test]
    fn what_was_not_looked_for_before_is_not_new() {
        let folder = Folder::new();
        let (known, other) = (folder.write("known.py", ""), folder.write("other.py", ""));
        let mut before = look(&[&known]);
        folder.write("known.py", "x = 1");
        let now = look(&[&known, &other]);
        before.adopt(&[known.clone(), other, folder.path("nowhere.py")].into(), &now);
        assert_eq!(now.changed_since(&before), [known].into());
    }

    #[test]
    fn a_file_behind_a_link_is_one_file() {
        let folder = Folder::new();
        fs::create_dir(folder.path("real")).unwrap();
        let real = folder.write("real/a.py", "x = 1");
        std::os::unix::fs::symlink(folder.path("real"), folder.path("linked")).unwrap();
        std::os::unix::fs::symlink(&real, folder.path("b.py")).unwrap();
        let before = look(&[&folder.path("linked/a.py"), &folder.path("b.py")]);
        fs::write(&real, "x = 2").unwrap();
        assert_eq!(look(&[&folder.path("linked/a.py")]).changed_since(&before), [real].into());
    }
}
