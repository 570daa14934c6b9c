//! The project's files that an endpoint's workers have imported, as they tell.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use bytes::Bytes;
use serde::Deserialize;

/// What is known of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imported {
    /// They are these.
    Files(BTreeSet<PathBuf>),
    /// They may be any.
    Unknown,
}

impl Default for Imported {
    fn default() -> Self {
        Self::Files(BTreeSet::new())
    }
}

impl Imported {
    /// Whether one of these files is among them, as far as is known.
    pub fn has_any<'f>(&self, files: impl IntoIterator<Item = &'f PathBuf>) -> bool {
        match self {
            Self::Files(imported) => files.into_iter().any(|file| imported.contains(file)),
            Self::Unknown => files.into_iter().next().is_some(),
        }
    }

    /// Adds what a worker's READY says. `None` when that is none.
    pub(crate) fn add_ready(&mut self, payload: &[u8]) -> Option<()> {
        #[derive(Deserialize)]
        struct Ready {
            files: Option<Vec<PathBuf>>,
        }
        let Ready { files } = serde_json::from_slice(payload).ok()?;
        match (&mut *self, files) {
            (Self::Files(known), Some(files)) => known.extend(files),
            _ => *self = Self::Unknown,
        }
        Some(())
    }

    /// Adds what IMPORTED says: one file, or that it cannot be said.
    pub(crate) fn add(&mut self, payload: Bytes) {
        match self {
            Self::Files(known) if !payload.is_empty() => drop(known.insert(std::ffi::OsString::from_vec(payload.into()).into())),
            _ => *self = Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_workers_say_adds_up() {
        let mut imported = Imported::default();
        imported.add_ready(br#"{"pid": 1, "files": ["/p/a.py"]}"#).unwrap();
        imported.add(Bytes::from_static(b"/p/b.py"));
        imported.add_ready(br#"{"files": ["/p/c.py"]}"#).unwrap();
        let has = |file: &str| imported.has_any(&[PathBuf::from(file)]);
        assert!(has("/p/a.py") && has("/p/b.py") && has("/p/c.py") && !has("/p/d.py"));
        assert!(!imported.has_any(&[]));
        assert_eq!(imported.add_ready(b"{"), None);
    }

    #[test]
    fn what_cannot_be_said_may_be_any_file() {
        let say_nothing = |imported: &mut Imported| imported.add(Bytes::new());
        let say_null = |imported: &mut Imported| imported.add_ready(br#"{"files": null}"#).unwrap();
        for say in [&say_nothing as &dyn Fn(&mut Imported), &say_null] {
            let mut imported = Imported::default();
            say(&mut imported);
            imported.add(Bytes::from_static(b"/p/b.py"));
            assert_eq!(imported, Imported::Unknown);
            assert!(imported.has_any(&[PathBuf::from("/p/a.py")]) && !imported.has_any(&[]));
        }
    }
}
