//! What is packed is what is unpacked.
#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use common::{APP, Project, Tar, gzip, listing};
use flash_build::{Limits, unpack};
use proptest::prelude::*;

fn content() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![prop::collection::vec(any::<u8>(), 0..2000), Just(vec![0; 70_000]), Just(Vec::new())]
}

/// Names of files that may be packed, in folders whose names differ from all of theirs.
fn files() -> impl Strategy<Value = BTreeMap<String, (Vec<u8>, bool)>> {
    let folder = "([a-zé][a-z \\\\é]{0,30}D/){0,6}";
    let name = "[a-zA-Z0-9_,;'(é\u{4e00}-\u{4e10}][a-zA-Z0-9_ é]{0,60}\\.txt";
    prop::collection::btree_map((folder, name).prop_map(|(folder, name)| folder + &name), (content(), any::<bool>()), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn files_come_out_as_they_went_in(files in files()) {
        let project = Project::new([]);
        for (name, (content, executable)) in &files {
            project.write(&format!("project/{name}"), content);
            fs::set_permissions(project.path(name), fs::Permissions::from_mode(if *executable { 0o700 } else { 0o600 })).unwrap();
        }
        let artifact = project.built();
        prop_assert_eq!(&project.built().digest, &artifact.digest);
        let into = project.around().join("into");
        let manifest = unpack(&*fs::read(&artifact.path).unwrap(), &into, &Limits::default()).unwrap();
        prop_assert_eq!(manifest, artifact.manifest);
        let there: BTreeMap<String, Vec<u8>> = listing(&into.join("src")).into_iter().filter(|(name, _)| !name.ends_with('/')).collect();
        let mut expected: BTreeMap<String, Vec<u8>> = files.iter().map(|(name, (content, _))| (name.clone(), content.clone())).collect();
        expected.insert("app.py".into(), APP.into());
        prop_assert_eq!(there, expected);
        for (name, (_, executable)) in &files {
            let mode = fs::metadata(into.join("src").join(name)).unwrap().permissions().mode() & 0o777;
            prop_assert_eq!(mode, if *executable { 0o755 } else { 0o644 });
        }
    }

    /// Whatever is changed in an archive, what is written is below the folder, or there is nothing.
    #[test]
    fn nothing_is_written_elsewhere_whatever_the_archive_says(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        compressed in any::<bool>(),
    ) {
        let sound = Tar::sound().file("src/more/a.txt", b"text").ended();
        let mut bytes = if compressed { sound } else { common::gunzip(&sound) };
        for (index, value) in changes {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        let bytes = if compressed { bytes } else { gzip(&bytes) };
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("precious"), "as it was").unwrap();
        let before = listing(place.path());
        let outcome = unpack(&*bytes, &place.path().join("into"), &Limits::default());
        let after: Vec<_> = listing(place.path()).into_iter().filter(|(name, _)| !name.starts_with("into/")).collect();
        prop_assert_eq!(after, before);
        prop_assert_eq!(place.path().join("into").exists(), outcome.is_ok());
    }
}
