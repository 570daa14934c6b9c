//! Which files are read, what their modules are called, and what the app is.
#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use common::{API, IMPORT, Tree, routes, summary};
use flash_manifest::{AppOrigin, Project};

/// A module with one endpoint and one function, both called `name`.
fn one(name: &str) -> String {
    format!("{IMPORT}api = LiveLoadBalancer(name='{name}')\n@remote(api, 'GET', '/a')\ndef {name}(): ...\n")
}

fn names(project: &Project) -> Vec<&str> {
    project.endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect()
}

#[test]
fn a_path_that_is_not_there_is_named() {
    let tree = Tree::new([("app/main.py", one("a"))]);
    let told = tree.told(&tree.scan("app/mian.py").unwrap_err());
    assert_eq!(
        told,
        "error: `app/mian.py` does not exist\n  why: it is what to search for endpoints\n  try: `app` is there: name a file or folder in it"
    );
    let told = tree.told(&flash_scan::scan(Path::new("no-such-file.py"), None).unwrap_err());
    assert!(told.contains("without one, the current folder is searched"), "{told}");
}

#[test]
fn a_file_without_endpoints_says_what_was_looked_for() {
    let tree = Tree::new([("app.py", "print('hello')\n".into()), ("README.md", "# x".into())]);
    let expected = |shown: &str, place: &str| {
        format!(
            "error: no endpoints in `{shown}`\n  why: endpoints are found by functions decorated with @remote of runpod_flash, and there are \
             none: {place}\n  try: api = LiveLoadBalancer(name=\"my-api\"), and @remote(api, method=\"POST\", path=\"/hello\") above a function"
        )
    };
    assert_eq!(tree.told(&tree.scan("app.py").unwrap_err()), expected("app.py", "`app.py` was searched"));
    let place = "one file in `ROOT` was searched; tests, hidden and ignored files were not";
    assert_eq!(tree.told(&flash_scan::scan(&tree.root(), None).unwrap_err()), expected("ROOT", place));
    assert!(tree.told(&tree.scan("README.md").unwrap_err()).starts_with("error: `README.md` is no Python file\n"));
}

#[test]
fn tests_are_read_when_they_are_named() {
    let tree = Tree::new([
        ("app.py", one("app")),
        ("test_app.py", one("test1")),
        ("app_test.py", one("test2")),
        ("conftest.py", one("test3")),
        ("tests/more.py", one("more")),
        ("tests/test_more.py", one("test4")),
        ("tests/tests/even_more.py", one("test5")),
        ("latest.py", one("latest")),
    ]);
    assert_eq!(names(&tree.project("")), ["app", "latest"]);
    assert_eq!(names(&tree.project("test_app.py")), ["test1"]);
    assert_eq!(names(&tree.project("tests")), ["more", "test4", "test5"]);
}

#[test]
fn what_is_not_the_projects_own_is_left_out() {
    let tree = Tree::new([
        (".git/HEAD", String::new()),
        (".gitignore", "/generated/\nsecret.py\n".into()),
        ("app.py", one("app")),
        // T9: packages may be called this.
        ("env/a.py", one("env")),
        ("build/a.py", one("build")),
        ("docs/a.py", one("docs")),
        ("generated/a.py", one("no1")),
        ("secret.py", one("no2")),
        (".venv/lib/a.py", one("no3")),
        ("mine/pyvenv.cfg", String::new()),
        ("mine/lib/a.py", one("no4")),
        ("node_modules/a/a.py", one("no5")),
        ("__pycache__/a.py", one("no6")),
        // A server's home.
        ("home/token", String::new()),
        ("home/state.db", String::new()),
        ("home/builds/x/tree/src/a.py", one("no10")),
        (".hidden.py", one("no7")),
        ("app.pyi", one("no8")),
        ("notes.txt", one("no9")),
    ]);
    assert_eq!(names(&tree.project("")), ["app", "build", "docs", "env"]);
    assert_eq!(names(&tree.project("secret.py")), ["no2"], "named");
}

