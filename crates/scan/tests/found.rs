//! What is found in modules that are sound.

mod common;

use std::time::Duration;

use common::{API, IMPORT, Tree, guide, module, routes, summary};
use flash_manifest::{Kind, Nature, ResourceClass};

#[test]
fn the_guides_programs_are_found() {
    let check = |file: &str, endpoint: &str, live: bool, expected: &[&str]| {
        let project = flash_scan::scan(&guide(file), None).unwrap_or_else(|problems| panic!("{file}: {}", problems[0]));
        let [found] = project.endpoints.as_slice() else { panic!("{file} has one endpoint") };
        assert_eq!((found.name.as_str(), found.class.is_live()), (endpoint, live));
        assert_eq!(routes(found), expected);
        assert_eq!(project.warnings, []);
    };
    check("greet.py", "example-api", true, &["POST /api/greet greet_user"]);
    check("process.py", "my-api", true, &["POST /api/process process_data"]);
    check("test_calculate.py", "test-api", true, &["POST /api/calculate calculate"]);
    check(
        "four_routes.py",
        "user-service",
        true,
        &["GET /users list_users", "POST /users create_user", "GET /users/{user_id} get_user", "DELETE /users/{user_id} delete_user"],
    );
    let service = [
        "GET /health health_check",
        "GET /users list_users",
        "POST /users create_user",
        "GET /users/{user_id} get_user",
        "PUT /users/{user_id} update_user",
        "DELETE /users/{user_id} delete_user",
    ];
    check("user_service.py", "user-service", false, &service);
    check("test_user_service.py", "user-service-test", true, &service);
}

#[test]
fn a_function_keeps_its_nature_its_place_and_its_packages() {
    let project = module(&format!(
        "{API}\n@remote(api, method='post', path='/a', dependencies=['numpy', 'torch==2.4'], system_dependencies=['ffmpeg'])\n\
         async def first(): ...\n@remote(api, method='GET', path='/b')\ndef second(): ...\n"
    ));
    let [first, second] = project.endpoints[0].functions.as_slice() else { panic!("there are two functions") };
    assert_eq!((first.nature, first.is_async(), first.location.line), (Nature::AsyncFunction, true, 5));
    assert_eq!((second.nature, second.is_async(), second.location.line), (Nature::Function, false, 7));
    assert_eq!(first.dependencies, ["numpy", "torch==2.4"]);
    assert_eq!(first.system_dependencies, ["ffmpeg"]);
    assert!(second.dependencies.is_empty());
    assert_eq!(first.route.as_ref().unwrap().to_string(), "POST /a");
}

/// One function whose declaration is spelled in some way, and the route that comes of it.
fn check(text: &str, expected: &str) {
    let project = module(text);
    assert_eq!(summary(&project), [("api".to_owned(), vec![expected.to_owned()])], "{text}");
}

#[test]
fn the_sdk_goes_by_any_name() {
    let call = |remote: &str, class: &str| format!("api = {class}(name='api')\n@{remote}(api, method='GET', path='/a')\ndef f(): ...\n");
    let check = |import: &str, remote: &str, class: &str| check(&format!("{import}\n{}", call(remote, class)), "GET /a f");
    check("from runpod_flash import LiveLoadBalancer as LB, remote as far", "far", "LB");
    check("import runpod_flash", "runpod_flash.remote", "runpod_flash.LiveLoadBalancer");
    check("import runpod_flash as f", "f.remote", "f.CpuLiveLoadBalancer");
    check("from runpod_flash import *", "remote", "LiveLoadBalancer");
    check("import runpod_flash as f\nremote = f.remote", "remote", "f.LiveLoadBalancer");
    check(
        "try:\n    from runpod_flash import LiveLoadBalancer, remote\nexcept ImportError:\n    remote = None",
        "remote",
        "LiveLoadBalancer",
    );
    check("if True:\n    from runpod_flash import LiveLoadBalancer, remote", "remote", "LiveLoadBalancer");
    check(
        "from typing import TYPE_CHECKING\nfrom runpod_flash import LiveLoadBalancer, remote\nif TYPE_CHECKING:\n    from x import remote",
        "remote",
        "LiveLoadBalancer",
    );
}

#[test]
fn options_come_by_name_or_position() {
    let check = |options: &str| check(&format!("{API}M = 'POST'\n@remote({options})\ndef f(): ...\n"), "POST /a f");
    check("api, method='Post', path='/a'");
    check("api, 'POST', '/a'");
    check("api, M, '/a', ['numpy']");
    check("resource_config=api, path='/a', method=M");
    check("api, ['numpy'], None, True, False, 'POST', '/a'");
    check("api, method=M, path='/a', local=True, accelerate_downloads=False");
}

