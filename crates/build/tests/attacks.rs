//! Artifacts that are made to harm whoever unpacks them. Each is refused, and leaves nothing behind.
#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

mod common;

use common::{APP, MANIFEST, Tar, gzip, listing};
use flash_build::{Limits, Refused, unpack};

const SMALL: Limits = Limits { entries: 20, file_bytes: 64 * 1024, total_bytes: 128 * 1024 };

/// Unpacks within a folder that has something beside; gives what was said, after checking that nothing has changed.
fn refused(bytes: &[u8]) -> String {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("precious"), "as it was").unwrap();
    let before = listing(place.path());
    let outcome = unpack(bytes, &place.path().join("into"), &SMALL);
    assert_eq!(listing(place.path()), before, "something is left");
    match outcome {
        Err(Refused::Artifact(problems)) => problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        other => panic!("it is refused for what it is, and not: {other:?}"),
    }
}

fn check(bytes: &[u8], expected: &str) {
    let told = refused(bytes);
    assert!(told.contains(expected), "{expected:?} is in\n{told}");
}

#[test]
fn the_archive_that_the_attacks_are_made_from_is_sound() {
    let place = tempfile::tempdir().unwrap();
    let into = place.path().join("into");
    let manifest = unpack(&*Tar::sound().ended(), &into, &SMALL).unwrap();
    assert_eq!(manifest.app.as_str(), "app");
    assert_eq!(std::fs::read_to_string(into.join("src/app.py")).unwrap(), APP);
    assert!(into.join("flash_manifest.json").is_file());
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let no_path = "no path that an artifact may have";
    for name in [
        "/etc/evil",
        "../precious",
        "src/../../precious",
        "src/..",
        "..",
        "src//precious",
        "./src/a.py",
        "src/./a.py",
        "src/",
        "src/a\nb.py",
        "src/a\x1b[31m.py",
    ] {
        check(&Tar::sound().file(name, b"x").ended(), no_path);
    }
    check(&Tar::sound().entry(b"src/\xff.py", b'0', "", 0, b"").ended(), no_path);
    check(&Tar::sound().entry(b"", b'0', "", 0, b"").ended(), no_path);
    // A directory of that name would be made before the file in it.
    check(&Tar::sound().entry(b"src/../../out/", b'5', "", 0, b"").ended(), no_path);
    check(&Tar::sound().entry(b"/tmp/flash-was-here/", b'5', "", 0, b"").ended(), no_path);
    for name in ["evil", "flash.toml", "srcs/a.py", "requirements.lock/a"] {
        check(&Tar::sound().file(name, b"x").ended(), "has no place in an artifact");
    }
    check(&Tar::sound().entry(b"bin/", b'5', "", 0, b"").ended(), "has no place in an artifact");
}

#[test]
fn names_that_come_by_themselves_are_held_to_the_same() {
    let long = |name: &[u8]| Tar::sound().entry(b"././@LongLink", b'L', "", name.len() as u64, name);
    check(&long(b"../precious\0").file("src/a.py", b"x").ended(), "no path that an artifact may have");
    check(&long(b"/etc/evil\0").file("src/a.py", b"x").ended(), "no path that an artifact may have");
    check(&long(&[b'a'; 60_000]).file("src/a.py", b"x").ended(), "no path that an artifact may have");
    check(&long(b"src/b.py\0").entry(b"././@LongLink", b'L', "", 4, b"src/").file("src/a.py", b"x").ended(), "gives one file two names");
    check(&long(b"src/b.py\0").ended(), "ends with a name");
    // A pax header that renames what comes next, for one and for all.
    for kind in [b'x', b'g'] {
        check(
            &Tar::sound().entry(b"pax", kind, "", 19, b"19 path=../precious").file("src/a.py", b"x").ended(),
            "neither a file nor a folder",
        );
    }
}

#[test]
fn links_and_special_files_are_refused() {
    for kind in [b'1', b'2'] {
        for target in ["/etc/passwd", "../precious", "app.py", ""] {
            check(&Tar::sound().entry(b"src/link", kind, target, 0, b"").ended(), "is a link");
        }
    }
    // A link first, and then a file behind it.
    let through = Tar::sound().entry(b"src/out", b'2', "/tmp", 0, b"").file("src/out/evil", b"x");
    check(&through.ended(), "is a link");
    for kind in [b'3', b'4', b'6', b'7', b'S', b'K', b'V', b'Z'] {
        check(&Tar::sound().entry(b"src/odd", kind, "", 0, b"").ended(), "neither a file nor a folder");
    }
}

#[test]
fn bombs_are_refused_before_they_go_off() {
    let zeros = vec![0; 60 * 1024];
    check(&Tar::sound().file("src/big", &vec![0; 65 * 1024]).ended(), "a file of an artifact may have");
    check(&Tar::sound().file("src/1", &zeros).file("src/2", &zeros).file("src/3", &zeros).ended(), "the artifact is too large");
    // It says that it has four gigabytes, and is cut off.
    check(&Tar::sound().entry(b"src/big", b'0', "", 1 << 32, b"x").unended(), "a file of an artifact may have");
    let many = (0..50).fold(Tar::sound(), |tar, number| tar.file(&format!("src/{number}"), b""));
    check(&many.ended(), "too many files");
    let deep: String = (0..100).map(|_| "a/").collect();
    check(&Tar::sound().entry(b"././@LongLink", b'L', "", 205, format!("src/{deep}b").as_bytes()).file("src/x", b"").ended(), "too deep");
    // Much behind the end, from little.
    let mut endless = Tar::sound();
    endless = endless.entry(b"src/a", b'0', "", 0, &vec![0; 512 * 1024]);
    check(&endless.ended(), "larger than artifacts may be");
    // A name of a gigabyte, which a reader would hold in memory.
    check(&Tar::sound().entry(b"././@LongLink", b'L', "", 1 << 30, &vec![b'a'; 1024 * 1024]).unended(), "larger than artifacts may be");
    check(&Tar::with_manifest(&format!("{MANIFEST}{}", " ".repeat(70 * 1024))).ended(), "a file of an artifact may have");
}

