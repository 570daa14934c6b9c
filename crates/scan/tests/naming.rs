//! What modules are called whose folders have no `__init__.py`, and where their imports begin: as the project imports them.
#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

mod common;

use common::{IMPORT, Tree};

/// A module with these imports, an endpoint and a function, both called `name`.
fn one(imports: &str, name: &str) -> String {
    format!("{imports}\n{IMPORT}api = LiveLoadBalancer(name='{name}')\n@remote(api, 'GET', '/{name}')\ndef {name}(): ...\n")
}

/// The module of a function: its name, and its import path, relative to `root`.
fn module(tree: &Tree, target: &str, function: &str) -> (String, Vec<String>) {
    let project = tree.project(target);
    let mut functions = project.endpoints.iter().flat_map(|endpoint| &endpoint.functions);
    let module = &functions.find(|found| found.qualname == function).unwrap().module;
    let relative = |base: &std::path::PathBuf| base.strip_prefix(tree.root()).unwrap().display().to_string();
    assert!(module.import_path().contains(&module.import_base));
    (module.name.clone(), module.import_path().iter().map(relative).collect())
}

fn check(tree: &Tree, targets: &[&str], function: &str, name: &str, path: &[&str]) {
    for target in targets {
        let path = path.iter().map(|base| (*base).to_owned()).collect();
        assert_eq!(module(tree, target, function), (name.to_owned(), path), "{function} of {target:?}");
    }
}

#[test]
fn a_module_that_imports_its_own_package_is_of_that_package() {
    let items = format!("{IMPORT}from app.conf import api\n@remote(api, 'GET', '/f')\ndef items(): ...\n");
    let conf = format!("{IMPORT}api = LiveLoadBalancer(name='min')\n");
    for marked in [true, false] {
        let tree =
            Tree::new([("app/conf.py", conf.clone()), ("app/items.py", items.clone()), ("app/deep/far.py", one("import app.conf", "far"))]);
        if marked {
            tree.write("pyproject.toml", "");
        }
        check(&tree, &["", "app", "app/items.py"], "items", "app.items", &[""]);
        check(&tree, &["", "app", "app/deep/far.py"], "far", "app.deep.far", &[""]);
        assert_eq!(tree.project("app/items.py").root, tree.root(), "marked: {marked}");
    }
}

#[test]
fn a_module_is_called_as_the_project_imports_it() {
    let tree = Tree::new([
        ("pyproject.toml", String::new()),
        ("app/items.py", one("", "items")),
        ("app/whole/__init__.py", one("", "whole")),
        ("app/starred.py", one("", "starred")),
        ("app/alone.py", one("", "alone")),
        ("tests/test_app.py", "from app import items, whole\n".into()),
        ("main.py", "from app.starred import *\n".into()),
    ]);
    check(&tree, &["", "app", "app/items.py"], "items", "app.items", &[""]);
    check(&tree, &["", "app/whole/__init__.py"], "whole", "app.whole", &[""]);
    check(&tree, &["", "app/starred.py"], "starred", "app.starred", &[""]);
    check(&tree, &["", "app/alone.py"], "alone", "alone", &["app", ""]);
}

#[test]
fn sources_in_src_are_imported_from_there() {
    let tree = Tree::new([
        ("pyproject.toml", String::new()),
        ("src/shop/conf.py", format!("{IMPORT}api = LiveLoadBalancer(name='min')\n")),
        ("src/shop/items.py", format!("{IMPORT}from shop.conf import api\n@remote(api, 'GET', '/f')\ndef items(): ...\n")),
        ("src/whole/__init__.py", String::new()),
        ("src/whole/api.py", one("from tools.more import x", "whole")),
        ("tools/more.py", "x = 1\n".into()),
        ("main.py", one("from shop.items import items", "main")),
    ]);
    check(&tree, &["", "src/shop/items.py"], "items", "shop.items", &["src", ""]);
    check(&tree, &["", "src/whole/api.py"], "whole", "whole.api", &["src", ""]);
    check(&tree, &["", "main.py"], "main", "main", &["", "src"]);
}

