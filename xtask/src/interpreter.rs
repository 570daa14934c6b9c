//! Which Python to make environments with.

use std::process::Command;

use crate::failure::Failure;
use crate::process;

/// The oldest Python that our package runs on.
const OLDEST: (u32, u32) = (3, 10);

/// Where to look, best first.
const NAMES: [&str; 6] = ["python3", "python3.13", "python3.12", "python3.11", "python3.10", "python"];

/// A Python that was seen to work.
#[derive(Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// The executable itself, behind links, shims and virtual environments.
    pub path: String,
    /// Major and minor version.
    pub version: (u32, u32),
}

/// The Python that was asked for, or the first one that is new enough.
pub fn find(wanted: Option<&str>) -> Result<Interpreter, Failure> {
    if let Some(wanted) = wanted {
        let found = ask(wanted)?;
        return if found.version >= OLDEST { Ok(found) } else { Err(too_old(&found)) };
    }
    // A name on PATH may be a shim that has nothing behind it: only an answer counts.
    NAMES.iter().filter_map(|name| ask(name).ok()).find(|found| found.version >= OLDEST).ok_or_else(|| {
        Failure::new(
            "no Python was found",
            format!("none of {} answers on PATH with a version from {} up", NAMES.join(", "), shown(OLDEST)),
            "install one (Debian: `apt-get install python3 python3-venv`), or name it with `--python PATH`",
        )
    })
}

/// Asks a Python who it is.
pub fn ask(python: &str) -> Result<Interpreter, Failure> {
    const QUESTION: &str = "import sys; print(*sys.version_info[:2], getattr(sys, '_base_executable', sys.executable))";
    let answer = process::read(Command::new(python).args(["-c", QUESTION]))?;
    parse(&answer).ok_or_else(|| {
        Failure::new(
            format!("`{python}` is not a Python that we know"),
            format!("asked for its version, it answered `{}`", answer.trim()),
            "name another with `--python PATH`",
        )
    })
}

fn parse(answer: &str) -> Option<Interpreter> {
    let mut words = answer.trim().splitn(3, ' ');
    let version = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(Interpreter { path: words.next()?.to_owned(), version })
}

fn too_old(found: &Interpreter) -> Failure {
    Failure::new(
        format!("`{}` is too old", found.path),
        format!("it is Python {}, and the package needs {} or newer", shown(found.version), shown(OLDEST)),
        "name a newer one with `--python PATH`, or leave `--python` out to have one looked for",
    )
}

fn shown((major, minor): (u32, u32)) -> String {
    format!("{major}.{minor}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_version_and_a_path_that_may_have_spaces() {
        let expected = Interpreter { path: "/my tools/python3".into(), version: (3, 12) };
        assert_eq!(parse("3 12 /my tools/python3\n"), Some(expected));
    }

    #[test]
    fn anything_else_is_no_python() {
        for answer in ["", "pyenv: command not found", "3 x /usr/bin/python3", "3 12"] {
            assert_eq!(parse(answer), None, "{answer:?}");
        }
    }
}
