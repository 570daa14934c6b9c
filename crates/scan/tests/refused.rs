//! What is said of modules that are not sound, to the letter where the guide or the SDK has the words.

mod common;

use common::{API, IMPORT, Tree, module, refused, summary, warned};

#[test]
fn a_syntax_error_is_shown_with_its_line() {
    let text = "from runpod_flash import remote\n\ndef f(:\n    pass\n";
    assert_eq!(
        refused(text),
        "error: `app.py` has a syntax error: expected a parameter or the end of the parameter list\n   at: app.py:3\n         def f(:\n  \
         why: the file is no valid Python, so its functions cannot be found\n  try: mend the line"
    );
}

#[test]
fn what_cannot_be_told_from_the_source_is_shown() {
    assert_eq!(
        refused(&format!("import os\n{API}@remote(api, method='GET', path=os.environ['P'])\ndef f(): ...\n")),
        "error: the path of function 'f' cannot be told from the source: `os.environ['P']`\n   at: app.py:4\n         \
         @remote(api, method='GET', path=os.environ['P'])\n  \
         why: the environment is not the same where the program is built and where it runs\n  \
         try: write the value out; what differs from one environment to the next belongs into flash.toml"
    );
}

/// The first line and the reason of what is said of one function's options, below `lines`.
fn check(lines: &str, options: &str, what: &str, why: &str) {
    let text = format!("{API}{lines}\n@remote({options})\ndef f(user_id): ...\n");
    let tree = Tree::new([("app.py", text.clone())]);
    let problems = tree.scan("app.py").expect_err(&text);
    assert_eq!(problems[0].what, what, "{text}");
    let told = tree.told(&problems[..1]);
    assert!(told.contains(why), "{told}\ndoes not say: {why}");
    assert!(problems[0].location.is_some() && problems[0].excerpt.is_some() && !problems[0].remedy.is_empty());
}

#[test]
fn every_unknown_value_says_why() {
    let path = "the path of function 'f' cannot be told from the source: ";
    let check = |lines: &str, given: &str, shown: &str, why: &str| {
        check(lines, &format!("api, method='GET', path={given}"), &format!("{path}`{shown}`"), why);
    };
    check("import config", "config.P", "config", "none of the project's own files");
    check("from config import P", "P", "P", "comes from `config`");
    check("from ..config import P", "P", "P", "comes from `..config`");
    check("", "P", "P", "`P` is not set before this line in `app.py`");
    check("def make(): return '/a'", "make()", "make()", "only when the program runs");
    check("P = '/a'.upper()", "P", "'/a'.upper()", "only when the program runs");
    check("for P in ['/a']: pass", "P", "P", "changed at app.py:3");
    check("P = ['/a']\nP.append(1)", "P", "P", "changed at app.py:4");
    check("P = {}\nP['a'] = 1", "P", "P", "changed at app.py:4");
    check("P = P2\nP2 = P", "P", "P2", "not set before this line");
    check("import os\nif os.name == 'nt':\n  P = '/a'\nelse:\n  P = '/b'", "P", "P", "set at app.py:5 and app.py:7");
    check("V = 1.5", "f'/{V}'", "1.5", "only when");
    check("V = 1", "f'/{V:03}'", "f'/{V:03}'", "only when");
    check("class C:\n  P = '/a'", "C.P", "C.P", "attributes of objects");
    check("", "'/' + 1", "'/' + 1", "neither of two texts");
    check("A = ['a']", "f'/{A}'", "A", "how it is shown");
}

#[test]
fn values_that_grow_without_end_are_given_up() {
    let mut doubling = String::from("A0 = '/a'\n");
    for index in 1..200 {
        doubling.push_str(&format!("A{index} = A{0} + A{0}\n", index - 1));
    }
    let check = |lines: &str, path: &str, why: &str| {
        let told = refused(&format!("{API}{lines}\n@remote(api, 'GET', {path})\ndef f(): ...\n"));
        assert!(told.contains(why), "{told}");
    };
    check(&doubling, "A199", "without end");
    check(&doubling, "A20", "without end");
    check(&format!("A = '{}'", "a".repeat(100)), &format!("f'{}'", "{A}".repeat(700)), "more than 65536 bytes");
}