#[test]
fn values_follow_constants_sums_and_f_strings() {
    let check = |lines: &str, path: &str| {
        check(&format!("{API}{lines}\n@remote(api, method='GET', path={path})\ndef f(): ...\n"), "GET /v1/users f");
    };
    check("", "'/v1' '/users'");
    check("P = '/v1/users'", "P");
    check("P: str = '/v1/users'", "P");
    check("A = V = '/v1'", "A + '/users'");
    check("A, B = '/v1', 'users'", "f'{A}/{B}'");
    check("N = 1\nB = f'/v{N}'", "f'{B}/users'");
    check("N = 1", "f'/v{N!s}' '/users'");
    check("P = '/v1'\nP += '/users'", "P");
    check("P = '/v1'\nP = P + '/users'", "P");
    check("DEBUG = False", "'/debug' if DEBUG else '/v1/users'");
    check("DEBUG = False\nif not DEBUG:\n    P = '/v1/users'\nelse:\n    P = '/debug'", "P");
    check("if __name__ == '__main__':\n    P = '/script'\nelse:\n    P = '/v1/users'", "P");
    check("A = 1\nif A == 2:\n    P = '/b'\nelif A != 2:\n    P = '/v1/users'\nelse:\n    P = '/c'", "P");
    check("import os\nif os.name == 'nt':\n    P = '/v1/users'\nelse:\n    P = '/v1/users'", "P");
    check("P = '/v1/users'", "P)\n@len\n@(lambda f: f");
}

#[test]
fn a_name_means_what_it_meant_at_the_line_that_uses_it() {
    let project = module(&format!(
        "{IMPORT}_cfg = LiveLoadBalancer(name='a')\n@remote(_cfg, method='GET', path='/x')\ndef f(): ...\n\
         _cfg = LiveLoadBalancer(name='b')\n@remote(_cfg, method='GET', path='/x')\ndef g(): ...\n"
    ));
    let expected = [("a".into(), vec!["GET /x f".into()]), ("b".into(), vec!["GET /x g".into()])];
    assert_eq!(summary(&project), expected, "T16: two endpoints of one variable");
}

#[test]
fn dependencies_follow_constants_and_sums_of_lists() {
    let check = |lines: &str, given: &str, expected: &[&str]| {
        let text = format!("{API}{lines}\n@remote(api, method='GET', path='/a', dependencies={given})\ndef f(): ...\n");
        assert_eq!(module(&text).endpoints[0].functions[0].dependencies, expected, "{text}");
    };
    check("BASE = ['numpy']", "BASE", &["numpy"]);
    check("BASE = ('numpy',)", "[*BASE, 'torch']", &["numpy", "torch"]);
    check("BASE = ['numpy']\nBASE += ['torch']", "BASE + ['pillow']", &["numpy", "torch", "pillow"]);
    check("V = '2.4'", "[f'torch=={V}', 'x @ https://host/x.whl']", &["torch==2.4", "x @ https://host/x.whl"]);
    check("", "None", &[]);
}

#[test]
fn classes_of_resources_are_told_apart() {
    for class in ResourceClass::ALL {
        let route = if class.kind() == Kind::LoadBalanced { ", method='GET', path='/a'" } else { "" };
        let project = module(&format!(
            "from runpod_flash import {class}, remote\nr = {class}(name='r', imageName='x', workersMin=1, workersMax=3, executionTimeoutMs=1500)\n\
             @remote(r{route})\ndef f(): ...\n"
        ));
        let endpoint = &project.endpoints[0];
        assert_eq!(endpoint.class, class);
        assert_eq!(endpoint.workers.map(|workers| (workers.least(), workers.most())), Some((1, 3)));
        assert_eq!(endpoint.timeout, Some(Duration::from_millis(1500)));
        assert_eq!(endpoint.functions[0].route.is_some(), class.kind() == Kind::LoadBalanced);
    }
}

#[test]
fn a_timeout_of_nothing_is_none() {
    let timeout = |given: &str| {
        let declared = format!("LiveLoadBalancer(name='r'{given})");
        module(&format!("{IMPORT}@remote({declared}, method='GET', path='/a')\ndef f(): ...\n")).endpoints[0].timeout
    };
    assert_eq!(timeout(""), None);
    assert_eq!(timeout(", executionTimeoutMs=0"), None);
    assert_eq!(timeout(", executionTimeoutMs=None"), None);
    assert_eq!(timeout(", executionTimeoutMs=250"), Some(Duration::from_millis(250)));
}

#[test]
fn an_endpoint_says_whether_requests_are_cancelled_when_their_callers_leave() {
    for (field, expected) in [("", false), (", cancel_on_disconnect=True", true), (", cancel_on_disconnect=OFF", false)] {
        let project =
            module(&format!("{IMPORT}OFF = False\napi = LiveLoadBalancer(name='a'{field})\n@remote(api, 'GET', '/a')\ndef f(): ...\n"));
        assert_eq!(project.endpoints[0].cancel_on_disconnect, expected, "{field}");
    }
}

#[test]
fn a_queue_based_class_is_a_function_too() {
    let project = module("from runpod_flash import LiveServerless, remote\nr = LiveServerless(name='r')\n@remote(r)\nclass Model: ...\n");
    assert_eq!(project.endpoints[0].functions[0].nature, Nature::Class);
}

