//! Which files a build has.
#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

mod common;

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use common::{APP, Project};
use flash_build::{Limits, Request};

fn importing(line: &str) -> String {
    format!("{line}\n{APP}")
}

#[test]
fn everything_that_is_not_ignored_is_packed() {
    let project = Project::new([
        ("data/table.csv", "1"),
        ("templates/page.html", "<p>"),
        ("README.md", "# x"),
        ("pyproject.toml", "[project]\nname = 'x'\n"),
        ("nested/build/data.txt", "1"),
        (".gitignore", "/generated/\n*.log\n!kept.log\n"),
        ("generated/a.txt", "1"),
        ("a.log", "1"),
        ("kept.log", "1"),
        ("nested/.gitignore", "b.txt\n"),
        ("nested/b.txt", "1"),
        (".flashignore", "weights/\n!again.log\n"),
        ("weights/w.bin", "1"),
        ("again.log", "1"),
    ]);
    let expected = [
        "README.md",
        "again.log",
        "app.py",
        "data/table.csv",
        "kept.log",
        "nested/build/data.txt",
        "pyproject.toml",
        "templates/page.html",
    ];
    assert_eq!(project.files(), expected);
}

#[test]
fn what_programs_and_tools_leave_behind_is_not_packed() {
    let project = Project::new([
        ("__pycache__/app.cpython-312.pyc", "1"),
        ("old.pyc", "1"),
        (".git/config", "1"),
        (".vscode/settings.json", "1"),
        (".venv/lib/x.py", "1"),
        ("mine/pyvenv.cfg", "1"),
        ("mine/lib/x.py", "1"),
        ("node_modules/x/index.js", "1"),
        ("x.egg-info/PKG-INFO", "1"),
        ("build/lib/app.py", APP_ELSEWHERE),
        ("dist/app.whl", "1"),
        ("docs/index.md", "1"),
        // A server's home.
        ("state/token", "1"),
        ("state/state.db", "1"),
        ("state/builds/one/tree/src/app.py", APP_ELSEWHERE),
        ("tests/test_app.py", "1"),
        ("tests/data.json", "1"),
        ("test_app.py", "1"),
        ("app_test.py", "1"),
        ("conftest.py", "1"),
        ("flash.toml", ""),
    ]);
    // The scan finds endpoints in `build`, so there are none in this one.
    assert_eq!(project.files(), ["app.py"]);
    project.write("project/.flashignore", "!.vscode/\n!docs/\n");
    assert_eq!(project.files(), [".vscode/settings.json", "app.py", "docs/index.md"], "what is asked for is packed");
}

const APP_ELSEWHERE: &str = "x = 1\n";

/// T9: the reference dropped packages of these names, and functions failed where they were deployed.
#[test]
fn packages_that_the_code_imports_are_packed_whatever_they_are_called() {
    for name in ["build", "dist", "docs", "env", "venv", "tests", "test_tools", "node_modules"] {
        let app = importing(&format!("from {name}.steps import go"));
        let init = format!("{name}/__init__.py");
        let steps = format!("{name}/steps.py");
        let more = format!("{name}/sub/more.py");
        let data = format!("{name}/data.csv");
        let project = Project::new([("app.py", &*app), (&*init, ""), (&*steps, "from .sub import more"), (&*more, ""), (&*data, "1")]);
        let files = project.files();
        for file in ["app.py", &*init, &*steps, &*more] {
            assert!(files.iter().any(|packed| packed == file), "{file} in {files:?}");
        }
        // A package has its data; of tests, what is imported and no more.
        let foreign = ["tests", "node_modules"].contains(&name);
        assert_eq!(files.contains(&data), !foreign, "{files:?}");
    }
}

