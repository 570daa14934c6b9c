//! What the project's sources hold: whether they are still what they were, whatever was done to the files.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The files that there were, at one look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// By paths that are free of links.
    files: BTreeMap<PathBuf, Seen>,
    /// Where the links among the paths that were looked at lead.
    links: BTreeMap<PathBuf, PathBuf>,
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
        let (mut seen, mut links) = (BTreeMap::new(), BTreeMap::new());
        for path in files {
            let Some(file) = folders.without_links(&path) else { continue };
            if path != file {
                links.insert(path, file.clone());
            }
            let Some(stamp) = fs::metadata(&file).ok().filter(Metadata::is_file).map(|metadata| Stamp::of(&metadata)) else { continue };
            let known = before.files.get(&file).filter(|known| known.stamp == stamp && !written.contains(&file));
            let digest = known.map_or_else(|| digest(&file), |known| known.digest);
            seen.insert(file, Seen { stamp, digest });
        }
        Self { files: seen, links }
    }

    /// The files that hold something else than before, are new, or are gone; and the links that lead to another file since, which does.
    pub fn changed_since(&self, before: &Self) -> BTreeSet<PathBuf> {
        let led_elsewhere = before.links.iter().filter(|(link, file)| self.links.get(*link) != Some(file)).map(|(link, _)| link);
        let all = self.files.keys().chain(before.files.keys()).chain(led_elsewhere);
        all.filter(|path| self.digest(path) != before.digest(path)).cloned().collect()
    }

    /// What was found at a path, be it a link or not.
    fn digest(&self, path: &Path) -> Option<Option<u64>> {
        let file = self.links.get(path).map_or(path, PathBuf::as_path);
        self.files.get(file).map(|seen| seen.digest)
    }

    /// Whether all of these were there.
    pub fn has_all(&self, files: &BTreeSet<PathBuf>) -> bool {
        files.iter().all(|file| self.files.contains_key(file) || self.links.contains_key(file))
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
    fn a_link_that_leads_to_another_file_has_changed_if_that_holds_something_else() {
        let folder = Folder::new();
        let [one, same, other] =
            [("one.py", "x = 1"), ("same.py", "x = 1"), ("other.py", "x = 2")].map(|(name, text)| folder.write(name, text));
        let link = folder.path("link.py");
        let look_with = |to: Option<&PathBuf>| {
            let _ = fs::remove_file(&link);
            match to {
                Some(to) => std::os::unix::fs::symlink(to, &link).unwrap(),
                None => drop(folder.write("link.py", "x = 3")),
            }
            look(&[&one, &same, &other, &link])
        };
        let before = look_with(Some(&one));
        assert!(before.has_all(&[link.clone(), one.clone()].into()));
        assert_eq!(look_with(Some(&same)).changed_since(&before), [].into());
        assert_eq!(look_with(Some(&other)).changed_since(&before), [link.clone()].into());
        assert_eq!(look_with(None).changed_since(&before), [link.clone()].into());
        assert_eq!(before.changed_since(&look_with(None)), [link.clone()].into());
        fs::remove_file(&link).unwrap();
        assert_eq!(look(&[&one, &same, &other, &link]).changed_since(&before), [link].into());
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
        let both = [&folder.path("linked/a.py"), &folder.path("b.py")];
        let before = look(&both);
        fs::write(&real, "x = 2").unwrap();
        assert_eq!(look(&both).changed_since(&before), [real].into());
    }
}
