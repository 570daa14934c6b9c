//! `flash_manifest.json`: what is written can be read, and what is read holds to every rule.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flash_manifest::{Endpoint, Function, Kind, Location, Manifest, Module, Nature, ResourceClass, Route, Workers};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A small one with everything that there can be.
fn sound() -> Value {
    json!({"version": 1, "app": "shop", "python_version": "3.12", "endpoints": [
        {"name": "api", "class": "LiveLoadBalancer", "file": "shop/api.py", "line": 3, "workers": [0, 3], "idle_timeout_s": 60, "max_concurrency": 8, "scaler_value": 4,
         "timeout_ms": 5000, "env": {"A": "b"}, "image": "x:1", "gpus": ["ANY"], "gpu_count": 1, "python": "3.12",
         "cancel_on_disconnect": true, "functions": [
            {"name": "hello", "kind": "def", "module": "shop.api", "file": "src/shop/api.py", "line": 7, "import_base": "src", "import_path": ["src", "tools", ""],
             "method": "GET", "path": "/hello/{name}", "dependencies": ["numpy>=2"], "system_dependencies": ["ffmpeg"]},
            {"name": "more", "kind": "async def", "module": "pack", "file": "pack/__init__.py", "line": 1, "method": "POST", "path": "/"}]},
        {"name": "jobs", "class": "ServerlessEndpoint", "file": "a.py", "line": 1, "functions": [
            {"name": "Job", "kind": "class", "module": "a", "file": "a.py", "line": 2, "retries": 3}]}]})
}