#[test]
fn a_script_finds_its_neighbours_and_the_packages_of_the_project() {
    let tree = Tree::new([
        ("pyproject.toml", String::new()),
        ("app/__init__.py", String::new()),
        ("app/conf.py", "x = 1\n".into()),
        ("scripts/tool.py", one("import helper\nfrom app.conf import x", "tool")),
        ("scripts/helper.py", "x = 1\n".into()),
        ("mixed/items.py", one("import near\nfrom mixed.conf import x", "mixed")),
        ("mixed/near.py", String::new()),
        ("mixed/conf.py", "x = 1\n".into()),
        ("either/api.py", one("try:\n    import near2\nexcept ImportError:\n    from either import near2", "either")),
        ("either/near2.py", String::new()),
        ("main.py", "import either.api\n".into()),
    ]);
    check(&tree, &["", "scripts/tool.py"], "tool", "tool", &["scripts", ""]);
    check(&tree, &["", "mixed/items.py"], "mixed", "mixed.items", &["", "mixed"]);
    check(&tree, &["", "either/api.py"], "either", "either.api", &[""]);
}

#[test]
fn a_project_that_is_a_package_itself_finds_what_is_in_it() {
    let tree = Tree::new([
        ("proj/pyproject.toml", String::new()),
        ("proj/__init__.py", String::new()),
        ("proj/conf.py", format!("{IMPORT}api = LiveLoadBalancer(name='min')\n")),
        ("proj/main.py", format!("{IMPORT}from conf import api\n@remote(api, 'GET', '/f')\ndef main(): ...\n")),
        ("proj/inner.py", one("from proj.conf import api", "inner")),
        ("proj/app/items.py", one("from app.more import x", "items")),
        ("proj/app/more.py", "x = 1\n".into()),
    ]);
    check(&tree, &["proj", "proj/main.py"], "main", "proj.main", &["", "proj"]);
    check(&tree, &["proj", "proj/inner.py"], "inner", "proj.inner", &["", "proj"]);
    check(&tree, &["proj", "proj/app/items.py"], "items", "app.items", &["proj"]);
}

#[test]
fn modules_of_one_name_keep_their_neighbours() {
    let tree = Tree::new([
        ("pyproject.toml", String::new()),
        ("conf.py", "name = 'root'\n".into()),
        ("a/items.py", one("from conf import name", "a")),
        ("a/conf.py", "name = 'a'\n".into()),
        ("b/items.py", one("from conf import name", "b")),
        ("b/conf.py", "name = 'b'\n".into()),
    ]);
    check(&tree, &[""], "a", "a.items", &["a", ""]);
    check(&tree, &[""], "b", "b.items", &["b", ""]);
    check(&tree, &["a/items.py"], "a", "items", &["a", ""]);
}

#[test]
fn an_import_means_what_the_workers_will_find() {
    let named = |imports: &str| format!("{imports}\n{IMPORT}api = LiveLoadBalancer(name=NAME)\n@remote(api, 'GET', '/f')\ndef f(): ...\n");
    let tree = Tree::new([
        ("pyproject.toml", String::new()),
        ("settings.py", "NAME = 'of-the-root'\n".into()),
        ("app/settings.py", "NAME = 'of-the-folder'\n".into()),
        ("app/items.py", named("import app.more\nfrom settings import NAME")),
        ("app/more.py", String::new()),
        ("scripts/items.py", named("from settings import NAME").replace("NAME)", "NAME + '-too')")),
        // No package: a file of that name goes before it.
        ("scripts/settings/notes.txt", String::new()),
    ]);
    let name = |target: &str| tree.project(target).endpoints[0].name.to_string();
    assert_eq!(name("app/items.py"), "of-the-root");
    assert_eq!(name("scripts/items.py"), "of-the-root-too");
    tree.write("app/named.py", named("import app.more").replace("NAME", "__name__"));
    assert_eq!(name("app/named.py"), "app.named");
}
