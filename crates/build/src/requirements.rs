//! What a project requires of others: `requirements.txt` and the files it names, `[project] dependencies`, and the functions' own
//! `dependencies`, as one list.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use flash_manifest::{Diagnostic, Location};
use flash_scan::Survey;
use serde::Deserialize;

/// Our own package, and the one that programs were written for: the host brings it to its workers.
const OURS: [&str; 2] = ["openflash", "runpod-flash"];

/// How deep files may name files.
const DEEPEST: usize = 16;

/// No list that people write is longer.
const LARGEST_BYTES: u64 = 4 * 1024 * 1024;

/// Options of requirements files that say where packages come from, or in which form; each takes a value.
const WITH_VALUE: [(&str, &str); 8] = [
    ("-i", "--index-url"),
    ("--index-url", "--index-url"),
    ("--extra-index-url", "--extra-index-url"),
    ("-f", "--find-links"),
    ("--find-links", "--find-links"),
    ("--no-binary", "--no-binary"),
    ("--only-binary", "--only-binary"),
    ("--trusted-host", "--trusted-host"),
];

/// Everything that is required, and how to get it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Requirements {
    /// Lines as pip takes them, no two the same.
    pub(crate) lines: Vec<String>,
    /// Bounds on what others bring.
    pub(crate) constraints: Vec<String>,
    /// Options, by their long names.
    pub(crate) options: Vec<(String, Option<String>)>,
    pub(crate) warnings: Vec<Diagnostic>,
    /// Where each line was found first.
    pub(crate) places: BTreeMap<String, Location>,
}

/// Reads all of it. Errs with everything that is wrong.
pub(crate) fn of(survey: &Survey) -> Result<Requirements, Vec<Diagnostic>> {
    let root = &survey.project.root;
    let mut reading = Reading { root, survey, out: Requirements::default(), errors: Vec::new(), seen: BTreeSet::new() };
    reading.file(&root.join("requirements.txt"), None, Kind::Requirements, 0);
    reading.pyproject(&root.join("pyproject.toml"));
    for function in survey.project.endpoints.iter().flat_map(|endpoint| &endpoint.functions) {
        for line in &function.dependencies {
            reading.own(line.trim(), &function.location);
        }
    }
    let Reading { mut out, errors, .. } = reading;
    let mut seen = BTreeSet::new();
    out.lines.retain(|line| seen.insert(line.clone()));
    if errors.is_empty() { Ok(out) } else { Err(errors) }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Requirements,
    Constraints,
}

struct Reading<'a> {
    root: &'a Path,
    survey: &'a Survey,
    out: Requirements,
    errors: Vec<Diagnostic>,
    seen: BTreeSet<(PathBuf, bool)>,
}