fn read(value: &Value) -> Result<Manifest, String> {
    Manifest::from_json(value.to_string().as_bytes())
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

#[test]
fn what_is_read_is_written_as_it_was() {
    let manifest = read(&sound()).expect("it is sound");
    let written: Value = serde_json::from_str(&manifest.to_json()).expect("it is JSON");
    assert_eq!(written, sound());
    assert_eq!(manifest.endpoints[0].workers, Workers::new(0, 3).ok());
    assert_eq!(manifest.modules().collect::<Vec<_>>(), ["src/shop/api.py", "pack/__init__.py", "a.py"].map(Path::new));
}

#[test]
fn endpoints_are_placed_where_the_sources_are() {
    let endpoints = read(&sound()).expect("it is sound").endpoints_in(Path::new("/builds/1/src"));
    let [hello, more] = &*endpoints[0].functions else { panic!("it has two functions") };
    assert_eq!(hello.module.file, Path::new("/builds/1/src/src/shop/api.py"));
    assert_eq!(hello.module.import_base, Path::new("/builds/1/src/src"));
    assert_eq!(hello.module.import_path(), ["/builds/1/src/src", "/builds/1/src/tools", "/builds/1/src"].map(Path::new));
    assert_eq!(hello.module.import_path[2].as_os_str(), "/builds/1/src");
    assert_eq!(more.module.import_base.as_os_str(), "/builds/1/src");
    assert_eq!(more.module.import_path(), [Path::new("/builds/1/src")]);
    assert_eq!(endpoints[0].location.to_string(), "/builds/1/src/shop/api.py:3");
}

#[test]
fn every_rule_is_checked_when_a_manifest_is_read() {
    let check = |pointer: &str, value: Value, expected: &str| {
        let mut wrong = sound();
        let (parent, key) = pointer.rsplit_once('/').expect("it has a slash");
        match wrong.pointer_mut(parent).expect("it is there") {
            Value::Object(object) => object.insert(key.to_owned(), value),
            Value::Array(array) => Some(std::mem::replace(&mut array[key.parse::<usize>().expect("an index")], value)),
            other => panic!("{other} has no parts"),
        };
        let told = read(&wrong).expect_err(pointer);
        assert!(told.contains(expected), "{pointer}: {expected:?} is in\n{told}");
    };
    check("/version", json!(2), "the manifest is of version 2");
    check("/version", json!("1"), "not as it should be");
    check("/more", json!(1), "unknown field `more`");
    check("/endpoints/0/more", json!(1), "unknown field `more`");
    check("/endpoints/0/functions/0/more", json!(1), "unknown field `more`");
    check("/app", json!("a b"), "app name 'a b' has the character ' '");
    check("/python_version", json!("2.7"), "Python 2.7 is not supported");
    check("/endpoints", json!([]), "the manifest has no endpoints");
    check("/endpoints/0/name", json!("../api"), "endpoint name '../api' has the character '/'");
    check("/endpoints/1/name", json!("api"), "endpoint 'api' is declared twice");
    check("/endpoints/0/class", json!("Endpoint"), "`Endpoint` is no class of endpoints");
    check("/endpoints/0/workers", json!([3, 1]), "workersMin (3) cannot be greater than workersMax (1)");
    check("/endpoints/0/workers", json!([0, 1_000_000]), "workersMax is 1000000, more than 1024");
    check("/endpoints/0/timeout_ms", json!(0), "a timeout of nothing");
    check("/endpoints/0/idle_timeout_s", json!(4000), "an idle timeout out of range");
    check("/endpoints/0/max_concurrency", json!(0), "a concurrency out of range");
    check("/endpoints/0/env", json!({"A=B": "c"}), "has the character '=' in its name");
    check("/endpoints/0/functions", json!([]), "has no functions");
    check("/endpoints/0/line", json!(0), "has no line 0");
    check("/endpoints/0/line", json!(-1), "not as it should be");
    check("/endpoints/1/class", json!("LiveLoadBalancer"), "function 'Job' lacks a route");
    check("/endpoints/0/class", json!("ServerlessEndpoint"), "function 'hello' has a route");
    check("/endpoints/0/functions/0/kind", json!("class"), "class 'hello' has a route");
    check("/endpoints/0/functions/0/kind", json!("lambda"), "unknown variant `lambda`");
    check("/endpoints/0/functions/0/method", json!("PTACH"), "Invalid HTTP method 'PTACH'");
    check("/endpoints/0/functions/0/path", json!("hello"), "path must start with '/'");
    check("/endpoints/0/functions/0/path", json!("/execute"), "path '/execute' is reserved");
    check("/endpoints/0/functions/0/path", Value::Null, "function 'hello' lacks a route");
    for name in ["", "a.b", "f.<locals>.g", "1a", "a b", "os;x"] {
        check("/endpoints/0/functions/0/name", json!(name), "is no function's name");
    }
    for file in ["/etc/x.py", "../x.py", "a/../x.py", "./x.py", "a//x.py", "x.py/", "", "a\nb.py"] {
        check("/endpoints/0/functions/0/file", json!(file), "is no path within the build");
        check("/endpoints/0/file", json!(file), "is no path within the build");
    }
    check("/endpoints/0/functions/0/file", json!("src/shop/api.so"), "is no Python file");
    check("/endpoints/0/functions/0/file", json!("src/shop/other.py"), "module `shop.api` is not in `src/shop/other.py`");
    check("/endpoints/0/functions/0/import_base", json!("/"), "is no path within the build");
    check("/endpoints/0/functions/0/import_base", json!(""), "module `shop.api` is not in");
    check("/endpoints/0/functions/0/import_path", json!(["src", "../tools"]), "`../tools` is no path within the build");
    check("/endpoints/0/functions/0/import_path", json!(["tools"]), "module `shop.api` is not imported from a folder of its import_path");
    for module in ["", ".", "shop..api", "shop/api", "..src.shop.api"] {
        check("/endpoints/0/functions/0/module", json!(module), "is not in `src/shop/api.py`");
    }
    check("/endpoints/0/functions/0/dependencies", json!(["a\n-r /etc/passwd"]), "depends on something without a name");
    check("/endpoints/0/functions/0/retries", json!(1), "cannot have these retries");
    check("/endpoints/1/functions/0/retries", json!(101), "cannot have these retries");
    let second =
        json!({"name": "more", "kind": "def", "module": "a", "file": "a.py", "line": 1, "method": "GET", "path": "/hello/{other}"});
    check("/endpoints/0/functions/1", second, "Route conflict detected: GET /hello/{other} defined twice");
    assert!(Manifest::from_json(&vec![b' '; 5 * 1024 * 1024]).is_err());
}

/// The schema and the page name the fields that there are, and no others.
#[test]
fn the_documents_have_every_field() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let read = |name: &str| std::fs::read_to_string(docs.join(name)).expect("it is in the repository");
    let schema: Value = serde_json::from_str(&read("flash_manifest.schema.json")).expect("it is JSON");
    let page = read("manifest.md");
    let keys = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<std::collections::BTreeSet<_>>();
    let all = sound();
    let (endpoint, mut function) = (&all["endpoints"][0], all["endpoints"][0]["functions"][0].clone());
    function["retries"] = all["endpoints"][1]["functions"][0]["retries"].clone();
    for (schema, there) in [(&schema, &all), (&schema["$defs"]["endpoint"], endpoint), (&schema["$defs"]["function"], &function)] {
        assert_eq!(keys(&schema["properties"]), keys(there));
        assert_eq!(schema["additionalProperties"], json!(false));
        for key in keys(there) {
            assert!(page.contains(&format!("`{key}`")), "docs/manifest.md has `{key}`");
        }
    }
}

