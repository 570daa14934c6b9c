//! What endpoints ask for, as it stands in their declaration.

mod common;

use std::time::Duration;

use common::{Tree, refused};
use flash_manifest::{Endpoint, PythonVersion, Workers};

const LINES: &str =
    "import os\nfrom runpod_flash import CpuLiveLoadBalancer, GpuGroup, GpuType, LiveLoadBalancer, LoadBalancerSlsResource, remote\n";

fn text(lines: &str, call: &str) -> String {
    format!("{LINES}{lines}\napi = {call}\n@remote(api, 'GET', '/a')\ndef f(): ...\n")
}

/// The endpoint that a call declares below `lines`, and what is warned of.
fn declared(lines: &str, call: &str) -> (Endpoint, String) {
    let tree = Tree::new([("app.py", text(lines, call))]);
    let project = tree.project("app.py");
    (project.endpoints[0].clone(), tree.told(&project.warnings))
}

fn endpoint(fields: &str) -> Endpoint {
    let (endpoint, warnings) = declared("", &format!("LoadBalancerSlsResource(name='a', imageName='x'{fields})"));
    assert_eq!(warnings, "", "{fields}");
    endpoint
}

#[test]
fn what_is_not_said_is_not_there() {
    let (endpoint, warnings) = declared("", "LiveLoadBalancer(name='a')");
    let Endpoint { workers, idle_timeout, scaler_value, timeout, env, image, gpus, gpu_count, python, .. } = endpoint;
    assert_eq!((workers, idle_timeout, scaler_value, timeout), (None, None, None, None));
    assert_eq!((env.len(), image, gpus, gpu_count, python), (0, None, vec![], None, None));
    assert_eq!(warnings, "");
}

#[test]
fn literal_fields_are_read() {
    assert_eq!(endpoint(", workersMax=3").workers, Workers::new(0, 3).ok());
    assert_eq!(endpoint(", workersMin=1").workers, Workers::new(1, 1).ok());
    assert_eq!(endpoint(", idleTimeout=1").idle_timeout, Some(Duration::from_secs(1)));
    assert_eq!(endpoint(", idleTimeout=3600").idle_timeout, Some(Duration::from_secs(3600)));
    assert_eq!(endpoint(", idleTimeout=None").idle_timeout, None);
    assert_eq!(endpoint(", scalerValue=8").scaler_value, Some(8));
    assert_eq!(endpoint(", scalerValue=0").scaler_value, None);
    assert_eq!(endpoint(", max_concurrency=128").max_concurrency, Some(128));
    assert_eq!(endpoint(", gpuCount=2").gpu_count, Some(2));
    assert_eq!(endpoint(", python_version='3.12'").python, "3.12".parse::<PythonVersion>().ok());
    assert_eq!(endpoint("").image.as_deref(), Some("x"));
}

#[test]
fn live_classes_keep_their_own_image() {
    for class in ["LiveLoadBalancer", "CpuLiveLoadBalancer"] {
        assert_eq!(declared("", &format!("{class}(name='a', imageName='x')")).0.image, None, "{class}");
    }
}

#[test]
fn gpus_are_labels() {
    let check = |lines: &str, given: &str, expected: &[&str]| {
        let (endpoint, warnings) = declared(lines, &format!("LiveLoadBalancer(name='a', gpus={given})"));
        let got: Vec<&str> = endpoint.gpus.iter().map(String::as_str).collect();
        assert_eq!((got.as_slice(), warnings.as_str()), (expected, ""), "{given}");
    };
    check("", "[GpuGroup.ANY]", &["GpuGroup.ANY"]);
    check("", "(GpuType.L4, 'ADA_24')", &["GpuType.L4", "ADA_24"]);
    check("import runpod_flash as rf", "[rf.GpuGroup.ADA_24]", &["GpuGroup.ADA_24"]);
    check("G = [GpuGroup.ADA_24]", "G + [GpuGroup.AMPERE_80]", &["GpuGroup.ADA_24", "GpuGroup.AMPERE_80"]);
    check("", "None", &[]);
}

