//! `flash_manifest.json`, written and read. `docs/manifest.md` says what its fields mean, `docs/flash_manifest.schema.json` what they may hold.
//!
//! The types here are the text's: plain strings and numbers. What is read becomes the domain's types by their own rules, and by those
//! on paths: servers read manifests of strangers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::manifest::{inner_path, inner_text};
use crate::text::shown;
use crate::{
    App, AppName, AppOrigin, Diagnostic, Endpoint, Function, Kind, Location, Manifest, Method, Module, Nature, Project, ResourceClass,
    Route, Workers, check_variable,
    overrides::{IDLE_TIMEOUT_S, MOST_CONCURRENCY},
};

/// The version of the format that is written, and the only one that is read.
const VERSION: u64 = 1;

/// Larger than any project's: a thousand functions take a third of a megabyte.
const LARGEST_BYTES: usize = 4 * 1024 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ManifestText {
    version: u64,
    app: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    python_version: Option<String>,
    endpoints: Vec<EndpointText>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndpointText {
    name: String,
    class: String,
    file: String,
    line: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    workers: Option<[u32; 2]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    idle_timeout_s: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_concurrency: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scaler_value: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u32>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    env: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    gpus: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gpu_count: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    python: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    cancel_on_disconnect: bool,
    functions: Vec<FunctionText>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FunctionText {
    name: String,
    kind: NatureText,
    module: String,
    file: String,
    line: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    import_base: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    import_path: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retries: Option<u8>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    dependencies: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    system_dependencies: Vec<String>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum NatureText {
    #[serde(rename = "def")]
    Function,
    #[serde(rename = "async def")]
    AsyncFunction,
    #[serde(rename = "class")]
    Class,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// The text of a manifest.
pub(crate) fn write(manifest: &Manifest) -> String {
    let text = ManifestText {
        version: VERSION,
        app: manifest.app.to_string(),
        python_version: manifest.python_version.map(|version| version.to_string()),
        endpoints: manifest.endpoints.iter().map(endpoint_text).collect(),
    };
    let mut text = serde_json::to_string_pretty(&text).expect("texts, numbers and lists of them can be written");
    text.push('\n');
    text
}

fn endpoint_text(endpoint: &Endpoint) -> EndpointText {
    EndpointText {
        name: endpoint.name.to_string(),
        class: endpoint.class.to_string(),
        file: path_text(&endpoint.location.file),
        line: endpoint.location.line,
        workers: endpoint.workers.map(|workers| [workers.least(), workers.most()]),
        idle_timeout_s: endpoint.idle_timeout.map(|timeout| u32::try_from(timeout.as_secs()).unwrap_or(u32::MAX)),
        max_concurrency: endpoint.max_concurrency,
        scaler_value: endpoint.scaler_value,
        timeout_ms: endpoint.timeout.map(|timeout| u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX)),
        env: endpoint.env.clone(),
        image: endpoint.image.clone(),
        gpus: endpoint.gpus.clone(),
        gpu_count: endpoint.gpu_count,
        python: endpoint.python.map(|version| version.to_string()),
        cancel_on_disconnect: endpoint.cancel_on_disconnect,
        functions: endpoint.functions.iter().map(function_text).collect(),
    }
}

fn function_text(function: &Function) -> FunctionText {
    FunctionText {
        name: function.qualname.clone(),
        kind: match function.nature {
            Nature::Function => NatureText::Function,
            Nature::AsyncFunction => NatureText::AsyncFunction,
            Nature::Class => NatureText::Class,
        },
        module: function.module.name.clone(),
        file: path_text(&function.module.file),
        line: function.location.line,
        import_base: path_text(&function.module.import_base),
        import_path: function.module.import_path.iter().map(|base| path_text(base)).collect(),
        method: function.route.as_ref().map(|route| route.method.to_string()),
        path: function.route.as_ref().map(|route| route.path.to_string()),
        retries: function.retries,
        dependencies: function.dependencies.clone(),
        system_dependencies: function.system_dependencies.clone(),
    }
}

fn path_text(path: &Path) -> String {
    inner_text(path).expect("the scanner refuses modules whose path is not UTF-8")
}

/// The manifest of a text.
pub(crate) fn read(text: &[u8]) -> Result<Manifest, Vec<Diagnostic>> {
    let text = parse(text).map_err(|problem| vec![problem])?;
    let (mut errors, mut endpoints) = (Vec::new(), Vec::new());
    let app = text.app.parse::<AppName>().map_err(|problem| errors.push(problem));
    let python_version = text.python_version.map(|version| version.parse().map_err(|problem| errors.push(problem))).transpose();
    for endpoint in text.endpoints {
        endpoints.extend(read_endpoint(endpoint, &mut errors));
    }
    let (Ok(app), Ok(python_version), true) = (app, python_version, errors.is_empty()) else { return Err(errors) };
    if endpoints.is_empty() {
        return Err(vec![wrong("the manifest has no endpoints", "a build without endpoints has nothing to serve")]);
    }
    // For its rules on all endpoints together.
    let origin = App { name: app.clone(), origin: AppOrigin::Folder };
    let project = Project::new(PathBuf::new(), origin, endpoints, Vec::new())?;
    Ok(Manifest { app, python_version, endpoints: project.endpoints })
}

fn parse(text: &[u8]) -> Result<ManifestText, Diagnostic> {
    #[derive(Deserialize)]
    struct Version {
        version: u64,
    }
    if text.len() > LARGEST_BYTES {
        return Err(wrong(format!("the manifest has {} bytes", text.len()), format!("no project's has more than {LARGEST_BYTES}")));
    }
    // First, and by itself: the fields of another version are other ones.
    let unreadable =
        |error: serde_json::Error| wrong(format!("the manifest is not as it should be: {error}"), "docs/manifest.md has its fields");
    let version = serde_json::from_slice::<Version>(text).map_err(unreadable)?.version;
    if version != VERSION {
        let what = format!("the manifest is of version {version}");
        return Err(Diagnostic::error(what, format!("this flash reads version {VERSION}"), "build the project with this release of flash"));
    }
    serde_json::from_slice(text).map_err(unreadable)
}

fn wrong(what: impl Into<String>, why: impl Into<String>) -> Diagnostic {
    Diagnostic::error(what, why, "build the project anew: flash build")
}

fn read_endpoint(text: EndpointText, errors: &mut Vec<Diagnostic>) -> Option<Endpoint> {
    let before = errors.len();
    let mut keep = |problem| errors.push(problem);
    let place = location(&text.file, text.line).map_err(&mut keep).ok();
    let name = text.name.parse().map_err(&mut keep).ok();
    let class = ResourceClass::named(&text.class);
    if class.is_none() {
        keep(wrong(format!("`{}` is no class of endpoints", shown(&text.class)), "endpoint classes are those of the SDK"));
    }
    let workers = text.workers.map(|[least, most]| Workers::new(least, most)).transpose().map_err(&mut keep).ok();
    let python = text.python.map(|version| version.parse()).transpose().map_err(&mut keep).ok();
    if text.idle_timeout_s.is_some_and(|seconds| !IDLE_TIMEOUT_S.contains(&seconds)) {
        keep(wrong(
            format!("endpoint '{}' has an idle timeout out of range", shown(&text.name)),
            format!("it is {} to {} seconds", IDLE_TIMEOUT_S.start(), IDLE_TIMEOUT_S.end()),
        ));
    }
    if text.max_concurrency.is_some_and(|most| !(1..=MOST_CONCURRENCY).contains(&most)) {
        keep(wrong(
            format!("endpoint '{}' has a concurrency out of range", shown(&text.name)),
            format!("a worker has {MOST_CONCURRENCY} slots"),
        ));
    }
    for (name, value) in &text.env {
        if let Err(problem) = check_variable(name, value) {
            keep(problem);
        }
    }
    if text.timeout_ms == Some(0) {
        keep(wrong(format!("endpoint '{}' has a timeout of nothing", shown(&text.name)), "no function could answer in that time"));
    }
    if text.functions.is_empty() {
        keep(wrong(format!("endpoint '{}' has no functions", shown(&text.name)), "there is nothing to call"));
    }
    let (name, class, workers, python, location) = (name?, class?, workers?, python?, place?);
    let functions: Vec<_> = text.functions.into_iter().filter_map(|function| read_function(function, class.kind(), errors)).collect();
    (errors.len() == before).then(|| Endpoint {
        name,
        class,
        workers,
        idle_timeout: text.idle_timeout_s.map(|seconds| Duration::from_secs(seconds.into())),
        max_concurrency: text.max_concurrency,
        scaler_value: text.scaler_value,
        env: text.env,
        image: text.image,
        gpus: text.gpus,
        gpu_count: text.gpu_count,
        python,
        timeout: text.timeout_ms.map(|milliseconds| Duration::from_millis(milliseconds.into())),
        cancel_on_disconnect: text.cancel_on_disconnect,
        functions,
        location,
    })
}

fn read_function(text: FunctionText, kind: Kind, errors: &mut Vec<Diagnostic>) -> Option<Function> {
    let name = shown(&text.name);
    let nature = match text.kind {
        NatureText::Function => Nature::Function,
        NatureText::AsyncFunction => Nature::AsyncFunction,
        NatureText::Class => Nature::Class,
    };
    let location = location(&text.file, text.line).map_err(|problem| errors.push(problem)).ok();
    let mut keep = |problem: Diagnostic| errors.push(location.clone().map_or(problem.clone(), |location| problem.at(location)));
    if !is_identifier(&text.name) {
        keep(wrong(format!("`{name}` is no function's name"), "functions are found by their names in their module"));
    }
    let module = read_module(&text).map_err(&mut keep).ok();
    let route = match (kind, text.method, text.path) {
        (Kind::LoadBalanced, Some(method), Some(path)) => {
            let method: Option<Method> = method.parse().map_err(&mut keep).ok();
            let path = path.parse().map_err(&mut keep).ok();
            method.zip(path).map(|(method, path)| Some(Route { method, path }))
        }
        (Kind::QueueBased, None, None) => Some(None),
        (Kind::LoadBalanced, _, _) => {
            keep(wrong(format!("function '{name}' lacks a route"), "a load-balanced endpoint's functions have a method and a path each"));
            None
        }
        (Kind::QueueBased, _, _) => {
            keep(wrong(format!("function '{name}' has a route"), "a queue-based endpoint is called by jobs"));
            None
        }
    };
    if kind == Kind::LoadBalanced && nature == Nature::Class {
        keep(wrong(format!("class '{name}' has a route"), "a route of a load-balanced endpoint is served by a function"));
    }
    if text.retries.is_some_and(|retries| kind == Kind::LoadBalanced || retries > Function::MOST_RETRIES) {
        keep(wrong(
            format!("function '{name}' cannot have these retries"),
            format!("a queue-based endpoint tries a job again, {} times at most", Function::MOST_RETRIES),
        ));
    }
    if text.dependencies.iter().chain(&text.system_dependencies).any(|name| name.is_empty() || name.chars().any(char::is_control)) {
        keep(wrong(format!("function '{name}' depends on something without a name"), "each dependency is one package, on one line"));
    }
    Some(Function {
        qualname: text.name,
        module: module?,
        location: location?,
        nature,
        route: route?,
        retries: text.retries,
        dependencies: text.dependencies,
        system_dependencies: text.system_dependencies,
    })
}

/// Its file is where its name says below its import base: an import finds that file and no other.
fn read_module(text: &FunctionText) -> Result<Module, Diagnostic> {
    let file = source_file(&text.file)?;
    let base = |text: &str| if text.is_empty() { Ok(PathBuf::new()) } else { inner_path(text).ok_or_else(|| outside(text)) };
    let import_base = base(&text.import_base)?;
    let import_path = text.import_path.iter().map(|text| base(text)).collect::<Result<Vec<_>, _>>()?;
    if !import_path.is_empty() && !import_path.contains(&import_base) {
        let what = format!("module `{}` is not imported from a folder of its import_path", shown(&text.module));
        return Err(wrong(what, "its import base is one of the folders that its imports begin at"));
    }
    let path: PathBuf = import_base.join(text.module.split('.').collect::<PathBuf>());
    let names = !text.module.is_empty() && text.module.split('.').all(|part| inner_path(part).is_some_and(|path| path.iter().count() == 1));
    if !names || file != path.with_added_extension("py") && file != path.join("__init__.py") {
        let what = format!("module `{}` is not in `{}`", shown(&text.module), shown(&text.file));
        return Err(wrong(what, "a module is imported from the file that has its name, below its import base"));
    }
    Ok(Module { name: text.module.clone(), file, import_base, import_path })
}

fn location(file: &str, line: u32) -> Result<Location, Diagnostic> {
    let file = source_file(file)?;
    if line == 0 {
        return Err(wrong(format!("`{}` has no line 0", file.display()), "lines are counted from one"));
    }
    Ok(Location { file: file.into(), line })
}

fn source_file(text: &str) -> Result<PathBuf, Diagnostic> {
    let file = inner_path(text).ok_or_else(|| outside(text))?;
    if file.extension().is_none_or(|extension| extension != "py") {
        return Err(wrong(format!("`{}` is no Python file", shown(text)), "functions are imported from files whose names end in `.py`"));
    }
    Ok(file)
}

fn outside(text: &str) -> Diagnostic {
    wrong(
        format!("`{}` is no path within the build", shown(text)),
        "a path is relative to the build's sources, without `.`, `..` or a `/` at its ends",
    )
}

/// As far as it matters here: nothing that could be more than one name.
fn is_identifier(name: &str) -> bool {
    let plain = |character: char| character == '_' || character.is_alphanumeric();
    !name.is_empty() && name.chars().all(plain) && !name.starts_with(|character: char| character.is_ascii_digit())
}