impl Reading<'_> {
    /// A requirements file; the one that `by` names must be there.
    fn file(&mut self, file: &Path, by: Option<&Location>, kind: Kind, depth: usize) {
        if !self.seen.insert((file.to_owned(), kind == Kind::Constraints)) {
            return;
        }
        let shown = self.survey.shown(file);
        let text = match read(file) {
            Ok(text) => text,
            Err(error) if by.is_none() && error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                let what = format!("`{}` cannot be read: {error}", shown.display());
                let problem =
                    Diagnostic::error(what, "it says what the functions require", "mend the file, or take out the line that names it");
                return self.errors.push(by.map_or(problem.clone(), |by| problem.at(by.clone())));
            }
        };
        for (number, line) in logical_lines(&text) {
            let at = Location { file: shown.as_path().into(), line: number };
            self.line(&line, file, &at, kind, depth);
        }
    }

    fn line(&mut self, line: &str, file: &Path, at: &Location, kind: Kind, depth: usize) {
        let folder = file.parent().unwrap_or(self.root);
        let Some(option) = option(line) else { return self.requirement(line, folder, at, kind) };
        let (name, value) = option;
        let mut wrong = |why: &str, remedy: &str| {
            let problem = Diagnostic::error(format!("`{line}` is not understood"), why, remedy);
            self.errors.push(problem.at(at.clone()));
        };
        let known = WITH_VALUE.iter().find(|(short, _)| *short == name).map(|(_, long)| *long);
        match (name, known, value) {
            ("-r" | "--requirement" | "-c" | "--constraint", _, Some(value)) => {
                if value.contains("://") {
                    return wrong("files of requirements are the project's own", "copy the file into the project");
                }
                if depth == DEEPEST {
                    return wrong("files name files without end", "put them into one");
                }
                let kind = if matches!(name, "-c" | "--constraint") { Kind::Constraints } else { kind };
                self.file(&folder.join(value), Some(at), kind, depth + 1);
            }
            ("-e" | "--editable", _, Some(value)) => self.requirement(value, folder, at, kind),
            (_, Some(long), Some(value)) => {
                let is_path = long == "--find-links" && !value.contains("://");
                let value = if is_path { folder.join(value).to_string_lossy().into_owned() } else { value.to_owned() };
                self.out.options.push((long.to_owned(), Some(value)));
            }
            ("--no-index" | "--pre", _, None) => self.out.options.push((name.to_owned(), None)),
            // What is locked has hashes in any case, and builds are preferred in any case.
            ("--require-hashes" | "--prefer-binary" | "--use-pep517", _, None) => {}
            _ => wrong("it is no option that requirements are locked with", "take it out"),
        }
    }

    fn pyproject(&mut self, file: &Path) {
        #[derive(Deserialize)]
        struct Pyproject {
            project: Option<Table>,
        }
        #[derive(Deserialize)]
        struct Table {
            dependencies: Option<Vec<toml::Spanned<String>>>,
        }
        // A file that is no TOML has been told of by who looked for the app's name in it.
        let Ok(text) = read(file) else { return };
        let shown = self.survey.shown(file);
        let at = |offset: usize| {
            let before = text.get(..offset).unwrap_or_default();
            Location { file: shown.as_path().into(), line: u32::try_from(before.matches('\n').count() + 1).unwrap_or(u32::MAX) }
        };
        match toml::from_str::<Pyproject>(&text) {
            Ok(pyproject) => {
                let dependencies = pyproject.project.and_then(|table| table.dependencies).unwrap_or_default();
                for dependency in dependencies {
                    let at = at(dependency.span().start);
                    self.requirement(dependency.get_ref().trim(), self.root, &at, Kind::Requirements);
                }
            }
            Err(error) => {
                let what = format!("`{}` is not as it should be: {}", shown.display(), error.message().replace('\n', ", "));
                let problem = Diagnostic::error(what, "its `dependencies` are a list of texts", "mend the line");
                self.errors.push(problem.at(at(error.span().map_or(0, |span| span.start))));
            }
        }
    }

    /// One of a function's own.
    fn own(&mut self, line: &str, at: &Location) {
        if line.starts_with('-') || line.contains('\n') {
            let problem = Diagnostic::error(
                format!("`{}` is no requirement", line.replace('\n', " ")),
                "each of a function's dependencies is one package",
                "dependencies=['numpy>=2']; options belong into requirements.txt",
            );
            return self.errors.push(problem.at(at.clone()));
        }
        self.requirement(line, self.root, at, Kind::Requirements);
    }

    fn requirement(&mut self, line: &str, folder: &Path, at: &Location, kind: Kind) {
        let name = name(line);
        if name.as_deref() == Some("runpod-flash") && kind == Kind::Requirements {
            let problem = Diagnostic::warning(
                format!("the requirement `{line}` is satisfied by openflash"),
                "programs that import `runpod_flash` run on it, and the host brings it to its workers",
                "take the line out, or leave it as it is",
            );
            self.out.warnings.push(problem.at(at.clone()));
        }
        if name.as_deref().is_some_and(|name| OURS.contains(&name)) {
            return;
        }
        if let Some(path) = local(line) {
            // The project itself is in the build, and so is what it requires.
            if folder.join(path).canonicalize().is_ok_and(|path| path == self.root) {
                return;
            }
            let problem = Diagnostic::error(
                format!("the requirement `{line}` is a path on this machine"),
                "requirements are installed where the build is deployed, which does not have it",
                "put its modules into the project, or name it as an index has it",
            );
            return self.errors.push(problem.at(at.clone()));
        }
        match kind {
            Kind::Requirements => {
                self.out.places.entry(line.to_owned()).or_insert_with(|| at.clone());
                self.out.lines.push(line.to_owned());
            }
            Kind::Constraints => self.out.constraints.push(line.to_owned()),
        }
    }
}

fn read(file: &Path) -> io::Result<String> {
    if fs::metadata(file)?.len() > LARGEST_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {LARGEST_BYTES} bytes")));
    }
    fs::read_to_string(file)
}

/// The lines of a requirements file with something in them, joined where they go on, without comments; each with its number.
pub(crate) fn logical_lines(text: &str) -> Vec<(u32, String)> {
    let mut out = Vec::new();
    let mut begun: Option<(u32, String)> = None;
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
        let (first, mut whole) = begun.take().unwrap_or((number, String::new()));
        let plain = uncommented(line);
        match plain.strip_suffix('\\') {
            // A comment's end is no continuation.
            Some(more) if plain.len() == line.len() => {
                whole.push_str(more);
                begun = Some((first, whole));
                continue;
            }
            _ => whole.push_str(plain),
        }
        out.push((first, whole));
    }
    out.extend(begun);
    out.retain_mut(|(_, line)| {
        *line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        !line.is_empty()
    });
    out
}

/// A comment begins with the line, or after a space.
fn uncommented(line: &str) -> &str {
    let begins = |(index, _): &(usize, &str)| *index == 0 || line[..*index].ends_with(char::is_whitespace);
    line.match_indices('#').find(begins).map_or(line, |(index, _)| &line[..index])
}