#[test]
fn a_label_that_cannot_be_told_hinders_nothing() {
    let check = |fields: &str, expected: &str| {
        let (endpoint, warnings) = declared("", &format!("LoadBalancerSlsResource(name='a', {fields})"));
        assert!(warnings.starts_with(&format!("warning: {expected}\n   at: app.py:4\n")), "{warnings}");
        assert_eq!((endpoint.image.as_deref(), endpoint.gpus.len(), endpoint.gpu_count), (None, 0, None));
    };
    check("imageName=os.environ['IMAGE']", "imageName cannot be told from the source: `os.environ['IMAGE']`");
    check("templateId='x', gpus=GpuGroup.all()", "gpus cannot be told from the source: `GpuGroup.all()`");
    check("templateId='x', gpuCount=int('2')", "gpuCount cannot be told from the source: `int('2')`");
}

#[test]
fn an_endpoint_that_allows_no_workers_is_warned_of() {
    let (endpoint, warnings) = declared("", "LiveLoadBalancer(name='a', workersMax=0)");
    assert!(warnings.starts_with("warning: workersMax=0 allows no workers\n   at: app.py:4\n"), "{warnings}");
    assert_eq!(endpoint.workers, Workers::new(0, 0).ok());
}

#[test]
fn variables_are_known_as_far_as_they_are_literal() {
    let check = |lines: &str, given: &str, expected: &[(&str, &str)]| {
        let (endpoint, warnings) = declared(lines, &format!("LiveLoadBalancer(name='a', env={given})"));
        let got: Vec<(&str, &str)> = endpoint.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!((got.as_slice(), warnings.as_str()), (expected, ""), "{given}");
    };
    check("", "{'MODE': 'fast', 'A': 'b'}", &[("A", "b"), ("MODE", "fast")]);
    check("M = 'fast'", "{'MODE': M, f'{M}er': ''}", &[("MODE", "fast"), ("faster", "")]);
    check("E = {'A': 'b'}", "E", &[("A", "b")]);
    check("E = {'A': 'b', 'B': 'c'}", "{**E, 'B': 'd'}", &[("A", "b"), ("B", "d")]);
    check("", "None", &[]);
    // What the running program computes it sets itself.
    check("", "{'MODE': 'fast', 'KEY': os.environ['KEY']}", &[("MODE", "fast")]);
    check("", "{'MODE': 'fast', os.name: 'x', **os.environ}", &[("MODE", "fast")]);
    check("", "dict(os.environ)", &[]);
    check("E = {'A': 'b'}\nE['B'] = 'c'", "E", &[]);
    check("E = {'A': 'b'}\nE.setdefault('B', 'c')", "E", &[]);
}