#[test]
fn options_are_checked_as_the_sdk_checks_them() {
    let lacking = "LoadBalancerSlsResource requires both 'method' and 'path' parameters. Got ";
    let example = ". Example: @remote(resource_config, method='POST', path='/api/process')";
    let first = "remote() takes a resource first. Got: ";
    check("", "api", &format!("{lacking}method=None, path=None{example}"), "route");
    check("", "api, method='GET'", &format!("{lacking}method='GET', path=None{example}"), "route");
    check("", "api, method=1, path='/a'", &format!("{lacking}method=1, path='/a'{example}"), "route");
    check("", "api, method='PTACH', path='/a'", "Invalid HTTP method 'PTACH' must be one of: GET, POST, PUT, DELETE, PATCH", "any case");
    check("", "api, method='GET', path='a'", "path must start with '/'. Got: a", "absolute");
    check("", "api, method='GET', path='/ping'", "path '/ping' is reserved by the framework. reserved paths: /execute, /ping", "healthy");
    check(
        "",
        "api, method='GET', path='/execute'",
        "path '/execute' is reserved by the framework. reserved paths: /execute, /ping",
        "live",
    );
    check("", "api, 'GET', '/a', retries=1", "retries are not for functions of a LiveLoadBalancer", "answered once");
    let queue = "from runpod_flash import LiveServerless\nq = LiveServerless(name='q')";
    for wrong in ["-1", "101", "True", "'2'"] {
        let what = format!("retries must be a whole number between 0 and 100. Got: {wrong}");
        check(queue, &format!("q, retries={wrong}"), &what, "tried again so often");
    }
    check("", "api, methd='GET'", "remote() got unknown keyword argument: 'methd' (Did you mean 'method'?)", "it takes");
    check("", "api, foo=1, pth='/a'", "remote() got unknown keyword arguments: 'foo', 'pth' (Did you mean 'path'?)", "it takes");
    check("", "api, 'GET', '/a', method='GET'", "remote() got multiple values for argument 'method'", "by position and by name");
    check("", "*api", "remote() is given its options by `*`, which cannot be told from the source", "unpacked");
    check("R = {}", "api, **R", "remote() is given its options by `**`, which cannot be told from the source", "unpacked");
    check("", "", &format!("{first}nothing"), "which endpoint");
    check("", "LiveLoadBalancer", &format!("{first}the class LiveLoadBalancer"), "which endpoint");
    check("", "'GET', '/a'", &format!("{first}'GET'"), "which endpoint");
    check("", "api, 'GET', '/a', dependencies='numpy'", "dependencies must be a list of strings. Got: 'numpy'", "package");
    check("", "api, 'GET', '/a', dependencies=['a', 1]", "dependencies must be a list of strings. Got: ['a', 1]", "package");
    check("", "api, 1, 2, 3, 4, 5, 6, 7", "remote() takes at most 7 positional arguments (8 given)", "order");
}