#[test]
fn the_sources_of_a_project_are_what_a_change_can_be_in() {
    let tree = Tree::new([
        (".git/HEAD", String::new()),
        (".gitignore", "/generated/\n".into()),
        ("app.py", one("app")),
        ("pkg/inner/a.py", "# nothing of ours\n".into()),
        ("tests/test_app.py", String::new()),
        ("data/notes.txt", String::new()),
        ("generated/a.py", String::new()),
        (".venv/lib/a.py", String::new()),
        ("__pycache__/a.py", String::new()),
        (".hidden/a.py", String::new()),
    ]);
    let paths = |names: &[&str]| names.iter().map(|name| if name.is_empty() { tree.root() } else { tree.path(name) }).collect();
    let files = paths(&["app.py", "pkg/inner/a.py", "tests/test_app.py"]);
    let folders: Vec<_> = paths(&["", "data", "pkg", "pkg/inner", "tests"]);
    let count = folders.len();
    let expected = flash_scan::Sources { files, folders };
    assert_eq!(flash_scan::sources(&tree.root(), count), Some(expected));
    assert_eq!(flash_scan::sources(&tree.root(), count - 1), None, "too many folders");
}

#[test]
fn the_root_of_a_project_is_found_from_a_file_and_a_folder() {
    let tree = Tree::new([("flash.toml", String::new()), ("pkg/inner/a.py", String::new())]);
    for target in ["pkg/inner/a.py", "pkg/inner", ""] {
        assert_eq!(flash_scan::root(&tree.root().join(target)), Some(tree.root()), "{target}");
    }
    assert_eq!(flash_scan::root(&tree.path("nowhere.py")), None);
}

#[test]
fn links_lead_to_each_file_once() {
    let tree = Tree::new([("app.py", one("app")), ("sub/x.py", one("x"))]);
    symlink(tree.path(""), tree.path("sub/loop")).unwrap();
    symlink(tree.path("app.py"), tree.path("again.py")).unwrap();
    symlink(tree.path("nowhere.py"), tree.path("broken.py")).unwrap();
    symlink(tree.path("sub"), tree.path("other")).unwrap();
    let shared = Tree::new([("y.py", one("y"))]);
    symlink(shared.root(), tree.path("shared")).unwrap();
    let project = tree.project("");
    assert_eq!(project.warnings, []);
    let mut found = names(&project);
    found.sort_unstable();
    assert_eq!(found, ["app", "x", "y"]);
}

#[test]
fn a_link_in_a_package_is_a_module_of_it() {
    let outside = Tree::new([
        ("real.py", format!("from .beside import X\n{}", one("linked"))),
        ("plain.py", one("plain")),
        ("common/__init__.py", String::new()),
        ("common/deep.py", one("deep")),
        ("common/res.py", format!("{IMPORT}shared = LiveLoadBalancer(name='shared')\n")),
    ]);
    let tree = Tree::new([
        ("pyproject.toml", String::new()),
        ("pkg/__init__.py", String::new()),
        ("pkg/beside.py", "X = 1\n".into()),
        ("pkg/res.py", one("own")),
        ("user.py", format!("{IMPORT}from common.res import shared\n@remote(shared, method='GET', path='/')\ndef user(): ...\n")),
    ]);
    symlink(outside.path("real.py"), tree.path("pkg/api.py")).unwrap();
    symlink(outside.path("plain.py"), tree.path("plain.py")).unwrap();
    symlink(outside.path("common"), tree.path("common")).unwrap();
    symlink(tree.path("pkg/res.py"), tree.path("pkg/again.py")).unwrap();
    let project = tree.project("");
    assert_eq!(project.warnings, []);
    let module = |function: &str| {
        let mut functions = project.endpoints.iter().flat_map(|endpoint| &endpoint.functions);
        let module = &functions.find(|found| found.qualname == function).unwrap().module;
        (module.name.clone(), module.import_base.clone(), module.file.clone())
    };
    assert_eq!(module("linked"), ("pkg.api".into(), tree.root(), outside.path("real.py")));
    assert_eq!(module("deep"), ("common.deep".into(), tree.root(), outside.path("common/deep.py")));
    assert_eq!(module("plain"), ("plain".into(), outside.root(), outside.path("plain.py")));
    assert_eq!(module("own"), ("pkg.res".into(), tree.root(), tree.path("pkg/res.py")));
    assert_eq!(module("user").0, "user");
}