#[test]
fn wrong_fields_are_refused_where_they_stand() {
    let check = |fields: &str, expected: &str| {
        let told = refused(&text("", &format!("LiveLoadBalancer(name='a', {fields})")));
        assert!(told.starts_with(&format!("error: {expected}\n   at: app.py:4\n")), "{told}");
        assert_eq!(told.matches("error:").count(), 1, "{told}");
    };
    check("idleTimeout=0", "idleTimeout must be between 1 and 3600 seconds");
    check("idleTimeout=3601", "idleTimeout must be between 1 and 3600 seconds");
    check("idleTimeout=-1", "idleTimeout must be between 1 and 3600 seconds");
    check("max_concurrency=-1", "max_concurrency must be between 1 and 128");
    check("workersMax=-3", "workersMax must be 0 or more");
    check("idleTimeout='5m'", "idleTimeout is a number of seconds. Got: '5m'");
    check("idleTimeout=int(os.environ['T'])", "idleTimeout cannot be told from the source: `int(os.environ['T'])`");
    check("max_concurrency=0", "max_concurrency must be between 1 and 128");
    check("max_concurrency=129", "max_concurrency must be between 1 and 128");
    check("max_concurrency=70000", "max_concurrency must be between 1 and 128");
    check("scalerValue=-1", "scalerValue must be 0 or more");
    check("workersMax=1025", "workersMax is 1025, more than 1024");
    check("python_version='3.9'", "Python 3.9 is not supported. Supported versions: 3.10, 3.11, 3.12, 3.13");
    check("python_version=3", "python_version must be a string. Got: int");
    check("imageName=3", "imageName must be a string. Got: int");
    check("gpus=GpuGroup.ANY", "gpus must be a list. Got: GpuGroup");
    check("gpus=[1]", "1 is not a valid GpuGroup or GpuType");
    check("gpuCount=-1", "gpuCount must be 0 or more");
    check("env=['A']", "env must be a dict of strings. Got: list");
    check("env={'A': 1}", "env['A'] must be a string. Got: int");
    check("env={'A=B': 'x'}", "the environment variable 'A=B' has the character '=' in its name");
    check("env={'': 'x'}", "the name of an environment variable is empty");
    check("env={'A': 'x\\0'}", "the value of the environment variable 'A' has the character U+0000");
}

#[test]
fn every_wrong_field_is_told_and_no_variables_value() {
    let told = refused(&text("", "LiveLoadBalancer(name='a b', idleTimeout=0, env={'A=': 'secret', 'B': ['secret']})"));
    for expected in ["endpoint name 'a b'", "idleTimeout must be", "variable 'A='", "env['B'] must be a string. Got: list"] {
        assert!(told.contains(expected), "{told}");
    }
    let messages: Vec<&str> = told.lines().filter(|line| !line.starts_with("       ")).collect();
    assert!(messages.iter().all(|line| !line.contains("secret")), "{told}");
}

#[test]
fn a_field_that_does_not_exist_is_warned_of_as_the_sdk_does() {
    let (endpoint, warnings) = declared("", "LoadBalancerSlsResource(name='a', imageName='x', workersMaks=3)");
    assert_eq!(endpoint.workers, None);
    let told = "warning: LoadBalancerSlsResource has no field 'workersMaks' (Did you mean 'workersMax'?)\n   at: app.py:4\n";
    assert!(warnings.starts_with(told), "{warnings}");
    assert!(warnings.contains("  why: it is ignored, and changes nothing\n  try: write 'workersMax'"), "{warnings}");
    let (_, warnings) = declared("", "LiveLoadBalancer(name='a', colour='red')");
    assert!(warnings.contains("has no field 'colour'\n") && warnings.contains("the fields are: name, id, env, "), "{warnings}");
    let none = declared("", "LiveLoadBalancer(name='a', networkVolumeId='v', flashboot=True, cancel_on_disconnect=True)").1;
    assert_eq!(none, "");
}

#[test]
fn what_the_sdk_refuses_at_import_is_refused_with_its_place() {
    let check = |call: &str, told: &str| {
        let said = refused(&text("", call));
        assert!(said.contains(&format!("{told}\n   at: app.py:4\n")), "{call}: {said}");
    };
    let image = "error: Either imageName, template, or templateId must be provided";
    check("LoadBalancerSlsResource(name='a')", image);
    check("LoadBalancerSlsResource(name='a', imageName='')", image);
    check("LoadBalancerSlsResource(name='a', templateId=None)", image);
    let (endpoint, _) = declared("OPTIONS = {'imageName': 'x'}", "LoadBalancerSlsResource(name='a', **OPTIONS)");
    assert_eq!(endpoint.name.as_str(), "a");
    check(
        "LiveLoadBalancer(name='a', endpoint_url='http://x')",
        "error: endpoint_url is auto-generated after deployment and cannot be manually specified",
    );
    check("LiveLoadBalancer(name='a', deploy=True)", "error: LiveLoadBalancer has no field 'deploy'");
}
