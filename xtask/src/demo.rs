//! `cargo xtask demo`: the guide's service, set up, served and called.

use std::process::Command;

use crate::environment::{Environment, Profile};
use crate::failure::Failure;
use crate::server::{Output, Server, free_port};
use crate::{process, project};

/// Options of `demo`.
#[derive(clap::Args)]
pub struct Arguments {
    /// End after the calls
    #[arg(long)]
    once: bool,
    /// Make `.venv` with this Python rather than the first one found
    #[arg(long)]
    python: Option<String>,
}

/// The port of `flash run`, unless it is taken.
const PORT: u16 = 8888;
/// Where the guide's service is served.
const SERVICE: &str = "/lb/user-service";
/// What is called over HTTP: method, path, body.
const CALLS: [(&str, &str, Option<&str>); 5] = [
    ("GET", "/ping", None),
    ("GET", "/users/1", None),
    ("POST", "/users", Some(r#"{"name":"Eve","email":"e@x.io"}"#)),
    ("GET", "/users", None),
    ("GET", "/users/one", None), // no number: the answer says so
];
/// The same service from Python, in a live session of the script's own.
const FROM_PYTHON: &str = "from user_service import get_user; print(get_user(2))";

/// Sets up, serves, calls; serves on until Ctrl-C.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let environment = Environment::of_project(arguments.python.as_deref())?;
    environment.install_wheel(Profile::Released)?;

    say("The guide's service, served by `flash run`");
    let port = free_port(PORT)?;
    let mut serve = environment.program("flash");
    serve.args(["run", "examples/guide/user_service.py", "--port", &port.to_string()]);
    println!("$ {}", process::shown(&serve));
    let server = Server::start(&mut serve, port, &format!("{SERVICE}/ping"), Output::Terminal)?;

    say("Called over HTTP");
    for (method, path, body) in CALLS {
        let path = format!("{SERVICE}{path}");
        println!("$ {}", curl(method, &format!("{}{path}", server.url()), body));
        let answer = server.ask(method, &path, body)?;
        println!("{} {}", answer.status, answer.body);
    }

    say("Called from Python: live calls, which start their own server and end it");
    show(environment.program("python").arg("examples/guide/greet.py"), "python examples/guide/greet.py")?;
    show(
        environment.program("python").args(["-c", FROM_PYTHON]).env("FLASH_TARGET", "live").current_dir(project::path("examples/guide")),
        &format!("cd examples/guide && FLASH_TARGET=live python -c '{FROM_PYTHON}'"),
    )?;

    if arguments.once {
        return Ok(());
    }
    say(&format!("Serving on at {}{SERVICE}; Ctrl-C ends it", server.url()));
    server.serve_on()
}

fn say(headline: &str) {
    println!("\n{headline}");
}

/// Runs a command that is shown as a person would type it with `.venv` activated.
fn show(command: &mut Command, typed: &str) -> Result<(), Failure> {
    println!("$ {typed}");
    print!("{}", process::read(command)?);
    Ok(())
}

fn curl(method: &str, url: &str, body: Option<&str>) -> String {
    let mut words = vec!["curl".to_owned()];
    if method != "GET" {
        words.push(format!("-X {method}"));
    }
    words.push(url.to_owned());
    if let Some(body) = body {
        words.push(format!("-H 'Content-Type: application/json' -d '{body}'"));
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_typed() {
        assert_eq!(curl("GET", "http://h/users", None), "curl http://h/users");
        let typed = r#"curl -X POST http://h/users -H 'Content-Type: application/json' -d '{"x":1}'"#;
        assert_eq!(curl("POST", "http://h/users", Some(r#"{"x":1}"#)), typed);
    }
}
