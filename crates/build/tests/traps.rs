//! What other builders get wrong, and programs were bent around.
#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

mod common;

use std::time::Duration;

use common::{APP, Project};
use flash_build::Artifact;
use flash_manifest::{Endpoint, Nature};

const QUEUED: &str = "from runpod_flash import LiveServerless, remote\nworker = LiveServerless(name='worker')\n";

/// The endpoints, each with its functions: `api: hello more`.
fn named(artifact: &Artifact) -> Vec<String> {
    let functions =
        |endpoint: &Endpoint| endpoint.functions.iter().map(|function| function.qualname.as_str()).collect::<Vec<_>>().join(" ");
    artifact.manifest.endpoints.iter().map(|endpoint| format!("{}: {}", endpoint.name, functions(endpoint))).collect()
}

/// T3
#[test]
fn a_def_is_no_async_def() {
    let app = format!("{APP}@remote(api, method='GET', path='/more')\nasync def more(): ...\n");
    let artifact = Project::new([("app.py", &*app)]).built();
    let natures: Vec<Nature> = artifact.manifest.endpoints[0].functions.iter().map(|function| function.nature).collect();
    assert_eq!(natures, [Nature::Function, Nature::AsyncFunction]);
}

/// T4
#[test]
fn functions_of_another_file_may_be_imported_at_its_top() {
    let user = "from runpod_flash import remote\nfrom app import api, hello\n@remote(api, method='GET', path='/more')\ndef more(): return hello()\n";
    let artifact = Project::new([("user.py", user), ("script.py", "from app import hello\n")]).built();
    assert_eq!(named(&artifact), ["api: hello more"]);
    assert_eq!(artifact.files, ["app.py", "script.py", "user.py"]);
}

/// T5
#[test]
fn every_function_of_a_queue_based_endpoint_is_in_the_manifest() {
    let app = format!("{QUEUED}@remote(worker)\ndef b(): ...\n@remote(worker)\ndef a(): ...\n@remote(worker)\nclass C: ...\n");
    assert_eq!(named(&Project::new([("app.py", &*app)]).built()), ["worker: b a C"]);
}

/// T6
#[test]
fn a_project_without_endpoints_is_not_built_and_nested_functions_are_told_of() {
    let nested = APP.replace("@remote", "def make():\n  @remote").replace("def hello", "  def hello");
    let told = Project::new([("app.py", &*nested)]).refused();
    assert!(told.contains("function 'make.<locals>.hello' is not served") && told.contains("no endpoints in `ROOT`"), "{told}");
    assert!(Project::new([("app.py", "x = 1\n")]).refused().contains("no endpoints in `ROOT`"));
}

/// T8
#[test]
fn no_module_is_imported() {
    let files =
        [("app.py", &*format!("import numpy_that_is_not_there\nopen('built', 'w')\n{APP}")), ("export.py", "raise SystemExit(3)\n")];
    let project = Project::new(files);
    project.built();
    assert!(!project.path("built").exists() && !std::path::Path::new("built").exists());
}

/// T11
#[test]
fn what_an_endpoint_declares_is_not_lost() {
    let declared = "LiveLoadBalancer(name='api', executionTimeoutMs=5000, gpuCount=2, workersMax=7, idleTimeout=9)";
    let app = APP
        .replace("LiveLoadBalancer(name='api', workersMax=1)", declared)
        .replace("path='/hello'", "path='/hello', system_dependencies=['ffmpeg']");
    let artifact = Project::new([("app.py", &*app)]).built();
    let endpoint = &artifact.manifest.endpoints[0];
    assert_eq!(endpoint.timeout, Some(Duration::from_secs(5)));
    assert_eq!((endpoint.gpu_count, endpoint.idle_timeout), (Some(2), Some(Duration::from_secs(9))));
    assert_eq!(endpoint.workers.map(|workers| workers.most()), Some(7));
    assert_eq!(endpoint.functions[0].system_dependencies, ["ffmpeg"]);
}

/// T13
#[test]
fn names_that_fit_no_url_are_refused_with_one_that_does() {
    for (name, expected) in [("a/b", "name='a-b'"), ("my api", "name='my-api'")] {
        let told = Project::new([("app.py", &*APP.replace("'api'", &format!("'{name}'")))]).refused();
        assert!(told.contains("at: app.py:2") && told.contains(expected), "{told}");
    }
    assert_eq!(named(&Project::new([("app.py", &*APP.replace("'api'", "'gpu-infer'"))]).built()), ["gpu-infer: hello"]);
}

/// T14
#[test]
fn functions_of_one_name_in_two_files_are_two_functions() {
    let other = APP.replace("'api'", "'other'");
    let artifact = Project::new([("other/main.py", &*other), ("main.py", &*APP.replace("'api'", "'main'"))]).built();
    assert_eq!(named(&artifact), ["api: hello", "main: hello", "other: hello"]);
    let modules: Vec<&str> = artifact.manifest.endpoints.iter().map(|endpoint| endpoint.functions[0].module.name.as_str()).collect();
    assert_eq!(modules, ["app", "main", "other.main"], "and no module hides the other");
}
