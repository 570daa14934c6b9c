//! `flash call`: one call of a deployed function, from the command line.

use std::fmt::Write as _;
use std::time::Duration;

use flash_api::{Endpoint, Function, Parameter, Plan};
use serde_json::{Map, Value};

use crate::client::{Client, segment};
use crate::connection::{Connection, endpoint};
use crate::lines::to_errors;
use crate::output::print;
use crate::report::{Failure, Fault, Trouble};

/// What the user asked for.
#[derive(clap::Args)]
pub struct Arguments {
    /// The endpoint's name or id
    endpoint: String,
    /// The function's name; of a class, its method: `Model.predict`
    function: String,
    /// Its arguments, in order or by name: `5`, `name=Eve`, `tags='["a"]'`. What begins as JSON does, with one of { [ " is JSON, everything
    /// else is text, which the function's annotation makes a number, a date; `name:=5` is JSON in any case
    #[arg(value_name = "ARGUMENT", allow_negative_numbers = true)]
    arguments: Vec<String>,
    /// All arguments as one JSON object, by name
    #[arg(long, value_name = "OBJECT", conflicts_with = "arguments")]
    json: Option<String>,
    /// The app that the endpoint belongs to
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// The environment that it is deployed to
    #[arg(long, env = "FLASH_ENV", value_name = "NAME")]
    env: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

/// Beyond the endpoint's own limit: the way there and back, and a worker's start.
const MARGIN: Duration = Duration::from_secs(10);

/// How long a job is waited for.
const LONGEST_WAIT_MS: u64 = 300_000;

/// Calls, and prints what came back.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let client = crate::project::connection(&arguments.connection, arguments.env.as_deref())?.client()?;
    let endpoint = endpoint(&client, &arguments.endpoint, arguments.app.as_deref(), arguments.env.as_deref())?;
    let (function, method) = function(&endpoint, &arguments.function)?;
    if endpoint.jobs.is_some() {
        return run_job(&client, &endpoint, function, method, arguments);
    }
    let (Some(method), Some(path), Some(plan)) = (&function.method, &function.path, &function.plan) else {
        let why = format!("no worker of {} has said yet what it takes", endpoint.id);
        return Err(refused(format!("`{}` cannot be called", function.name), why, "see `flash status`"));
    };
    let given = match &arguments.json {
        Some(text) => object(text)?,
        None => given(&arguments.arguments, plan, &function.name)?,
    };
    let request = request(path, plan, given, &function.name)?;
    let url = format!("{}{}", endpoint.url, request.target);
    let answer = client.call(method, &url, request.body, Duration::from_millis(endpoint.timeout_ms) + MARGIN)?;
    let text = String::from_utf8_lossy(answer.body()).into_owned();
    if answer.status().is_success() {
        return print(&if text.is_empty() || text.ends_with('\n') { text } else { text + "\n" });
    }
    let id = answer.headers().get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or("unknown");
    if !text.is_empty() {
        to_errors(&format!("{text}\n"));
    }
    let what = format!("HTTP error from endpoint: {}", answer.status().as_u16());
    let why = format!("{method} {url} was answered with {}", answer.status());
    Err(refused(what, why, &format!("see `flash logs {} --request {id}`", endpoint.id)))
}

/// A job of a queue-based endpoint, and its output.
fn run_job(client: &Client, endpoint: &Endpoint, function: &Function, method: Option<&str>, arguments: &Arguments) -> Result<(), Failure> {
    let mut given = match (&arguments.json, &function.plan) {
        (Some(text), _) => object(text)?,
        // A class, whose methods the plan does not have; or a function without parameters, and then the worker says so.
        (None, Some(plan)) if plan.parameters.is_empty() => by_name(&arguments.arguments, &arguments.function)?,
        (None, Some(plan)) => given(&arguments.arguments, plan, &function.name)?,
        (None, None) if arguments.arguments.is_empty() => Map::new(),
        (None, None) => {
            let why = format!("no worker of {} has said yet what it takes", endpoint.id);
            return Err(refused(format!("the arguments of `{}` cannot be told apart", function.name), why, "give them with --json"));
        }
    };
    if let Some(method) = method {
        given.insert("__method__".into(), method.into());
    }
    let body = serde_json::json!({ "function": function.name, "input": given }).to_string().into_bytes();
    let url = format!("{}/runsync?wait={LONGEST_WAIT_MS}", endpoint.url);
    let answer = client.call("POST", &url, Some(body), Duration::from_millis(LONGEST_WAIT_MS) + MARGIN)?;
    let text = String::from_utf8_lossy(answer.body()).into_owned();
    let job: Value = serde_json::from_str(&text).unwrap_or_default();
    let said = |name: &str| job[name].as_str().unwrap_or_default().to_owned();
    let (id, status) = (said("id"), said("status"));
    if !answer.status().is_success() {
        let what = format!("HTTP error from endpoint: {}", answer.status().as_u16());
        return Err(refused(what, said("error"), &format!("see `flash status {}`", endpoint.id)));
    }
    match &*status {
        "COMPLETED" => print(&format!("{}\n", job["output"])),
        "IN_QUEUE" | "IN_PROGRESS" => {
            let why = format!("job {id} is {status}");
            Err(refused("the job has not ended yet".into(), why, &format!("see `flash jobs get {id}`")))
        }
        _ => {
            if let Some(traceback) = job["traceback"].as_str() {
                to_errors(traceback);
            }
            Err(refused(format!("the job is {status}"), said("error"), &format!("see `flash jobs get {id}`")))
        }
    }
}