#[test]
fn imports_are_followed_wherever_they_stand() {
    let app = importing(
        "import tests.a\nfrom tests import b\nfrom tests.c import thing\nimport importlib\n\
         def late():\n    import tests.d\n    from tests.deep.e import f\n    importlib.import_module('tests.g')\n    __import__('tests.h')\n\
         try:\n    import tests.i\nexcept ImportError:\n    from tests import j\n",
    );
    let module = |name: &str| format!("tests/{name}.py");
    let names = ["a", "b", "c", "d", "deep/e", "g", "h", "i", "j", "k", "l", "unused"].map(module);
    let mut files: Vec<(&str, &str)> = names.iter().map(|name| (&**name, "x = 1")).collect();
    files.extend([
        ("app.py", &*app),
        ("tests/__init__.py", ""),
        ("tests/deep/__init__.py", "from .. import k"),
        ("tests/k.py", "from tests.l import *"),
    ]);
    let project = Project::new(files);
    let expected = [
        "app.py",
        "tests/__init__.py",
        "tests/a.py",
        "tests/b.py",
        "tests/c.py",
        "tests/d.py",
        "tests/deep/__init__.py",
        "tests/deep/e.py",
        "tests/g.py",
        "tests/h.py",
        "tests/i.py",
        "tests/j.py",
        "tests/k.py",
        "tests/l.py",
    ];
    assert_eq!(project.files(), expected);
}

#[test]
fn what_the_project_ignores_and_the_code_imports_is_an_error() {
    let app = importing("from lib import secret_sauce");
    let project = Project::new([("app.py", &*app), ("lib/__init__.py", ""), ("lib/secret_sauce.py", ""), (".gitignore", "# mine\nlib/\n")]);
    let told = project.refused();
    let expected = "error: `lib/secret_sauce.py` is imported, and not in the build\n   at: app.py:1\n  \
         why: the pattern `lib/` in .gitignore leaves `lib` out\n  \
         try: take the pattern out, or add a line `!lib` to .flashignore";
    assert!(told.contains(expected), "{told}");
    project.write("project/.flashignore", "!lib\n");
    assert_eq!(project.files(), ["app.py", "lib/__init__.py", "lib/secret_sauce.py"], "as it says");
    let exclude = ["secret_*.py".to_owned()];
    let root = project.root();
    let told = project.told(&flash_build::build(&Project::request(&root, &exclude)).unwrap_err());
    assert!(told.contains("the pattern `secret_*.py` in --exclude leaves `lib/secret_sauce.py` out"), "{told}");
}

#[test]
fn secrets_are_never_packed_and_are_told_of() {
    let project =
        Project::new([(".env", "1"), ("keys/server.pem", "1"), (".flashignore", "!.env\n!keys/server.pem\n"), (".env.example", "1")]);
    symlink(project.path(".env"), project.path("harmless.txt")).unwrap();
    assert_eq!(project.files(), ["app.py"]);
    let warned = project.warned();
    assert!(warned.contains("3 files are left out, for they look like secrets: `.env`, `harmless.txt`, `keys/server.pem`"), "{warned}");
    project.write("project/.gitignore", ".env\nharmless.txt\nkeys\n");
    project.write("project/.flashignore", "");
    assert_eq!(project.warned(), "", "what the project leaves out itself needs no mention");
}

#[test]
fn links_are_followed_within_the_project_and_nowhere_else() {
    let project = Project::new([("data/a.txt", "a"), ("data/b.txt", "b")]);
    project.write("elsewhere/c.txt", "c");
    symlink("data", project.path("linked")).unwrap();
    symlink("../data/a.txt", project.path("data/again.txt")).unwrap();
    symlink("..", project.path("data/circle")).unwrap();
    symlink("gone", project.path("nowhere")).unwrap();
    symlink("itself", project.path("itself")).unwrap();
    let files = ["app.py", "data/a.txt", "data/again.txt", "data/b.txt", "linked/a.txt", "linked/again.txt", "linked/b.txt"];
    assert_eq!(project.files(), files);
    let warned = project.warned();
    assert!(warned.contains("the link `nowhere` leads nowhere") && warned.contains("the link `itself` leads nowhere"), "{warned}");
    symlink("../elsewhere", project.path("out")).unwrap();
    symlink("/etc/passwd", project.path("data/password")).unwrap();
    let told = project.refused();
    assert!(told.contains("error: the link `out` leads out of the project, to `"), "{told}");
    assert!(told.contains("error: the link `data/password` leads out of the project, to `/etc/passwd`"), "{told}");
    project.write("project/.flashignore", "out\npassword\n");
    assert_eq!(project.files(), files);
}

