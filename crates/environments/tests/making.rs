//! Environments are made once, by a real `uv` in a real interpreter, of wheels that are made here: no network is needed.
#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use flash_environments::{Asked, Cancel, Environments, Error, Overlay, WORKERS_NEED};
use tempfile::TempDir;

/// A `FLASH_HOME`, an index, an interpreter and a `uv`.
struct Place {
    root: TempDir,
    /// Stands before the others in `PATH`.
    first: Option<PathBuf>,
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The interpreter of the tests: `cargo xtask test` makes it, and installs `uv` there.
fn venv(program: &str) -> PathBuf {
    let path = repository().join(".venv/bin").join(program);
    assert!(path.exists(), "`cargo xtask test` makes .venv, which has {program}");
    path
}

impl Place {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap(), first: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn wheel(&self, name: &str, version: &str, requires: &[&str]) {
        let mut command = Command::new(venv("python"));
        command.arg(repository().join("python/tests/wheels.py")).arg(self.path("wheels")).args([name, version]).args(requires);
        assert!(command.status().unwrap().success());
    }

    /// Puts another `uv` before the real one: a shell script.
    fn uv(&mut self, script: &str) {
        let directory = self.path("first");
        fs::create_dir_all(&directory).unwrap();
        let real = venv("uv");
        fs::write(directory.join("uv"), format!("#!/bin/sh\nreal={}\nhere={}\n{script}\n", real.display(), self.root.path().display()))
            .unwrap();
        fs::set_permissions(directory.join("uv"), fs::Permissions::from_mode(0o755)).unwrap();
        self.first = Some(directory);
    }

    fn environments(&self) -> Environments {
        let path = self.first.clone().into_iter().chain([venv("uv").parent().unwrap().to_owned(), "/usr/bin".into(), "/bin".into()]);
        let variables: [(&str, OsString); 5] = [
            ("PATH", std::env::join_paths(path).unwrap()),
            ("HOME", self.path("user").into()),
            ("UV_CACHE_DIR", self.path("cache").into()),
            ("UV_FIND_LINKS", self.path("wheels").into()),
            ("UV_DEFAULT_INDEX", format!("file://{}", self.path("index").display()).into()),
        ];
        Environments::new(&self.path("home"), variables.map(|(name, value)| (name.into(), value)))
    }

    /// An overlay for an interpreter that has the wheels of `has` installed, each `name==version`.
    fn overlay(&self, requirements: &[&str], has: &str) -> Result<Option<Overlay>, Error> {
        self.overlay_that_keeps(&[], requirements, has)
    }