#[test]
fn what_is_there_twice_is_refused() {
    check(&Tar::sound().file("src/app.py", b"evil").ended(), "`src/app.py` is there twice");
    check(&Tar::sound().file("flash_manifest.json", MANIFEST.as_bytes()).ended(), "`flash_manifest.json` is there twice");
    check(&Tar::sound().file("src/app.py/evil", b"x").ended(), "is a file and a folder");
    check(&Tar::sound().entry(b"src/app.py/", b'5', "", 0, b"").ended(), "is a file and a folder");
    check(&Tar::sound().file("src/a/b", b"x").file("src/a", b"x").ended(), "is there twice");
}

#[test]
fn what_is_no_whole_archive_is_refused() {
    let sound = Tar::sound().ended();
    check(b"", "cannot be read");
    check(b"PK\x03\x04 something else", "cannot be read");
    check(&gzip(b""), "the artifact is empty");
    check(&gzip(&[0; 1024]), "the artifact is empty");
    check(&gzip(&[b'x'; 1024]), "cannot be read");
    for length in [1, 10, 20, sound.len() / 2, sound.len() - 9, sound.len() - 1] {
        refused(&sound[..length]);
    }
    let mut wrong = sound.clone();
    let checksum = wrong.len() - 6;
    wrong[checksum] ^= 1;
    check(&wrong, "cannot be read");
    let mut more = sound.clone();
    more.extend_from_slice(&sound);
    check(&more, "goes on after its end");
    check(&gzip(&[common::gunzip(&sound), vec![b'x'; 512]].concat()), "goes on after its end");
    check(&Tar::sound().entry(b"src/cut", b'0', "", 4096, b"short").unended(), "");
    check(&Tar::default().file("src/app.py", APP.as_bytes()).ended(), "begins with `flash_manifest.json`");
}

#[test]
fn a_manifest_that_lies_is_refused() {
    let lying = |from: &str, to: &str| {
        assert!(MANIFEST.contains(from), "{from}");
        Tar::with_manifest(&MANIFEST.replace(from, to)).file("src/app.py", APP.as_bytes()).file("src/b.py", b"def hello(): ...").ended()
    };
    let differ = "the manifest and the sources differ about endpoint 'api'";
    check(&lying("/hello", "/other"), differ);
    check(&lying("GET", "POST"), differ);
    check(&lying(r#""name": "hello""#, r#""name": "goodbye""#), differ);
    check(&lying(r#""kind": "def""#, r#""kind": "async def""#), differ);
    check(&lying("[0, 1]", "[0, 9]"), differ);
    check(&lying("LiveLoadBalancer", "LoadBalancerSlsResource"), differ);
    check(&lying(r#""name": "api""#, r#""name": "other""#), "the manifest and the sources differ");
    let module = r#""module": "app", "file": "app.py""#;
    check(&lying(module, r#""module": "b", "file": "b.py""#), "the manifest and the sources differ");
    check(&lying(module, r#""module": "c", "file": "c.py""#), "the artifact lacks `c.py`");
    check(&lying(module, r#""module": "app", "file": "b.py""#), "module `app` is not in `b.py`");
    check(&lying("/hello", "/ping"), "path '/ping' is reserved");
    check(&lying("/hello", "/execute"), "path '/execute' is reserved");
    check(&lying(r#""app": "app""#, r#""app": "../app""#), "app name '../app' has the character");
    for file in ["/etc/passwd.py", "../app.py", "src/../app.py", "./app.py"] {
        check(&lying(r#""file": "app.py", "line": 4"#, &format!(r#""file": "{file}", "line": 4"#)), "is no path within the build");
        check(&lying(r#""file": "app.py", "line": 2"#, &format!(r#""file": "{file}", "line": 2"#)), "is no path within the build");
    }
    // A function that is there and not told of: it would be served by nobody, and was perhaps meant to be hidden.
    let two = format!("{APP}@remote(api, method='GET', path='/more')\ndef more(): ...\n");
    check(&Tar::with_manifest(MANIFEST).file("src/app.py", two.as_bytes()).ended(), differ);
    check(&Tar::with_manifest("{").ended(), "the manifest is not as it should be");
    check(&Tar::with_manifest(&"[".repeat(10_000)).ended(), "the manifest is not as it should be");
}

#[test]
fn a_folder_that_is_there_is_left_alone() {
    let place = tempfile::tempdir().unwrap();
    let into = place.path().join("into");
    std::fs::create_dir(&into).unwrap();
    std::fs::write(into.join("precious"), "as it was").unwrap();
    let outcome = unpack(&*Tar::sound().ended(), &into, &SMALL);
    assert!(matches!(outcome, Err(Refused::System(_))), "{outcome:?}");
    assert_eq!(listing(place.path()).len(), 2);
}

#[test]
fn folders_are_bounded_as_files_are_and_so_is_how_deep_they_go() {
    let mut many = Tar::sound();
    for number in 0..SMALL.entries + 2 {
        many = many.entry(format!("src/folder{number}/").as_bytes(), b'5', "", 0, b"");
    }
    check(&many.ended(), "too many folders");
    let mut many = Tar::sound();
    for number in 0..SMALL.entries + 2 {
        many = many.file(&format!("src/{number}.txt"), b"x");
    }
    check(&many.ended(), "too many files");
}