#[test]
fn odd_files_are_told_of() {
    let project = Project::new([("fine.txt", "1")]);
    fs::write(project.root().join(std::ffi::OsStr::from_bytes(b"caf\xe9.txt")), "1").unwrap();
    assert!(project.refused().contains("cannot be packed\n  why: it is not UTF-8, or has control characters in it"));
    project.write("project/.flashignore", "caf*\n");
    project.write("project/a\nb.txt", "1");
    assert!(project.refused().contains("`a?b.txt` cannot be packed"));
    fs::remove_file(project.path("a\nb.txt")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(project.path("a.sock")).unwrap();
    assert!(project.warned().contains("`a.sock` is left out\n  why: it is neither a file nor a folder"));
    assert_eq!(project.files(), ["app.py", "fine.txt"]);
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let project = Project::new([("locked.txt", "1")]);
    fs::set_permissions(project.path("locked.txt"), fs::Permissions::from_mode(0o000)).unwrap();
    // Those who may read everything see no difference.
    if fs::read(project.path("locked.txt")).is_err() {
        assert!(project.refused().contains("`locked.txt` cannot be read: Permission denied"));
    } else {
        assert_eq!(project.files(), ["app.py", "locked.txt"]);
    }
}

#[test]
fn limits_say_what_is_too_large_and_what_to_do() {
    let project = Project::new([("weights/model.bin", &*"x".repeat(3000)), ("weights/other.bin", &*"x".repeat(2000))]);
    let told = |limits: Limits| {
        let root = project.root();
        let request = Request { limits, ..Request::new(&root) };
        project.told(&flash_build::build(&request).unwrap_err())
    };
    let one = told(Limits { file_bytes: 2500, ..Limits::default() });
    assert!(one.contains("`weights/model.bin` is too large to be packed: 3.0 kB"), "{one}");
    assert!(one.contains("a line `weights/model.bin` in .flashignore"), "{one}");
    let all = told(Limits { total_bytes: 4000, ..Limits::default() });
    assert!(all.contains("the largest are `weights/model.bin` (3.0 kB), `weights/other.bin` (2.0 kB), `app.py`"), "{all}");
    let many = told(Limits { entries: 2, ..Limits::default() });
    assert!(many.contains("the project has more than 2 files\n  why: 2 of them are in `weights`"), "{many}");
}

#[test]
fn rules_of_the_repository_hold_in_a_project_within_it() {
    let project = Project::new([("flash.toml", ""), ("a.log", "1"), ("b.txt", "1")]);
    project.write(".gitignore", "*.log\n");
    assert_eq!(project.files(), ["a.log", "app.py", "b.txt"], "files that happen to stand above it do not matter");
    fs::create_dir(project.around().join(".git")).unwrap();
    assert_eq!(project.files(), ["app.py", "b.txt"]);
}

#[test]
fn a_project_that_is_a_package_is_packed_with_its_name() {
    let project =
        Project::new([("__init__.py", ""), ("app.py", &*importing("from . import helper")), ("helper.py", ""), ("pyproject.toml", "")]);
    let artifact = project.built();
    assert_eq!(artifact.files, ["project/__init__.py", "project/app.py", "project/helper.py", "project/pyproject.toml"]);
    let module = &artifact.manifest.endpoints[0].functions[0].module;
    assert_eq!((module.name.as_str(), module.file.to_str()), ("project.app", Some("project/app.py")));
    let into = project.around().join("into");
    flash_build::unpack(&*fs::read(&artifact.path).unwrap(), &into, &Limits::default()).unwrap();
}

#[test]
fn imports_from_outside_of_the_project_are_an_error() {
    let project = Project::new([("__init__.py", ""), ("app.py", &*importing("import sibling")), ("pyproject.toml", "")]);
    project.write("sibling.py", "x = 1");
    let told = project.refused();
    assert!(told.contains("sibling.py` is imported, and not in the build\n   at: app.py:1\n  why: a build holds what is below"), "{told}");
}

#[test]
fn what_changes_the_digest_is_what_is_packed() {
    let project = Project::new([("a.txt", "1")]);
    let first = project.built();
    project.write("project/.flashignore", "b.txt\n");
    project.write("project/b.txt", "1");
    assert_eq!(project.built().digest, first.digest);
    project.write("project/a.txt", "2");
    assert_ne!(project.built().digest, first.digest);
    fs::write(project.path("a.txt"), "1").unwrap();
    fs::set_permissions(project.path("a.txt"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_ne!(project.built().digest, first.digest, "a program that can be run is another one");
}
