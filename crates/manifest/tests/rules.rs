//! The shared table of cases, `tests/cases/rules.json`, which the SDK's tests run too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use flash_manifest::{
    App, AppName, AppOrigin, Diagnostic, Endpoint, EndpointName, Function, IDLE_TIMEOUT_S, Location, MOST_CONCURRENCY, Method, Module,
    Nature, PathPattern, Project, PythonVersion, ResourceClass, Route, Workers,
};
use proptest::prelude::{any, proptest};
use serde_json::Value;

fn cases(section: &str) -> Vec<Value> {
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/rules.json");
    let text = std::fs::read_to_string(table).expect("the table of cases is in the repository");
    let mut table: Value = serde_json::from_str(&text).expect("the table is JSON");
    let Value::Array(cases) = table[section].take() else { panic!("section {section} is a list") };
    assert!(!cases.is_empty(), "section {section} has cases");
    cases
}

fn text<'case>(case: &'case Value, key: &str) -> &'case str {
    case[key].as_str().unwrap_or_else(|| panic!("{key} is text in {case}"))
}

fn check_refused<T: std::fmt::Debug>(case: &Value, got: Result<T, Diagnostic>) {
    let refused = got.expect_err(&format!("this is refused: {case}"));
    assert_eq!(refused.what, text(case, "error"));
    assert!(!refused.why.is_empty() && !refused.remedy.is_empty(), "{case}");
}

#[test]
fn names_are_judged_as_the_table_says() {
    for case in cases("names") {
        let got: Result<EndpointName, _> = text(&case, "input").parse();
        match case["ok"].as_bool() {
            Some(true) => assert_eq!(got.expect("a good name").as_str(), text(&case, "input")),
            _ => check_refused(&case, got),
        }
    }
}

#[test]
fn methods_are_judged_as_the_table_says() {
    for case in cases("methods") {
        let got: Result<Method, _> = text(&case, "input").parse();
        match case["normal"].as_str() {
            Some(normal) => assert_eq!(got.expect("a good method").as_str(), normal),
            None => check_refused(&case, got),
        }
    }
}

#[test]
fn paths_are_judged_as_the_table_says() {
    for case in cases("paths") {
        let got: Result<PathPattern, _> = text(&case, "input").parse();
        let Some(normal) = case["pattern"].as_str() else {
            check_refused(&case, got);
            continue;
        };
        let pattern = got.unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(pattern.normal(), normal);
        assert_eq!(pattern.to_string(), text(&case, "input"));
        assert_eq!(Value::from_iter(pattern.parameters()), case["parameters"]);
    }
}

#[test]
fn classes_have_the_fields_that_the_table_says() {
    let texts = |case: &Value, key: &str| -> std::collections::BTreeSet<String> {
        case[key].as_array().expect("a list").iter().map(|text| text.as_str().expect("a text").to_owned()).collect()
    };
    let mut seen = 0;
    for case in cases("fields") {
        for name in texts(&case, "classes") {
            let class = ResourceClass::named(&name).expect("a class");
            assert_eq!(class.fields().map(str::to_owned).collect::<std::collections::BTreeSet<_>>(), texts(&case, "fields"), "{name}");
            assert_eq!(
                class.attributes().map(str::to_owned).collect::<std::collections::BTreeSet<_>>(),
                texts(&case, "attributes"),
                "{name}"
            );
            seen += 1;
        }
    }
    assert_eq!(seen, ResourceClass::ALL.len());
}

#[test]
fn conflicts_are_judged_as_the_table_says() {
    for case in cases("conflicts") {
        let routes: Vec<Route> = (0..2)
            .map(|index| {
                let part = |which: usize| case["routes"][index][which].as_str().expect("a route is two texts");
                Route { method: part(0).parse().expect("a method"), path: part(1).parse().expect("a path") }
            })
            .collect();
        let got = project(vec![endpoint("api", &routes)]);
        if case["conflict"] == Value::Bool(true) {
            let errors = got.expect_err("two functions on one route");
            check_refused(&case, Err::<(), _>(errors[0].clone()));
            assert_eq!(errors[0].why, "function 'f0' (app.py:1) has this route, and function 'f1' (app.py:2) asks for it again");
        } else {
            got.unwrap_or_else(|errors| panic!("{case}: {}", errors[0]));
        }
    }
}

fn route(method: Method, path: &str) -> Route {
    Route { method, path: path.parse().expect("the test's paths are legal") }
}