/// An option's name and its value, which comes after a space, a `=`, or for those of one letter, at once.
fn option(line: &str) -> Option<(&str, Option<&str>)> {
    if !line.starts_with('-') {
        return None;
    }
    if !line.starts_with("--") && line.is_char_boundary(2) && line.len() > 2 {
        let (name, value) = line.split_at(2);
        return Some((name, Some(value.trim_start_matches([' ', '=']).trim())));
    }
    Some(match line.split_once([' ', '=']) {
        Some((name, value)) => (name, Some(value.trim())),
        None => (line, None),
    })
}

/// The name of what is required, as indexes have it: `My.Package[extra]>=1` is `my-package`.
pub(crate) fn name(line: &str) -> Option<String> {
    let end = line.find(|character: char| !(character.is_ascii_alphanumeric() || "-_.".contains(character))).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let is_named = name.starts_with(|character: char| character.is_ascii_alphanumeric())
        && (rest.is_empty() || rest.starts_with(['[', '<', '>', '=', '!', '~', ';', '@', '(', ',']) || rest.starts_with("--hash"));
    is_named.then(|| normal(name))
}

/// A name, in the one spelling that indexes take (PEP 503).
pub(crate) fn normal(name: &str) -> String {
    let words = name.split(['-', '_', '.']).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_ascii_lowercase()
}

/// The path that a requirement is, if it is one.
fn local(line: &str) -> Option<&str> {
    let url = match line.split_once('@') {
        Some((before, url)) if name(line).is_some() && !before.contains(['<', '>', '=', ';']) => url.trim(),
        _ => line,
    };
    let path = url.strip_prefix("file://").unwrap_or(url);
    let path = path.split(';').next().unwrap_or(path).trim();
    let plain = path.split('[').next().unwrap_or(path);
    let is_path = url.starts_with("file:")
        || !url.contains("://") && (plain.starts_with(['.', '/', '~']) || plain.contains('/') || has_archives_ending(plain));
    is_path.then_some(plain)
}

fn has_archives_ending(text: &str) -> bool {
    [".whl", ".tar.gz", ".zip"].iter().any(|ending| text.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::{local, logical_lines, name, option};

    #[test]
    fn lines_are_joined_and_without_comments() {
        let lines = |text: &str| logical_lines(text);
        let check = |text: &str, expected: &[(u32, &str)]| {
            let expected: Vec<(u32, String)> = expected.iter().map(|(number, line)| (*number, (*line).to_owned())).collect();
            assert_eq!(lines(text), expected, "{text:?}");
        };
        check("a\n\n# b\nc # d\r\n  e  ;  f\n", &[(1, "a"), (4, "c"), (5, "e ; f")]);
        check("a \\\n  --hash=sha256:1 \\\n  --hash=sha256:2\nb", &[(1, "a --hash=sha256:1 --hash=sha256:2"), (4, "b")]);
        check("a @ https://x.example/y#sha256=1 # z\n# no \\\nb\\", &[(1, "a @ https://x.example/y#sha256=1"), (3, "b")]);
        check("\u{feff}a", &[(1, "a")]);
    }

    #[test]
    fn a_requirement_has_the_name_that_indexes_give_it() {
        for (line, expected) in [
            ("numpy", Some("numpy")),
            ("My.Pack_age[a,b] >= 1", Some("my-pack-age")),
            ("pkg ~= 1", Some("pkg")),
            ("pkg @ https://x.example/y.whl", Some("pkg")),
            ("pkg; python_version > '3'", Some("pkg")),
            ("runpod_flash==1.0", Some("runpod-flash")),
            ("git+https://x.example/y", None),
            ("./pkg", None),
            ("two words", None),
        ] {
            assert_eq!(name(line).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn paths_are_told_from_packages() {
        for (line, expected) in [
            (".", Some(".")),
            (".[dev]", Some(".")),
            ("./lib", Some("./lib")),
            ("libs/mine", Some("libs/mine")),
            ("pkg @ file:///x/y", Some("/x/y")),
            ("dist/x-1.whl", Some("dist/x-1.whl")),
            ("x-1.whl ; python_version > '3'", Some("x-1.whl")),
            ("pkg>=1", None),
            ("pkg @ https://x.example/y.whl", None),
            ("git+https://x.example/y@main", None),
            ("https://x.example/y.whl", None),
        ] {
            assert_eq!(local(line), expected, "{line}");
        }
    }

    #[test]
    fn options_are_read_in_all_their_forms() {
        for (line, expected) in [
            ("-r base.txt", Some(("-r", Some("base.txt")))),
            ("-rbase.txt", Some(("-r", Some("base.txt")))),
            ("--requirement=base.txt", Some(("--requirement", Some("base.txt")))),
            ("--index-url https://x.example", Some(("--index-url", Some("https://x.example")))),
            ("--no-index", Some(("--no-index", None))),
            ("-", Some(("-", None))),
            ("-é", Some(("-é", None))),
            ("numpy", None),
        ] {
            assert_eq!(option(line), expected, "{line}");
        }
    }
}