/// The function of a name; or the class, and its method.
fn function<'e, 'n>(endpoint: &'e Endpoint, named: &'n str) -> Result<(&'e Function, Option<&'n str>), Failure> {
    let find = |named: &str| endpoint.functions.iter().find(|function| function.name == named);
    let of_class = || {
        let (class, method) = named.rsplit_once('.').filter(|_| endpoint.jobs.is_some())?;
        Some((find(class)?, Some(method)))
    };
    find(named).map(|function| (function, None)).or_else(of_class).ok_or_else(|| {
        let names: Vec<&str> = endpoint.functions.iter().map(|function| function.name.as_str()).collect();
        let mut remedy = format!("it has {}", names.join(", "));
        if let Some(near) = flash_manifest::nearest(named, names.iter().copied()) {
            remedy = format!("did you mean `{near}`? {remedy}");
        }
        refused(
            format!("{} has no function `{named}`", endpoint.id),
            "functions are called by their names in their modules".into(),
            &remedy,
        )
    })
}

fn object(text: &str) -> Result<Map<String, Value>, Failure> {
    serde_json::from_str(text).map_err(|error| {
        let remedy = "write the arguments by name, as in --json '{\"name\": \"Eve\"}'";
        Failure::new(Fault::Usage, Trouble::new("--json is not a JSON object", error.to_string(), remedy))
    })
}

/// The arguments by name.
fn given(arguments: &[String], plan: &Plan, function: &str) -> Result<Map<String, Value>, Failure> {
    let mut given = Map::new();
    let wrong = |what: String, why: String| Failure::new(Fault::Usage, Trouble::new(what, why, takes(plan, function)));
    for (place, argument) in arguments.iter().enumerate() {
        let (name, value) = match named(argument, plan) {
            Some((name, Ok(value))) => (name, value),
            Some((name, Err(error))) => return Err(wrong(format!("the value of `{name}` is not JSON"), error.to_string())),
            None => match plan.parameters.get(place) {
                Some(parameter) => (parameter.name.as_str(), value(argument)),
                None => return Err(wrong(format!("argument {} is one too many", place + 1), format!("it is {argument:?}"))),
            },
        };
        if given.insert(name.to_owned(), value).is_some() {
            return Err(wrong(format!("`{name}` is given twice"), "once by its place, or by its name twice".into()));
        }
    }
    Ok(given)
}

/// The arguments of what has no plan: all of them must say their parameter's name.
fn by_name(arguments: &[String], function: &str) -> Result<Map<String, Value>, Failure> {
    let mut given = Map::new();
    for argument in arguments {
        let wrong = |what: String, why: String| {
            let remedy = format!("write name=value, as in `{function} x=3`, or all of them with --json '{{\"x\": 3}}'");
            Failure::new(Fault::Usage, Trouble::new(what, why, remedy))
        };
        let (name, value) = match argument.split_once('=') {
            Some((name, text)) if name.ends_with(':') => match serde_json::from_str(text) {
                Ok(value) => (name.trim_end_matches(':'), value),
                Err(error) => return Err(wrong(format!("the value of `{}` is not JSON", name.trim_end_matches(':')), error.to_string())),
            },
            Some((name, text)) => (name, value(text)),
            None => {
                let why = "the server does not know the parameters of a class's methods, so arguments have names here".to_owned();
                return Err(wrong(format!("the argument {argument:?} has no name"), why));
            }
        };
        if given.insert(name.to_owned(), value).is_some() {
            return Err(wrong(format!("`{name}` is given twice"), "by its name twice".into()));
        }
    }
    Ok(given)
}

/// `name=text` or `name:=json`, where it is a parameter's name; text may hold `=` by itself.
fn named<'a>(argument: &'a str, plan: &Plan) -> Option<(&'a str, Result<Value, serde_json::Error>)> {
    let (name, text) = argument.split_once('=')?;
    let known = |name: &str| plan.parameters.iter().any(|parameter| parameter.name == name);
    match name.strip_suffix(':') {
        Some(name) if known(name) => Some((name, serde_json::from_str(text))),
        _ if known(name) => Some((name, Ok(value(text)))),
        _ => None,
    }
}

fn value(text: &str) -> Value {
    let is_json = text.starts_with(['{', '[', '"']);
    is_json.then(|| serde_json::from_str(text).ok()).flatten().unwrap_or_else(|| Value::String(text.to_owned()))
}

/// What goes over the wire.
#[derive(Debug, PartialEq)]
struct Request {
    /// Path and query.
    target: String,
    body: Option<Vec<u8>>,
}

