//! Locked requirements: one version of everything, with its hashes, for all platforms.
//!
//! A lock is kept in the project's `.flash` folder and made again only when what is required changes, or when it is asked for: a build tomorrow
//! has the versions of today's.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use flash_manifest::{Diagnostic, PythonVersion};
use sha2::{Digest as _, Sha256};

use crate::layout::LOCK;
use crate::output::new_file;
use crate::pack::hex;
use crate::requirements::{Requirements, logical_lines, name};
use crate::uv::{self, Question};

/// What workers need beside what functions ask for.
const WORKERS_NEED: [&str; 2] = ["cloudpickle>=3", "pydantic>=2.7"];

/// The first line of a lock that is kept: from what it was made, and for which Python.
const HEAD: &str = "# flash build: from ";

/// Changes when locks are made in another way.
const FORM: &str = "1";

/// Locked requirements.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lock {
    /// A requirements file.
    pub text: String,
    /// The oldest Python that it is for.
    pub python: PythonVersion,
    /// What is in it, as `name==version` or `name @ url`.
    pub packages: Vec<String>,
}

/// For what a lock is made.
pub(crate) struct For<'a> {
    pub(crate) root: &'a Path,
    /// The folder that the lock is kept in.
    pub(crate) directory: &'a Path,
    /// The Python that was asked for.
    pub(crate) version: Option<PythonVersion>,
    /// The interpreter that functions run in here.
    pub(crate) python: Option<&'a Path>,
    pub(crate) upgrade: bool,
    pub(crate) progress: &'a dyn Fn(&str),
}

/// The lock of these requirements: the one that is kept where it is of the same ones, else a new one. `None` where nothing is required.
pub(crate) fn lock(required: &Requirements, of: &For<'_>) -> Result<Option<Lock>, Diagnostic> {
    if required.lines.is_empty() {
        return Ok(None);
    }
    let path = of.directory.join(LOCK);
    let digest = digest(required);
    // One that was asked for once holds for that once.
    let wanted = of.version.or_else(|| of.python.and_then(version_of));
    let kept = fs::read_to_string(&path).ok();
    let kept = kept.as_deref().and_then(|text| text.split_once('\n'));
    if let Some((head, text)) = kept
        && !of.upgrade
        && let Some(version) =
            head.strip_prefix(HEAD).and_then(|head| head.strip_prefix(&*digest)).and_then(|rest| rest.strip_prefix(" for Python "))
        && let Ok(version) = version.parse()
        && wanted.is_none_or(|wanted| wanted == version)
        && check(text).is_ok()
    {
        return Ok(Some(read(text, version)));
    }
    let version = wanted.unwrap_or(PythonVersion::ALL[0]);
    let number = required.lines.len();
    (of.progress)(&format!("locking {number} requirement{}", if number == 1 { "" } else { "s" }));
    let text = make(required, of, version, kept.map(|(_, text)| text))?;
    check(&text).map_err(|(line, why)| {
        let what = format!("the lock has a line that cannot be deployed: {line}");
        Diagnostic::error(what, why, "require something else")
    })?;
    keep(&path, of.directory, &format!("{HEAD}{digest} for Python {version}\n{text}")).map_err(|error| unwritable(&path, &error))?;
    Ok(Some(read(&text, version)))
}