fn functions(kind: Kind) -> impl Strategy<Value = Vec<Function>> {
    let one = ("[a-z]{1,6}", prop::collection::vec("[a-z]{1,5}", 1..4), 1..9999_u32, any::<bool>(), "(|src|libs/a)", "[ -~]{1,9}");
    prop::collection::vec(one, 1..5).prop_map(move |all| {
        let made = all.into_iter().enumerate().map(|(index, (name, parts, line, is_async, base, dependency))| {
            let file = PathBuf::from(&base).join(parts.join("/")).with_extension("py");
            let import_path = if is_async { vec![base.clone().into(), "tools".into(), PathBuf::new()] } else { Vec::new() };
            Function {
                qualname: format!("{name}{index}"),
                location: Location { file: file.as_path().into(), line },
                module: Module { name: parts.join("."), file, import_base: base.into(), import_path },
                nature: if is_async { Nature::AsyncFunction } else { Nature::Function },
                route: (kind == Kind::LoadBalanced)
                    .then(|| Route { method: "PUT".parse().expect("a method"), path: format!("/{name}/{index}").parse().expect("a path") }),
                retries: (kind == Kind::QueueBased).then_some(line as u8 % (Function::MOST_RETRIES + 1)),
                dependencies: vec![dependency.clone()],
                system_dependencies: if is_async { vec![dependency] } else { Vec::new() },
            }
        });
        made.collect()
    })
}

prop_compose! {
    fn endpoint()(class in prop::sample::select(ResourceClass::ALL.to_vec()))(
        class in Just(class),
        name in "[a-z][a-z0-9]{0,9}",
        workers in prop::option::of((0..9_u32, 9..99_u32)),
        idle in prop::option::of(1..3600_u64),
        (scaler, gpu_count) in (any::<Option<u32>>(), any::<Option<u32>>()),
        max_concurrency in prop::option::of(1..=flash_manifest::MOST_CONCURRENCY),
        timeout in prop::option::of(1..u32::MAX),
        env in prop::collection::btree_map("[A-Z]{1,5}", "[^\0]{0,9}", 0..3),
        (image, gpus) in (any::<Option<String>>(), any::<Vec<String>>()),
        python in prop::option::of(prop::sample::select(flash_manifest::PythonVersion::ALL.to_vec())),
        cancel_on_disconnect in any::<bool>(),
        functions in functions(class.kind()),
        line in 1..u32::MAX,
    ) -> Endpoint {
        Endpoint {
            name: name.parse().expect("a name"),
            class,
            workers: workers.map(|(least, most)| Workers::new(least, most).expect("fewer than there may be")),
            idle_timeout: idle.map(Duration::from_secs),
            scaler_value: scaler,
            max_concurrency,
            timeout: timeout.map(|milliseconds| Duration::from_millis(milliseconds.into())),
            env: BTreeMap::from_iter(env),
            image,
            gpus,
            gpu_count,
            python,
            cancel_on_disconnect,
            functions,
            location: Location { file: Path::new("declared/here.py").into(), line },
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Every field there is comes back: one that is added and not written fails here.
    #[test]
    fn what_is_written_is_read_again(endpoints in prop::collection::vec(endpoint(), 1..4)) {
        let mut endpoints = endpoints;
        for (index, endpoint) in endpoints.iter_mut().enumerate() {
            endpoint.name = format!("{}-{index}", endpoint.name).parse().expect("a name");
            for function in &mut endpoint.functions {
                function.qualname.push_str(&format!("_{index}"));
            }
        }
        let manifest = Manifest { app: "app".parse().expect("a name"), python_version: endpoints[0].python, endpoints };
        prop_assert_eq!(Manifest::from_json(manifest.to_json().as_bytes()), Ok(manifest));
    }

    /// Whatever is sent, it is read or refused.
    #[test]
    fn no_bytes_bring_the_reader_down(bytes in any::<Vec<u8>>(), cut in any::<prop::sample::Index>(), change in any::<u8>()) {
        let _ = Manifest::from_json(&bytes);
        let mut text = sound().to_string().into_bytes();
        let at = cut.index(text.len());
        text[at] = change;
        let _ = Manifest::from_json(&text);
    }
}