fn request(path: &str, plan: &Plan, mut given: Map<String, Value>, function: &str) -> Result<Request, Failure> {
    let wrong = |what: String, why: &str| Failure::new(Fault::Usage, Trouble::new(what, why, takes(plan, function)));
    let (mut target, mut query, mut body) = (path.to_owned(), String::new(), Map::new());
    for Parameter { name, place, key, required, many } in &plan.parameters {
        let Some(value) = given.remove(name) else {
            if *required {
                return Err(wrong(format!("`{name}` is missing"), "the function has no default for it"));
            }
            continue;
        };
        match place.as_str() {
            "path" => target = fill(&target, key, &text(&value)),
            "query" => {
                let values = if let (true, Value::Array(values)) = (many, &value) { values.clone() } else { vec![value] };
                for value in values {
                    let separator = if query.is_empty() { '?' } else { '&' };
                    let _ = write!(query, "{separator}{}={}", segment(key), segment(&text(&value))); // to a String
                }
            }
            "body" => drop(body.insert(key.clone(), value)),
            _ => return Err(wrong(format!("`{name}` is a part of a form"), "files and forms are not sent from here: use curl -F")),
        }
    }
    if let Some(unknown) = given.keys().next() {
        return Err(wrong(format!("`{function}` takes no `{unknown}`"), "each argument goes to the parameter of its name"));
    }
    let body = match plan.body.as_deref() {
        None => None,
        Some("whole") => body.into_iter().next().map(|(_, value)| value.to_string().into_bytes()),
        Some(_) => Some(Value::Object(body).to_string().into_bytes()),
    };
    Ok(Request { target: target + &query, body })
}

/// Puts a value in the place of `{key}` or `{key:path}`.
fn fill(path: &str, key: &str, value: &str) -> String {
    let whole = format!("{{{key}:path}}");
    if path.contains(&whole) {
        let parts: Vec<String> = value.split('/').map(segment).collect();
        return path.replace(&whole, &parts.join("/"));
    }
    path.replace(&format!("{{{key}}}"), &segment(value))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn takes(plan: &Plan, function: &str) -> String {
    let parameters = plan.parameters.iter().map(|parameter| format!("{}{}", parameter.name, if parameter.required { "" } else { "=..." }));
    format!("it is {function}({})", parameters.collect::<Vec<_>>().join(", "))
}

fn refused(what: String, why: String, remedy: &str) -> Failure {
    Failure::new(Fault::Request, Trouble::new(what, why, remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(body: Option<&str>, parameters: &[(&str, &str, bool)]) -> Plan {
        let parameter = |(name, place, required): &(&str, &str, bool)| Parameter {
            name: (*name).into(),
            place: (*place).into(),
            key: (*name).into(),
            required: *required,
            many: *name == "tags",
        };
        Plan { body: body.map(str::to_owned), parameters: parameters.iter().map(parameter).collect() }
    }

    fn made(path: &str, plan: &Plan, arguments: &[&str]) -> Result<(String, Option<String>), String> {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let request = given(&arguments, plan, "f").and_then(|given| request(path, plan, given, "f"));
        let request = request.map_err(|failure| failure.first().what.clone())?;
        Ok((request.target, request.body.map(|body| String::from_utf8(body).expect("it is JSON"))))
    }

    #[test]
    fn arguments_go_where_the_plan_says() {
        let update = plan(Some("fields"), &[("user_id", "path", true), ("name", "body", true), ("age", "body", false)]);
        assert_eq!(
            made("/users/{user_id}", &update, &["a b", "name=Eve=x"]),
            Ok(("/users/a%20b".into(), Some(r#"{"name":"Eve=x"}"#.into())))
        );
        assert_eq!(
            made("/users/{user_id}", &update, &["1", "Eve", "age:=5"]),
            Ok(("/users/1".into(), Some(r#"{"age":5,"name":"Eve"}"#.into())))
        );
        let list = plan(None, &[("tags", "query", false), ("q", "query", false)]);
        assert_eq!(made("/l", &list, &[r#"tags=["a","b&c"]"#, "q=x"]), Ok(("/l?tags=a&tags=b%26c&q=x".into(), None)));
        let order = plan(Some("whole"), &[("order", "body", true)]);
        assert_eq!(made("/o", &order, &[r#"{"n": 1}"#]), Ok(("/o".into(), Some(r#"{"n":1}"#.into()))));
        let file = plan(None, &[("at", "path", true)]);
        assert_eq!(made("/f/{at:path}", &file, &["a b/c"]), Ok(("/f/a%20b/c".into(), None)));
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let one = plan(Some("fields"), &[("name", "body", true)]);
        assert_eq!(made("/u", &one, &[]), Err("`name` is missing".into()));
        assert_eq!(made("/u", &one, &["a", "b"]), Err("argument 2 is one too many".into()));
        assert_eq!(made("/u", &one, &["a", "name=b"]), Err("`name` is given twice".into()));
        assert_eq!(made("/u", &one, &["name:={"]), Err("the value of `name` is not JSON".into()));
        let upload = plan(Some("form"), &[("file", "file", true)]);
        assert_eq!(made("/u", &upload, &["x"]), Err("`file` is a part of a form".into()));
    }
}