/// Half of a lock would look like a whole one.
fn keep(path: &Path, directory: &Path, text: &str) -> io::Result<()> {
    let mut file = new_file(directory)?;
    file.write_all(text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}

fn make(required: &Requirements, of: &For<'_>, version: PythonVersion, kept: Option<&str>) -> Result<String, Diagnostic> {
    let place = tempfile::Builder::new().prefix(".locking-").tempdir_in(of.directory).map_err(|error| unwritable(of.directory, &error))?;
    let write = |name: &str, text: &str| {
        let path = place.path().join(name);
        fs::write(&path, text).map(|()| path.clone()).map_err(|error| unwritable(&path, &error))
    };
    let mut input = String::new();
    for (option, value) in required.options.iter().filter(|(option, _)| !matches!(&**option, "--pre" | "--trusted-host")) {
        input.push_str(option);
        if let Some(value) = value {
            input.push(' ');
            input.push_str(value);
        }
        input.push('\n');
    }
    for line in required.lines.iter().map(String::as_str).chain(WORKERS_NEED) {
        input.push_str(line);
        input.push('\n');
    }
    let constraints: Option<PathBuf> =
        if required.constraints.is_empty() { None } else { Some(write("constraints.txt", &(required.constraints.join("\n") + "\n"))?) };
    let output = write(LOCK, kept.unwrap_or_default())?;
    let trusted: Vec<&str> =
        required.options.iter().filter(|(option, _)| option == "--trusted-host").filter_map(|(_, value)| value.as_deref()).collect();
    uv::compile(&Question {
        root: of.root,
        input: &input,
        constraints: constraints.as_deref(),
        output: &output,
        version: Some(version),
        python: of.python,
        prereleases: required.options.iter().any(|(option, _)| option == "--pre"),
        trusted: &trusted,
        upgrade: of.upgrade,
    })
    .map_err(|problem| located(problem, &input, required))?;
    let locked = fs::read_to_string(&output).map_err(|error| unwritable(&output, &error))?;
    // Options of ours alone: uv repeats some of the input's, paths of this machine among them.
    let lines = locked.lines().filter(|line| !line.starts_with('-') && !line.starts_with('#') && !line.is_empty());
    let sources = required.options.iter().filter(|(option, value)| travels(option, value.as_deref()));
    let mut text: Vec<String> = sources.map(|(option, value)| format!("{option} {}", value.as_deref().unwrap_or_default())).collect();
    text.extend(lines.map(str::to_owned));
    Ok(text.join("\n") + "\n")
}

/// uv reads our list of all requirements, and knows no other place: what it cannot read is told with its own.
fn located(problem: Diagnostic, input: &str, required: &Requirements) -> Diagnostic {
    let number =
        |text: &str| text.split(|character: char| !character.is_ascii_digit()).next().and_then(|digits| digits.parse::<usize>().ok());
    let after = |sign: &str| problem.why.split_once(sign).and_then(|(_, rest)| number(rest));
    // `-:3:1`, or `in -` and a position in bytes.
    let counted = after("-:").and_then(|line| line.checked_sub(1));
    let line = counted.or_else(|| Some(input.get(..after("at position ")?)?.matches('\n').count()));
    let Some((text, at)) = line.and_then(|line| required.places.get_key_value(input.lines().nth(line)?.trim())) else { return problem };
    // Its lines are broken anywhere.
    let said = problem.why.split_whitespace().collect::<Vec<_>>().join(" ");
    let why = match said.split_once(" at position ") {
        Some((_, rest)) => rest.trim_start_matches(|character: char| character.is_ascii_digit()).split(&**text).next().unwrap_or_default(),
        None => said.split(" -:").next().unwrap_or_default(),
    };
    let why = why.trim().trim_start_matches("cause: ").trim_start_matches("Caused by: ").trim_end_matches(':');
    let remedy = "write it as an index has it, as in `numpy>=2`";
    Diagnostic::error(format!("the requirement `{text}` cannot be read"), why, remedy).at(at.clone())
}

/// Whether an option goes with the lock: where packages are found, unless it says a secret or means a place on this machine.
fn travels(option: &str, value: Option<&str>) -> bool {
    let Some(value) = value else { return false };
    matches!(option, "--no-binary" | "--only-binary")
        || matches!(option, "--index-url" | "--extra-index-url" | "--find-links") && is_open_url(value)
}

/// What does not travel with a lock, and must be known to the server in another way.
pub(crate) fn left_behind(required: &Requirements) -> Vec<Diagnostic> {
    let sources = required.options.iter().filter(|(option, _)| matches!(&**option, "--index-url" | "--extra-index-url"));
    let hidden = sources.filter(|(option, value)| !travels(option, value.as_deref()));
    hidden
        .map(|(option, _)| {
            Diagnostic::warning(
                format!("the {option} of the requirements is left out of the build"),
                "it has a password or a variable in it, and an artifact is read by whoever may deploy",
                "set it where the server runs, by uv's own settings: UV_DEFAULT_INDEX, UV_INDEX, or uv.toml",
            )
        })
        .collect()
}

/// The lock without what it was made of.
fn read(text: &str, python: PythonVersion) -> Lock {
    let packages = logical_lines(text).into_iter().filter(|(_, line)| !line.starts_with('-'));
    let shown = |line: String| line.split(" --hash").next().and_then(|line| line.split(" ;").next()).unwrap_or_default().trim().to_owned();
    Lock { text: text.to_owned(), python, packages: packages.map(|(_, line)| shown(line)).collect() }
}

/// Holds a lock of anybody against what may be in one: exact versions, URLs, and where packages are found. Nothing that names a file of the
/// machine that installs it, or a variable of its environment. Errs with the line and what is wrong.
pub(crate) fn check(text: &str) -> Result<(), (String, &'static str)> {
    for (_, line) in logical_lines(text) {
        let wrong =
            |why| Err((line.chars().take(100).map(|character| if character.is_control() { '?' } else { character }).collect(), why));
        if line.contains('$') {
            return wrong("variables are not expanded where it is installed");
        }
        if let Some((option, value)) = line.strip_prefix("--").map(|rest| rest.split_once(' ').unwrap_or((rest, ""))) {
            match option {
                "index-url" | "extra-index-url" | "find-links" if is_open_url(value) => continue,
                "no-binary" | "only-binary"
                    if value.chars().all(|character| character.is_ascii_alphanumeric() || "-_.,:".contains(character)) =>
                {
                    continue;
                }
                _ => return wrong("it is no option that a lock may have"),
            }
        }
        let requirement = line.split(" --hash=").next().unwrap_or(&line);
        let requirement = requirement.split(';').next().unwrap_or(requirement).trim();
        if name(requirement).is_none() {
            return wrong("each line of a lock names a package");
        }
        let exact = requirement.split_once("==").is_some_and(|(_, version)| {
            !version.is_empty() && version.chars().all(|character| character.is_ascii_alphanumeric() || ".+!-_".contains(character))
        });
        let url = requirement.split_once('@').map(|(_, url)| url.trim());
        let by_url = url.is_some_and(|url| is_open_url(url.strip_prefix("git+").unwrap_or(url)) && !url.contains(char::is_whitespace));
        if !exact && !by_url {
            return wrong("a lock has one version of each package, or its URL");
        }
        if exact && !line.contains(" --hash=") {
            return wrong("without a hash it may be another package tomorrow");
        }
        if line.split(" --hash=").skip(1).any(|hash| hash.contains(' ') || hash.contains("--")) {
            return wrong("after a package there are hashes alone");
        }
    }
    Ok(())
}

/// Whether it is a web address with nobody's name or password in it.
fn is_open_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let host = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    host.is_some_and(|host| !host.is_empty() && !host.contains('@')) && !text.contains('$') && !text.contains(char::is_whitespace)
}