#[test]
fn a_function_says_how_often_its_jobs_are_tried_again() {
    for (option, expected) in [("", None), (", retries=None", None), (", retries=0", Some(0)), (", retries=MANY", Some(7))] {
        let project = module(&format!(
            "from runpod_flash import LiveServerless, remote\nMANY = 7\nr = LiveServerless(name='r')\n@remote(r{option})\ndef f(): ...\n"
        ));
        assert_eq!(project.endpoints[0].functions[0].retries, expected, "{option}");
    }
}

#[test]
fn the_sdks_star_brings_what_the_sdk_exports_and_hides_nothing_else() {
    let function = "@remote(a2, 'GET', PATH)\ndef f(): ...\n";
    let ours = "from one import *\n";
    let theirs = "from runpod_flash import *\n";
    for stars in [format!("{ours}{theirs}"), format!("{theirs}{ours}")] {
        let one = format!("{IMPORT}a2 = LiveLoadBalancer(name='api')\nPATH = '/a'\n");
        let tree = Tree::new([("one.py", one), ("app.py", format!("{stars}{function}"))]);
        assert_eq!(summary(&tree.project("app.py")), [("api".to_owned(), vec!["GET /a f".to_owned()])], "{stars}");
    }
    let told = common::refused(&format!("{theirs}{function}"));
    assert!(told.contains("`a2` is not set before this line in `app.py`"), "{told}");
}

#[test]
fn an_endpoint_may_be_declared_within_the_decorator() {
    check(&format!("{IMPORT}@remote(LiveLoadBalancer(name='api'), method='GET', path='/a')\ndef f(): ...\n"), "GET /a f");
}

#[test]
fn names_come_from_other_files_of_the_project() {
    let tree = Tree::new([
        ("pyproject.toml", String::new()),
        ("common.py", format!("{IMPORT}from paths import *\nPREFIX = '/v1'\napi = LiveLoadBalancer(name=f'api-{{VERSION}}')\n")),
        ("paths.py", "VERSION = 2\nUSERS = '/users'\n".into()),
        (
            "main.py",
            "from common import api, remote as far, PREFIX\nimport paths as p\n@far(api, 'GET', PREFIX + p.USERS)\ndef f(): ...\n".into(),
        ),
        ("shop/__init__.py", "from .cart import LIMIT\n".into()),
        ("shop/cart.py", "LIMIT = 'limit'\n".into()),
        ("shop/api.py", "from ..common import remote, api\n".into()),
        (
            "shop/routes.py",
            "import shop.cart\nfrom runpod_flash import remote\nfrom common import api\nfrom . import cart, LIMIT\n\
             @remote(api, 'GET', f'/{cart.LIMIT}')\ndef g(): ...\n@remote(api, 'POST', '/' + shop.cart.LIMIT + LIMIT)\ndef h(): ...\n"
                .into(),
        ),
    ]);
    let expected = ("api-2".to_owned(), vec!["GET /v1/users f".into(), "GET /limit g".into(), "POST /limitlimit h".into()]);
    assert_eq!(summary(&tree.project("")), [expected]);
}

#[test]
fn an_endpoint_imported_at_the_top_of_a_second_file_is_one_endpoint() {
    let tree = Tree::new([
        ("workers/qb.py", format!("{API}@remote(api, method='POST', path='/infer')\ndef infer(): ...\n")),
        (
            "main.py",
            format!(
                "{IMPORT}from workers.qb import infer, api as gpu\nown = LiveLoadBalancer(name='own')\n@remote(own, 'GET', '/a')\ndef a(): ...\n@remote(gpu, 'GET', '/b')\ndef b(): ...\n"
            ),
        ),
    ]);
    let project = tree.project("");
    let expected = [("own".into(), vec!["GET /a a".into()]), ("api".into(), vec!["GET /b b".into(), "POST /infer infer".into()])];
    assert_eq!(summary(&project), expected, "T4");
    let infer = &project.endpoints[1].functions[1].module;
    assert_eq!((infer.name.as_str(), &infer.import_base), ("workers.qb", &tree.root()), "as the project imports it");
}

#[test]
fn a_parameters_annotation_is_left_to_the_worker() {
    // T18: what a parameter is comes from the signature, in the worker, the same for `flash run` and a deployment.
    check(
        &format!("{API}@remote(api, 'GET', '/items/{{item_id}}')\ndef f(item_id: 'int', limit: int = 10): ...\n"),
        "GET /items/{item_id} f",
    );
}

#[test]
fn nothing_is_run() {
    let tree = Tree::new([(
        "app.py",
        format!("raise SystemExit(1)\nimport no_such_module_anywhere\n{API}@remote(api, 'GET', '/a')\ndef f(): ...\n"),
    )]);
    assert_eq!(summary(&tree.project("app.py")), [("api".into(), vec!["GET /a f".into()])], "T8");
}