    fn overlay_that_keeps(&self, keep: &[&str], requirements: &[&str], has: &str) -> Result<Option<Overlay>, Error> {
        let site = self.path(&format!("has {has}"));
        for one in has.split_whitespace() {
            let (name, version) = one.split_once("==").unwrap();
            let information = site.join(format!("{name}-{version}.dist-info"));
            fs::create_dir_all(&information).unwrap();
            fs::write(information.join("METADATA"), format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")).unwrap();
        }
        let requirements: Vec<String> = requirements.iter().map(|one| (*one).to_owned()).collect();
        let path = [site.to_string_lossy().into_owned()];
        let python = venv("python");
        let asked = Asked { python: &python, requirements: &requirements, keep, path: Some(&path), directory: None };
        self.environments().overlay(asked, &|_| {}, &Cancel::default())
    }
}

impl Place {
    /// How many directories there are of what was made, or begun.
    fn made(&self) -> usize {
        let entries = fs::read_dir(self.path("home/environments")).unwrap();
        entries.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count()
    }
}

fn modules(overlay: &Overlay) -> Vec<String> {
    let names = fs::read_dir(&overlay.packages).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut modules: Vec<_> = names.filter_map(|name| name.strip_suffix(".py").map(str::to_owned)).collect();
    modules.sort();
    modules
}

fn version(python: &Path, module: &str) -> String {
    let output = Command::new(python).args(["-c", &format!("import {module}; print({module}.VERSION)")]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn what_the_interpreter_has_needs_no_uv_and_no_file() {
    let mut place = Place::new();
    place.uv("exit 9");
    assert_eq!(place.overlay(&["base-a"], "base_a==1.0").unwrap(), None);
    assert_eq!(place.overlay(&["../made/wheel.whl", "https://example.org/x.whl"], "").unwrap(), None);
    assert!(!place.path("home").exists());
}

#[test]
fn an_overlay_has_what_is_missing_and_no_more() {
    let place = Place::new();
    place.wheel("base_a", "1.0", &[]);
    place.wheel("base_a", "2.0", &[]);
    place.wheel("top_b", "1.0", &["base-a"]);
    place.wheel("top_c", "1.0", &["base-a>=2"]);
    let keeps = place.overlay(&["top_b"], "base_a==1.0").unwrap().unwrap();
    assert_eq!(modules(&keeps), ["top_b"]);
    // Another version stands before the interpreter's own where nothing else will do.
    let replaces = place.overlay(&["top_c"], "base_a==1.0").unwrap().unwrap();
    assert_eq!(modules(&replaces), ["base_a", "top_c"]);
    // What is there bounds what is made, and need not be on an index.
    let bound = place.overlay(&["top_c", "base-a<2", "private>=1"], "base_a==1.0 private==1.5");
    assert!(bound.unwrap_err().why().contains("base-a<2"));
    let kept = place.overlay_that_keeps(&["base-a", "absent"], &["top_c"], "base_a==1.0");
    assert!(kept.unwrap_err().why().contains("base-a==1.0"));
    // What it relied on is no more.
    let anew = place.overlay(&["top_b"], "").unwrap().unwrap();
    assert_eq!(modules(&anew), ["base_a", "top_b"]);
    assert_eq!((&anew.id, anew.packages == keeps.packages), (&keeps.id, false));
}

#[test]
fn a_second_time_takes_no_uv() {
    let mut place = Place::new();
    place.wheel("top_b", "1.0", &[]);
    let first = place.overlay(&["top_b", "other"], "other==1").unwrap();
    place.wheel("pydantic", "2.9", &[]);
    place.wheel("cloudpickle", "3.1", &[]);
    let get = |place: &Place| place.environments().get("top-b==1.0\n", &venv("python"), &|_| {}, &Cancel::default());
    let made = get(&place).unwrap();
    place.uv("exit 9");
    assert_eq!(place.overlay(&["other", "top_b", "top_b"], "other==1").unwrap(), first);
    assert_eq!(get(&place).unwrap(), made);
    assert!(matches!(place.overlay(&["top_b>=1"], ""), Err(Error::Failed { .. })), "it was another question");
}

#[test]
fn an_environment_holds_the_lock_and_what_workers_need() {
    let place = Place::new();
    for (name, version) in [("top_b", "1.0"), ("top_b", "2.0"), ("pydantic", "2.9"), ("cloudpickle", "3.1")] {
        place.wheel(name, version, &[]);
    }
    let said = Mutex::new(Vec::new());
    let note = |line: &str| said.lock().unwrap().push(line.to_owned());
    let made = place.environments().get("top-b==1.0\n", &venv("python"), &note, &Cancel::default()).unwrap();
    assert_eq!(["top_b", "pydantic", "cloudpickle"].map(|name| version(&made.python, name)), ["1.0", "2.9", "3.1"]);
    assert!(said.lock().unwrap().iter().any(|line| line.starts_with("Resolved 3 packages")), "{said:?}");
    let other = place.environments().get("top-b==2.0\n", &venv("python"), &|_| {}, &Cancel::default()).unwrap();
    assert_eq!(version(&other.python, "top_b"), "2.0");
    assert_ne!(made.id, other.id);
}

#[test]
fn two_at_once_make_one() {
    let mut place = Place::new();
    place.wheel("top_b", "1.0", &[]);
    // The first waits within `uv` until the other has said that it waits.
    place.uv("echo . >> $here/runs; while [ ! -e $here/go ]; do sleep 0.01; done; exec $real \"$@\"");
    let python = venv("python");
    let requirements = ["top_b".to_owned()];
    let asked = Asked { python: &python, requirements: &requirements, keep: &[], path: Some(&[]), directory: None };
    let environments = place.environments();
    let wait = |line: &str| {
        if line.starts_with("waiting for another process") {
            fs::write(place.path("go"), "").unwrap();
        }
    };
    let (one, other) = std::thread::scope(|scope| {
        let overlay = || environments.overlay(asked, &wait, &Cancel::default()).unwrap();
        let (one, other) = (scope.spawn(overlay), scope.spawn(overlay));
        (one.join().unwrap(), other.join().unwrap())
    });
    assert_eq!(one, other);
    assert_eq!(fs::read_to_string(place.path("runs")).unwrap().lines().count(), 2, "one resolves, one installs");
}

#[test]
fn what_cannot_be_resolved_is_told_in_uvs_own_words() {
    let place = Place::new();
    place.wheel("base_a", "1.0", &[]);
    let error = place.overlay(&["base-a>=2"], "").unwrap_err();
    assert!(matches!(error, Error::Unresolved { .. }), "{error:?}");
    assert!(error.why().contains("uv says: No solution found") && error.why().contains("base-a>=2"), "{}", error.why());
    assert_eq!(place.made(), 0);
}

#[test]
fn what_is_half_made_is_made_anew() {
    let mut place = Place::new();
    for (name, version) in [("top_b", "1.0"), ("pydantic", "2.9"), ("cloudpickle", "3.1")] {
        place.wheel(name, version, &[]);
    }
    let get = |place: &Place| place.environments().get("top-b==1.0\n", &venv("python"), &|_| {}, &Cancel::default());
    // It installs, and is killed all the same.
    place.uv("$real \"$@\" || exit; [ $1 = venv ] || kill -9 $$");
    assert!(matches!(get(&place), Err(Error::Killed { .. })));
    assert_eq!(place.made(), 0);
    assert!(matches!(place.overlay(&["top_b"], ""), Err(Error::Killed { .. })));
    assert_eq!(place.made(), 0);
    place.first = None;
    let made = get(&place).unwrap();
    // As it is where this process was killed.
    let marker = made.python.ancestors().nth(3).unwrap().join("complete.json");
    fs::remove_file(&marker).unwrap();
    let leftover = made.python.with_file_name("leftover");
    fs::write(&leftover, "").unwrap();
    assert_eq!(get(&place).unwrap(), made);
    assert!(marker.exists() && !leftover.exists());
    // Its interpreter is gone.
    fs::remove_file(&made.python).unwrap();
    assert_eq!(get(&place).unwrap(), made);
    assert!(made.python.exists());
}

#[test]
fn who_gives_up_has_uv_killed() {
    let mut place = Place::new();
    place.uv("echo $$ > $here/pid; echo started >&2; exec sleep 1000");
    let python = venv("python");
    let requirements = ["top_b".to_owned()];
    let asked = Asked { python: &python, requirements: &requirements, keep: &[], path: Some(&[]), directory: None };
    let cancel = Cancel::default();
    let given_up = place.environments().overlay(
        asked,
        &|line| {
            if line == "started" {
                cancel.cancel()
            }
        },
        &cancel,
    );
    assert!(matches!(given_up, Err(Error::Cancelled)), "{given_up:?}");
    let pid = fs::read_to_string(place.path("pid")).unwrap();
    assert!(!Path::new("/proc").join(pid.trim()).exists());
}

#[test]
fn without_uv_without_a_home_and_without_an_interpreter_it_says_so() {
    let place = Place::new();
    let file = place.path("home");
    fs::write(&file, "").unwrap();
    let error = place.overlay(&["top_b"], "").unwrap_err();
    assert!(matches!(error, Error::Home { .. }) && error.remedy().contains("FLASH_HOME"), "{error:?}");
    let error = place.environments().get("", &place.path("no/python"), &|_| {}, &Cancel::default()).unwrap_err();
    assert!(matches!(error, Error::Interpreter { .. }), "{error:?}");
}

#[test]
fn a_full_disk_is_told() {
    let mut place = Place::new();
    place.uv("echo 'error: failed to write: No space left on device (os error 28)' >&2; exit 2");
    let error = place.overlay(&["top_b"], "").unwrap_err();
    assert!(matches!(error, Error::DiskFull { .. }) && error.remedy().contains("uv cache clean"), "{error:?}");
}

#[test]
fn what_workers_need_is_what_the_distribution_needs() {
    let project = fs::read_to_string(repository().join("pyproject.toml")).unwrap();
    let line = project.lines().find(|line| line.starts_with("dependencies = ")).unwrap();
    for one in WORKERS_NEED {
        assert!(line.contains(&format!("\"{one}\"")), "{one} in {line}");
    }
}