fn digest(required: &Requirements) -> String {
    let mut sha = Sha256::new();
    let mut add = |kind: &str, text: &str| {
        sha.update((text.len() as u64).to_le_bytes());
        sha.update(kind);
        sha.update(text);
    };
    add("form", FORM);
    let mut lines: Vec<&str> = required.lines.iter().map(String::as_str).chain(WORKERS_NEED).collect();
    lines.sort_unstable();
    lines.iter().for_each(|line| add("requirement", line));
    required.constraints.iter().for_each(|line| add("constraint", line));
    for (option, value) in &required.options {
        add(option, value.as_deref().unwrap_or_default());
    }
    hex(&sha.finalize())
}

/// The version of an interpreter: as its environment's file says, which is quicker than to ask it.
fn version_of(python: &Path) -> Option<PythonVersion> {
    let settings = python.parent().and_then(Path::parent).map(|environment| environment.join("pyvenv.cfg"));
    let said = settings.and_then(|settings| fs::read_to_string(settings).ok()).and_then(|text| {
        let mut values = text.lines().filter_map(|line| line.split_once('='));
        values.find(|(name, _)| matches!(name.trim(), "version" | "version_info")).map(|(_, value)| value.trim().to_owned())
    });
    let said = said.or_else(|| {
        let asked =
            std::process::Command::new(python).args(["-I", "-S", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]).output();
        asked.ok().map(|done| String::from_utf8_lossy(&done.stdout).trim().to_owned())
    })?;
    let mut parts = said.split('.');
    let (major, minor) = (parts.next()?, parts.next()?);
    // A newer one than any that is known takes what is locked for the newest.
    let newest = PythonVersion::ALL[PythonVersion::ALL.len() - 1];
    format!("{major}.{minor}").parse().ok().or_else(|| (major == "3" && minor.parse().is_ok_and(|minor: u32| minor > 13)).then_some(newest))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Diagnostic {
    let what = format!("`{}` cannot be written: {error}", path.display());
    Diagnostic::error(what, "the locked requirements are kept there", "make room, or mend the permissions there")
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn a_lock_has_exact_versions_and_nothing_of_the_machine_it_is_installed_on() {
        for text in [
            "",
            "a==1.0 --hash=sha256:12\n",
            "# comment\na==1.0 ; python_version < '3.12' \\\n    --hash=sha256:12 \\\n    --hash=sha256:34\nb[x]==2!1.0+cpu --hash=sha256:56\n",
            "--index-url https://x.example/simple\n--only-binary :all:\na @ https://x.example/a-1.whl\nb @ git+https://x.example/b@abc\n",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
        for text in [
            "a\n",
            "a==1.0\n",
            "a==1.0 ; python_version < '3.12'\n",
            "a>=1\n",
            "a==1.*\n",
            "a==1,<2\n",
            "-r /etc/passwd\n",
            "-e /root/x\n",
            "--requirement=/etc/passwd\n",
            "-c x\n",
            "/root/x\n",
            "./x\n",
            "a @ file:///etc\n",
            "a @ /etc\n",
            "--find-links /root\n",
            "--find-links file:///root\n",
            "--index-url https://${SECRET}.example/\n",
            "--index-url https://me:word@x.example/\n",
            "a @ https://$HOME.example/\n",
            "a==1 ; extra == '${SECRET}'\n",
            "a==1 --global-option=x\n",
            "a==1 --hash=sha256:1 --config-settings=x\n",
            "--no-binary :all: -r x\n",
            "a==1 \\\n-r /etc/passwd\n",
            "a @ git+ssh://x.example/y\n",
        ] {
            assert!(check(text).is_err(), "{text}");
        }
    }
}