#[test]
fn files_that_cannot_be_read_are_told_of() {
    let large = format!("{}\n{}", one("large"), "# x\n".repeat(1_200_000));
    let tree = Tree::new([("app.py", one("app")), ("large.py", large)]);
    fs::create_dir(tree.path("folder.py")).unwrap();
    let project = tree.project("");
    assert_eq!(names(&project), ["app"]);
    assert!(tree.told(&project.warnings).starts_with("warning: `large.py` cannot be read: it has "));
    assert!(tree.told(&tree.scan("large.py").unwrap_err()).starts_with("error: `large.py` cannot be read: it has "));
    fs::set_permissions(tree.path("app.py"), fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(tree.path("app.py")).is_err() {
        assert!(tree.told(&tree.scan("app.py").unwrap_err()).contains("cannot be read: Permission denied"));
    }
}

#[test]
fn text_in_other_encodings_is_read_or_told_of() {
    let tree = Tree::new([]);
    let body = one("app");
    tree.write("bom.py", [b"\xef\xbb\xbf", body.as_bytes()].concat());
    tree.write("latin.py", [b"# coding: latin-1\n# \xe9\n", body.as_bytes()].concat());
    tree.write("windows.py", body.replace('\n', "\r\n"));
    tree.write("bad.py", [b"# \xe9\n", body.as_bytes()].concat());
    tree.write("koi.py", [b"# coding: koi8-r\n# \xc1\n", body.as_bytes()].concat());
    tree.write("wide.py", body.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>());
    for sound in ["bom.py", "latin.py", "windows.py"] {
        assert_eq!(names(&tree.project(sound)), ["app"], "{sound}");
    }
    for (file, expected) in [
        ("bad.py", "error: `bad.py` has the byte 0xe9, which is not UTF-8\n   at: bad.py:1\n"),
        ("koi.py", "error: `koi.py` is encoded as `koi8-r`, which is not understood here\n"),
        ("wide.py", "error: `wide.py` has a null byte\n   at: wide.py:1\n"),
    ] {
        let told = tree.told(&tree.scan(file).unwrap_err());
        assert!(told.starts_with(expected), "{told}");
    }
}

#[test]
fn broken_files_that_have_nothing_to_do_with_us_do_not_matter() {
    let tree = Tree::new([("app.py", one("app")), ("python2.py", "print 'remote'\n".into())]);
    tree.write("data.py", b"remote = '\xff'\n");
    assert_eq!(names(&tree.project("")), ["app"], "T8");
    tree.write("ours.py", "from runpod_flash import (\n");
    let told = tree.told(&tree.scan("").unwrap_err());
    assert!(told.starts_with("error: `ours.py` has a syntax error: "), "{told}");
}

/// The module of the one function in a file: its name, and its base below the root.
fn module_of(tree: &Tree, target: &str, function: &str) -> (String, String) {
    let project = tree.project(target);
    let mut functions = project.endpoints.iter().flat_map(|endpoint| &endpoint.functions);
    let module = &functions.find(|found| found.qualname == function).unwrap().module;
    (module.name.clone(), module.import_base.strip_prefix(tree.root()).unwrap().display().to_string())
}

#[test]
fn modules_are_called_as_python_calls_them() {
    let tree = Tree::new([
        ("pyproject.toml", String::new()),
        ("script.py", one("script")),
        ("scripts/tool.py", one("tool")),
        ("pkg/__init__.py", one("init")),
        ("pkg/sub/__init__.py", String::new()),
        ("pkg/sub/mod.py", one("mod")),
        ("src/lay/__init__.py", String::new()),
        ("src/lay/out.py", one("out")),
        ("pkg/__main__.py", one("main")),
    ]);
    let check = |target: &str, function: &str, name: &str, base: &str| {
        assert_eq!(module_of(&tree, target, function), (name.into(), base.into()), "{target}");
        assert_eq!(module_of(&tree, "", function), (name.into(), base.into()), "{target} in its project");
    };
    check("script.py", "script", "script", "");
    check("scripts/tool.py", "tool", "tool", "scripts");
    check("pkg/__init__.py", "init", "pkg", "");
    check("pkg/sub/mod.py", "mod", "pkg.sub.mod", "");
    check("src/lay/out.py", "out", "lay.out", "src");
    check("pkg/__main__.py", "main", "pkg.__main__", "");
}

#[test]
fn modules_of_one_name_are_told_apart_by_their_folders() {
    let tree =
        Tree::new([("pyproject.toml", String::new()), ("01_a/main.py", one("a")), ("02_b/main.py", one("b")), ("c/other.py", one("c"))]);
    let check = |function: &str, name: &str, base: &str| assert_eq!(module_of(&tree, "", function), (name.into(), base.into()));
    check("a", "01_a.main", "");
    check("b", "02_b.main", "");
    check("c", "other", "c");
}

#[test]
fn relative_imports_make_packages_of_folders_without_an_init() {
    let relative = |import: &str, name: &str| format!("{import}\n{}", one(name));
    let tree = Tree::new([
        ("pyproject.toml", String::new()),
        ("a/b/api.py", relative("from .beside import x", "api")),
        ("a/b/beside.py", one("beside")),
        ("a/b/alone.py", one("alone")),
        ("a/up.py", relative("from . import above", "up")),
        ("a/above.py", one("above")),
        ("a/b/deep/far.py", relative("def f():\n    from ...above import x\n", "far")),
        ("a/b/deep/__init__.py", String::new()),
        ("a/whole/__init__.py", one("whole")),
        ("a/whole/part.py", relative("from . import other\nfrom .other import x", "part")),
        ("a/whole/other.py", one("other")),
        ("src/c/app.py", relative("from .beside import x", "app")),
        ("root.py", relative("from . import nothing", "root")),
        ("v1.2/app.py", relative("from . import nothing", "dotted")),
    ]);
    let check = |function: &str, name: &str, base: &str| assert_eq!(module_of(&tree, "", function), (name.into(), base.into()));
    check("api", "a.b.api", "");
    check("beside", "a.b.beside", "");
    check("alone", "alone", "a/b");
    check("up", "a.up", "");
    check("above", "a.above", "");
    check("far", "a.b.deep.far", "");
    check("whole", "whole", "a");
    check("part", "whole.part", "a");
    check("other", "whole.other", "a");
    check("app", "c.app", "src");
    check("root", "root", "");
    check("dotted", "app", "v1.2");
    assert_eq!(module_of(&tree, "a/b/api.py", "api"), ("a.b.api".into(), String::new()));
}

#[test]
fn files_that_no_import_can_name_are_refused() {
    let tree = Tree::new([("my.app.py", one("app")), ("__main__.py", one("main"))]);
    for file in ["my.app.py", "__main__.py"] {
        let told = tree.told(&tree.scan(file).unwrap_err());
        assert!(told.starts_with(&format!("error: `{file}` cannot be imported\n")), "{told}");
    }
}

#[test]
fn the_root_is_the_nearest_folder_with_a_mark() {
    let tree = Tree::new([
        (".git/HEAD", String::new()),
        ("one/pyproject.toml", String::new()),
        ("one/deep/er/app.py", one("a")),
        ("two/flash.toml", String::new()),
        ("two/app.py", one("b")),
        ("three/app.py", one("c")),
    ]);
    let check = |target: &str, expected: &str| assert_eq!(tree.project(target).root, tree.root().join(expected), "{target}");
    check("one/deep/er/app.py", "one");
    check("one/deep", "one");
    check("two/app.py", "two");
    check("three/app.py", "");
}

#[test]
fn the_apps_name_comes_from_the_strongest_source() {
    let tree = Tree::new([("my project/app.py", one("a"))]);
    let check = |flash_app: Option<&str>, name: &str, origin: AppOrigin| {
        let app = flash_scan::scan(&tree.path("my project/app.py"), flash_app).unwrap().app;
        assert_eq!((app.name.as_str(), app.origin), (name, origin));
    };
    tree.write("my project/pyproject.toml", "");
    check(None, "my-project", AppOrigin::Folder);
    tree.write("my project/pyproject.toml", "[project]\nname = 'shop'\nversion = '1'\n[tool.x]\na = 1\n");
    check(None, "shop", AppOrigin::Pyproject);
    tree.write("my project/flash.toml", "app = 'store'\n[endpoints.a]\n");
    check(None, "store", AppOrigin::FlashToml);
    check(Some(""), "store", AppOrigin::FlashToml);
    check(Some("mart"), "mart", AppOrigin::Environment);
}

#[test]
fn a_wrong_app_name_is_shown_where_it_is_given() {
    let tree = Tree::new([("app.py", one("a"))]);
    let check = |file: &str, text: &str, expected: &str| {
        tree.write(file, text);
        let told = tree.told(&tree.scan("app.py").unwrap_err());
        assert!(told.starts_with(expected), "{told}");
        fs::remove_file(tree.path(file)).unwrap();
    };
    check("flash.toml", "# x\napp = 'a b'\n", "error: app name 'a b' has the character ' '\n   at: flash.toml:2\n         app = 'a b'\n");
    check("flash.toml", "app = 3\n", "error: app must be a text. Got: 3\n   at: flash.toml:1\n");
    check("pyproject.toml", "[project\n", "error: `pyproject.toml` is not as it should be: ");
    let told = tree.told(&flash_scan::scan(&tree.path("app.py"), Some("a b")).unwrap_err());
    assert!(told.contains("app name 'a b'") && told.contains("try: set FLASH_APP to a name such as 'a-b'"), "{told}");
}

#[test]
fn remote_may_come_by_way_of_a_file_of_the_project() {
    let tree = Tree::new([("common.py", API.into()), ("app.py", "from common import *\n@remote(api, 'GET', '/a')\ndef f(): ...\n".into())]);
    assert_eq!(routes(&tree.project("").endpoints[0]), ["GET /a f"]);
}

#[test]
fn a_large_project_is_read_whole() {
    let tree = Tree::new([]);
    for index in 0..1_000 {
        let text = if index % 10 == 0 { one(&format!("e{index}")) } else { format!("VALUE = {index}\n") };
        tree.write(&format!("p{}/m{index}.py", index % 20), text);
    }
    assert_eq!(summary(&tree.project("")).len(), 100);
}

#[test]
fn what_is_set_comes_with_the_project() {
    let tree = Tree::new([("app.py", one("a")), ("flash.toml", "[endpoints.a]\ngpu = 1\n".into())]);
    for target in ["app.py", ""] {
        assert_eq!(tree.project(target).settings.overrides("a", None).gpu, Some(1), "{target}");
    }
    let (root, settings) = flash_scan::settings(&tree.path("app.py")).unwrap();
    assert_eq!((root, settings.overrides("a", None).gpu), (tree.root(), Some(1)));
    assert_eq!(
        flash_scan::settings(&tree.path("nowhere.py")).unwrap_err()[0].what,
        format!("`{}` does not exist", tree.path("nowhere.py").display())
    );
}

#[test]
fn settings_of_endpoints_that_are_not_there_are_refused_of_a_whole_project() {
    let tree = Tree::new([("one.py", one("a")), ("sub/two.py", one("b")), ("flash.toml", "[endpoints.a]\n[endpoints.jobs]\n".into())]);
    tree.project("one.py");
    tree.project("sub");
    let told = tree.told(&tree.scan("").unwrap_err());
    assert!(told.starts_with("error: the project has no endpoint 'jobs'\n   at: flash.toml:2\n         [endpoints.jobs]\n"), "{told}");
    assert!(told.ends_with("try: take it out; the endpoints are: a, b"), "{told}");
}

#[test]
fn settings_that_cannot_be_read_are_told_of() {
    let tree = Tree::new([("app.py", one("a"))]);
    let check = |expected: &str| {
        let told = tree.told(&tree.scan("app.py").unwrap_err());
        assert!(told.starts_with(expected), "{told}");
    };
    tree.write("flash.toml", b"app = '\xff'");
    check("error: `flash.toml` cannot be read: stream did not contain valid UTF-8");
    tree.write("flash.toml", " ".repeat(1024 * 1024 + 1));
    check("error: `flash.toml` cannot be read: it has more than 1 MiB");
    tree.write("flash.toml", "ap = 1\nserver = 2\n");
    check("error: unknown key `ap` in flash.toml (Did you mean `app`?)\n   at: flash.toml:1\n         ap = 1\n");
    assert_eq!(tree.scan("app.py").unwrap_err().len(), 2, "both lines are told");
    fs::remove_file(tree.path("flash.toml")).unwrap();
    fs::create_dir(tree.path("flash.toml")).unwrap();
    check("error: `flash.toml` cannot be read: ");
}

#[test]
fn settings_are_spelled_as_the_user_does() {
    let tree = Tree::new([("app.py", one("a")), ("flash.toml", "x = 1".into())]);
    let at = |target: &std::path::Path| flash_scan::scan(target, None).unwrap_err()[0].location.as_ref().unwrap().to_string();
    let relative =
        |path: &str| std::path::PathBuf::from(format!("{}{path}", "../".repeat(30))).join(tree.path("app.py").strip_prefix("/").unwrap());
    assert_eq!(at(&tree.path("app.py")), tree.path("flash.toml").display().to_string() + ":1");
    let spelled = relative("");
    assert_eq!(at(&spelled), spelled.with_file_name("flash.toml").display().to_string() + ":1");
}