fn endpoint(name: &str, routes: &[Route]) -> Endpoint {
    let location = |line| Location { file: Path::new("app.py").into(), line };
    let functions = routes.iter().zip(0..).map(|(route, index)| Function {
        qualname: format!("f{index}"),
        module: Module { name: "app".into(), file: "app.py".into(), import_base: PathBuf::new(), import_path: Vec::new() },
        location: location(index + 1),
        nature: Nature::Function,
        route: Some(route.clone()),
        dependencies: Vec::new(),
        system_dependencies: Vec::new(),
        retries: None,
    });
    Endpoint {
        name: name.parse().expect("the test's names are legal"),
        class: ResourceClass::LiveLoadBalancer,
        workers: None,
        idle_timeout: None,
        max_concurrency: None,
        scaler_value: None,
        timeout: None,
        env: BTreeMap::new(),
        image: None,
        gpus: Vec::new(),
        gpu_count: None,
        python: None,
        cancel_on_disconnect: false,
        functions: functions.collect(),
        location: location(1),
    }
}

fn project(endpoints: Vec<Endpoint>) -> Result<Project, Vec<Diagnostic>> {
    let app = App { name: AppName::like("app"), origin: AppOrigin::Folder };
    Project::new(PathBuf::new(), app, endpoints, Vec::new())
}

#[test]
fn two_endpoints_of_one_name_are_refused() {
    let errors = project(vec![endpoint("a", &[]), endpoint("b", &[]), endpoint("a", &[])]).expect_err("a is there twice");
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].what, "endpoint 'a' is declared twice");
}

#[test]
fn two_functions_of_one_name_on_a_queue_based_endpoint_are_refused() {
    let queued = |files: [&str; 2]| {
        let mut endpoint = endpoint("a", &[route(Method::Get, "/a"), route(Method::Get, "/b")]);
        endpoint.class = ResourceClass::LiveServerless;
        for (function, file) in endpoint.functions.iter_mut().zip(files) {
            (function.qualname, function.module.file, function.route) = ("f".into(), file.into(), None);
        }
        project(vec![endpoint])
    };
    let errors = queued(["a.py", "b.py"]).expect_err("a job could not tell them apart");
    assert_eq!(errors.iter().map(|error| error.what.as_str()).collect::<Vec<_>>(), ["endpoint 'a' has two functions of the name 'f'"]);
    let errors = queued(["a.py", "a.py"]).expect_err("the module has but one of them");
    assert_eq!(errors.iter().map(|error| error.what.as_str()).collect::<Vec<_>>(), ["function 'f' is defined twice"]);
}

#[test]
fn a_route_behind_a_wider_one_is_warned_of() {
    let check = |first: Route, second: Route, expected: &[&str]| {
        let warnings = project(vec![endpoint("a", &[first, second])]).expect("no rule is broken").warnings;
        assert_eq!(warnings.iter().map(|warning| warning.what.as_str()).collect::<Vec<_>>(), expected);
    };
    let (get, post) = (Method::Get, Method::Post);
    check(route(get, "/{p:path}"), route(get, "/users/{id}"), &["route GET /users/{id} is never reached"]);
    check(route(get, "/users/{id}"), route(get, "/{p:path}"), &[]);
    check(route(post, "/{p:path}"), route(get, "/users/{id}"), &[]);
    check(route(get, "/{p:path}"), route(get, "/users"), &[]);
}

#[test]
fn more_workers_at_least_than_at_most_are_refused() {
    assert_eq!(Workers::new(1, 1).map(|workers| (workers.least(), workers.most())), Ok((1, 1)));
    let refused = Workers::new(5, 1).expect_err("five are more than one");
    assert_eq!(refused.what, "workersMin (5) cannot be greater than workersMax (1)");
}

proptest! {
    #[test]
    fn any_text_is_judged_without_panic(text in any::<String>(), cut in "[/{}:.%a?pathing]{0,24}") {
        for input in [text, cut.clone(), format!("/{cut}")] {
            let _ = input.parse::<EndpointName>().map(|name| assert_eq!(name.as_str(), input));
            let _ = input.parse::<Method>().map(|method| assert!(method.as_str().eq_ignore_ascii_case(&input)));
            let _ = input.parse::<PathPattern>().map(|pattern| {
                assert_eq!(pattern.as_str(), input);
                assert_eq!(pattern.covers(&pattern), pattern.parameters().next().is_some());
            });
        }
    }
}

#[test]
fn the_sdk_takes_the_same_versions_of_python_and_the_same_bounds() {
    let resources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../python/runpod_flash/_resources.py");
    let text = std::fs::read_to_string(resources).expect("the SDK is in the repository");
    let has = |expected: String| assert!(text.contains(&expected), "{expected}");
    let own: Vec<String> = PythonVersion::ALL.iter().map(|version| format!("\"{version}\"")).collect();
    has(format!("PYTHON_VERSIONS = ({})", own.join(", ")));
    has(format!("_CONCURRENCY = optional(whole(1, {MOST_CONCURRENCY}, "));
    has("max_concurrency: int | None = field(_CONCURRENCY, ".into());
    has(format!("idleTimeout: int | None = field(optional(whole({}, {}, ", IDLE_TIMEOUT_S.start(), IDLE_TIMEOUT_S.end()));
}