#[test]
fn path_parameters_are_looked_for_where_they_can_be() {
    let text = |signature: &str, below: &str| format!("{API}@remote(api, 'GET', '/{{x}}')\n{below}def f({signature}): ...\n");
    for (signature, below) in [("x", ""), ("x, /", ""), ("*, x=1", ""), ("**rest", ""), ("", "@wraps\n")] {
        assert_eq!(warned(&text(signature, below)), "", "{signature} {below}");
    }
    let told = warned(&text("y", ""));
    assert!(told.starts_with("warning: path '/{x}' has the parameter 'x', which function 'f' does not take\n   at: app.py:"), "{told}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_path_that_is_not_utf_8_is_refused_where_it_matters() {
    use std::os::unix::ffi::OsStrExt as _;
    let tree = Tree::new([("app.py", format!("{API}@remote(api, method='GET', path='/a')\ndef f(): ...\n"))]);
    let odd = |name: &[u8]| tree.root().join(std::ffi::OsStr::from_bytes(name));
    std::fs::write(odd(b"\xff.py"), "x = 1\n").expect("the file system takes any bytes");
    tree.project(".");
    std::fs::copy(tree.path("app.py"), odd(b"\xfe.py")).expect("it can be copied");
    assert!(tree.told(&tree.scan(".").expect_err("it cannot be named")).contains("is not UTF-8"));
}

#[test]
fn endpoints_are_checked_where_they_are_declared() {
    let check = |call: &str, expected: &str| {
        let text =
            format!("{IMPORT}import os\napi = {call}\n@remote(api, 'GET', '/a')\ndef f(): ...\n@remote(api, 'GET', '/b')\ndef g(): ...\n");
        let told = refused(&text);
        assert!(told.starts_with(&format!("error: {expected}\n   at: app.py:3\n")), "{told}");
        assert_eq!(told.matches("error:").count(), 1, "said once, for all its functions: {told}");
    };
    check("LiveLoadBalancer()", "LiveLoadBalancer has no name");
    check("LiveLoadBalancer('api')", "LiveLoadBalancer has no name");
    check("LiveLoadBalancer(name='my api')", "endpoint name 'my api' has the character ' '");
    check("LiveLoadBalancer(name=1)", "the name of an endpoint is a text. Got: 1");
    check("LiveLoadBalancer(name=os.environ['N'])", "the endpoint's name cannot be told from the source: `os.environ['N']`");
    check("LiveLoadBalancer(name='a', workersMin=5)", "workersMin (5) cannot be greater than workersMax (1)");
    check("LiveLoadBalancer(name='a', executionTimeoutMs=-1)", "executionTimeoutMs must be 0 or more");
    check("LiveLoadBalancer(name='a', executionTimeoutMs='1s')", "executionTimeoutMs is a number of milliseconds. Got: '1s'");
    check("LiveLoadBalancer(name='a', workersMax='many')", "workersMax is a number of workers. Got: 'many'");
    check("LiveLoadBalancer(name='a', cancel_on_disconnect='no')", "cancel_on_disconnect is True or False. Got: 'no'");
    check("LiveLoadBalancer(name='a', cancel_on_disconnect=1 > 0)", "cancel_on_disconnect cannot be told from the source: `1 > 0`");
    check("LiveLoadBalancer(name='a', workersMax=int('3'))", "workersMax cannot be told from the source: `int('3')`");
}

#[test]
fn an_endpoint_set_one_way_or_another_is_refused() {
    let told = refused(&format!(
        "import os\n{IMPORT}if os.getenv('PROD'):\n    api = LiveLoadBalancer(name='a')\nelse:\n    api = LiveLoadBalancer(name='b')\n\
         @remote(api, 'GET', '/a')\ndef f(): ...\n"
    ));
    assert!(told.contains("`api` is one thing or another, set at app.py:4 and app.py:6"), "{told}");
    assert!(told.contains("try: set it once; FLASH_TARGET decides"), "{told}");
}

#[test]
fn two_functions_on_one_route_and_two_endpoints_of_one_name_are_refused() {
    let told = refused(&format!(
        "{API}@remote(api, 'POST', '/api/process')\ndef f(): ...\n@remote(api, 'post', '/api/process')\ndef g(): ...\n\
         other = LiveLoadBalancer(name='api')\n@remote(other, 'GET', '/a')\ndef h(): ...\n"
    ));
    assert!(told.contains("error: endpoint 'api' is declared twice\n   at: app.py:7"), "{told}");
    assert!(told.contains("error: Route conflict detected: POST /api/process defined twice\n   at: app.py:6"), "{told}");
    assert!(told.contains("function 'f' (app.py:4) has this route, and function 'g' (app.py:6) asks for it again"), "{told}");
}

#[test]
fn all_that_is_wrong_is_told_at_once_and_what_is_warned_of_after_it() {
    let told = refused(&format!(
        "{IMPORT}import os\napi = LiveLoadBalancer(name='api', nope=3)\nother = LiveLoadBalancer(name='other')\nidle = LiveLoadBalancer(name='x y')\n\
         @remote(other, 'GET', 'a')\ndef f(): ...\n@remote(api, 'GET', os.environ['P'])\ndef g(): ...\n\
         @remote(api, 'GET', '/a')\ndef h(): ...\n@remote(api, 'GET', '/a')\ndef i(): ...\n"
    ));
    let heads: Vec<&str> = told.lines().filter(|line| line.starts_with("error: ") || line.starts_with("warning: ")).collect();
    let expected = [
        "error: path must start with '/'. Got: a",
        "error: the path of function 'g' cannot be told from the source: `os.environ['P']`",
        "error: endpoint name 'x y' has the character ' '",
        "error: Route conflict detected: GET /a defined twice",
        "warning: LiveLoadBalancer has no field 'nope' (Did you mean 'name'?)",
    ];
    assert_eq!(heads, expected, "{told}");
}

#[test]
fn what_many_functions_share_is_told_once() {
    let told = refused(&format!(
        "import os\n{API}PREFIX = os.environ['P']\n@remote(api, 'GET', PREFIX + '/a')\ndef f(): ...\n@remote(api, 'GET', PREFIX + '/b')\ndef g(): ...\n"
    ));
    assert_eq!(told.matches("error:").count(), 1, "{told}");
}

#[test]
fn two_functions_of_one_name_are_refused() {
    let told = refused(&format!("{API}@remote(api, 'GET', '/a')\ndef f(): ...\n@remote(api, 'POST', '/a')\ndef f(): ...\n"));
    assert!(
        told.starts_with("error: function 'f' is defined twice\n   at: app.py:6\n  why: a worker finds functions by their names"),
        "{told}"
    );
    let tree = Tree::new([
        ("a.py", format!("{API}@remote(api, 'GET', '/a')\ndef f(): ...\n")),
        ("b.py", "from runpod_flash import remote\nfrom a import api\n@remote(api, 'GET', '/b')\ndef f(): ...\n".into()),
    ]);
    assert_eq!(tree.project("").endpoints[0].functions.len(), 2, "T14: in another file it is another function");
}

#[test]
fn every_wrong_thing_is_reported_in_one_go() {
    let told = refused(&format!(
        "{API}@remote(api, 'GTE', 'a')\ndef f(): ...\n@remote(api)\ndef g(): ...\n@remote(nope, 'GET', '/a')\ndef h(): ...\n"
    ));
    for expected in ["'GTE'", "Got: a", "Got method=None", "`nope`"] {
        assert!(told.contains(expected), "{expected} in {told}");
    }
}

#[test]
fn a_shadowed_route_is_warned_of() {
    let told = warned(&format!(
        "{API}@remote(api, 'GET', '/{{rest:path}}')\ndef all(rest): ...\n@remote(api, 'GET', '/users/{{id}}')\ndef one(id): ...\n"
    ));
    assert!(told.starts_with("warning: route GET /users/{id} is never reached\n   at: app.py:6"), "{told}");
}

#[test]
fn a_route_may_not_yield() {
    let told = refused(&format!("{API}@remote(api, 'GET', '/a')\nasync def f():\n    with x:\n        yield 1\n"));
    assert!(told.starts_with("error: function 'f' yields, and a route answers with one value\n   at: app.py:4"), "{told}");
    assert!(told.contains("or use a ServerlessEndpoint"), "{told}");
    refused(&format!("{API}@remote(api, 'GET', '/a')\ndef f():\n    x = [(yield from y)]\n"));
    for other in ["def g():\n        yield", "class G:\n        def g(self):\n            yield", "return lambda: (yield)"] {
        let text = format!("{API}@remote(api, 'GET', '/a')\ndef f():\n    {other}\n");
        assert!(Tree::new([("app.py", text)]).scan("app.py").is_ok(), "{other}");
    }
    let collected = format!("{API}@remote(api, 'GET', '/a')\n@collected\ndef f():\n    yield\n");
    assert!(Tree::new([("app.py", collected)]).scan("app.py").is_ok());
}

#[test]
fn decorators_of_other_shapes_are_told_of() {
    let told = refused(&format!("{API}@remote\ndef f(): ...\n"));
    assert!(told.contains("remote() takes a resource first. Got: function 'f'"), "{told}");
    let told = refused(&format!("{API}@remote(api, 'GET', '/a')\n@remote(api, 'GET', '/b')\ndef f(): ...\n"));
    assert!(told.contains("function 'f' is decorated with @remote twice"), "{told}");
    let told = refused(&format!("{API}@remote(api, 'GET', '/a')\nclass Model: ...\n"));
    assert!(told.contains("class 'Model' cannot be decorated with @remote of a LiveLoadBalancer"), "{told}");
    let told = refused(&format!("{API}def f(): ...\nf = remote(api, method='GET', path='/a')(f)\n"));
    assert!(told.contains("warning: remote() is called on a function, and not found that way"), "{told}");
}

/// A served function in front, so that what comes after it is warned of and no more.
fn beside(text: &str) -> String {
    format!("{API}@remote(api, 'GET', '/served')\ndef served(): ...\n{text}")
}

#[test]
fn functions_that_come_to_be_later_are_warned_of() {
    let nested = "def make():\n    @remote(api, 'GET', '/a')\n    def inner(): ...\n    return inner\n";
    let told = warned(&beside(nested));
    assert!(told.starts_with("warning: function 'make.<locals>.inner' is not served\n   at: app.py:7"), "T6: {told}");
    let told = refused(&format!("{API}{nested}"));
    assert!(told.contains("is not served") && told.contains("error: no endpoints in `app.py`"), "T6: {told}");
    let own_import = "def make():\n    from runpod_flash import remote as r\n    @r(api, 'GET', '/a')\n    def inner(): ...\n";
    assert!(warned(&beside(own_import)).contains("'make.<locals>.inner' is not served"));
}

#[test]
fn functions_in_branches_are_taken_refused_or_warned_of() {
    let within = |branch: &str| beside(&format!("{branch}\n    @remote(api, 'GET', '/a')\n    def f(): ...\n"));
    for branch in ["if True:", "try:\n    pass\nfinally:", "with open('x'):", "if __name__ != '__main__':", "if False: pass\nelse:"] {
        assert_eq!(summary(&module(&within(branch)))[0].1.len(), 2, "{branch}");
    }
    for branch in
        ["import os\nif os.name == 'nt':", "for x in y:", "while x:", "match x:\n  case 1:", "import sys\nif sys.version_info > (3, 11):"]
    {
        let told = refused(&within(branch));
        assert!(told.contains("whether function 'f' is defined cannot be told from the source"), "{branch}: {told}");
    }
    for branch in [
        "if __name__ == '__main__':",
        "if 0:",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:",
        "import typing as t\nif t.TYPE_CHECKING:",
        "if 0:\n  try:\n    pass\n  except E:\n   if True:",
    ] {
        let told = warned(&within(branch));
        assert!(told.starts_with("warning: function 'f' is not served\n"), "{branch}: {told}");
        assert!(told.contains("why: it is not defined when its module is imported"), "{branch}: {told}");
    }
    for branch in ["try:\n    import nope\nexcept ImportError:", "try:\n    pass\nexcept E:\n  if True:"] {
        let told = warned(&within(branch));
        assert!(told.starts_with("warning: function 'f' is not served\n"), "{branch}: {told}");
        assert!(told.contains("why: whether it is defined when its module is imported cannot be told from the source"), "{branch}: {told}");
        assert!(told.ends_with("try: move it out of the branch, to the module's level"), "{branch}: {told}");
    }
    let told = refused(&within("class Api:"));
    assert!(told.contains("function 'Api.f' is decorated with @remote inside of a class"), "{told}");
}

#[test]
fn an_endpoint_without_functions_is_warned_of() {
    let told = warned(&beside("idle = LiveLoadBalancer(name='idle')\n"));
    assert!(told.starts_with("warning: endpoint 'idle' has no functions\n   at: app.py:5"), "{told}");
}

#[test]
fn a_route_on_a_queue_is_warned_of() {
    let told = warned(
        "from runpod_flash import LiveServerless, remote\nq = LiveServerless(name='q')\n@remote(q, method='GET', path='/a')\ndef f(): ...\n",
    );
    assert!(told.starts_with("warning: method and path are ignored: the resource is a LiveServerless\n"), "{told}");
}

#[test]
fn another_librarys_remote_is_none_of_ours() {
    let text =
        "import ray\nfrom other import remote\n@remote\ndef f(): ...\n@ray.remote(num_cpus=1)\ndef g(): ...\n@remote(api)\ndef h(): ...\n";
    let told = refused(text);
    assert!(told.starts_with("error: no endpoints in `app.py`") && told.contains("and there are none"), "{told}");
}

#[test]
fn a_circle_of_imports_ends() {
    let tree = Tree::new([
        ("a.py", format!("{API}from b import P\n@remote(api, 'GET', P)\ndef f(): ...\n")),
        ("b.py", "from c import P\n".into()),
        ("c.py", "from b import P\n".into()),
    ]);
    let told = tree.told(&tree.scan("a.py").unwrap_err());
    assert!(told.contains("`P` is imported in a circle"), "{told}");
}

#[test]
fn an_import_of_what_is_not_there_names_the_file() {
    let tree = Tree::new([
        ("a.py", format!("{API}from b import PATHS\n@remote(api, 'GET', PATHS)\ndef f(): ...\n")),
        ("b.py", "PATH = '/a'\n".into()),
        ("c.py", format!("{API}from d import P\n@remote(api, 'GET', P)\ndef f(): ...\n")),
        ("d.py", "P = (\n".into()),
    ]);
    let told = tree.told(&tree.scan("a.py").unwrap_err());
    assert!(told.contains("a.py:4") && told.contains("`b.py` does not set `PATHS`") && told.contains("did you mean `PATH`?"), "{told}");
    let told = tree.told(&tree.scan("c.py").unwrap_err());
    assert!(told.contains("`d.py`, which cannot be read as Python"), "{told}");
}
