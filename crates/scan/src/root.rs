//! Where a project's root is, what is set in it, and what its app is called.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use flash_manifest::{App, AppName, AppOrigin, Diagnostic, FlashToml, Location};
use serde::Deserialize;
use toml::Spanned;

use crate::library::{PythonModule, SDK};
use crate::naming::absolute;
use crate::source::Source;
use crate::value::Package;

/// What marks a project's root, besides a version-control folder.
const MARKS: [&str; 3] = ["flash.toml", "pyproject.toml", ".git"];

/// The nearest folder, from a file's or from `target` itself upwards, that has one of the marks. Where none has, the folder that the imports
/// there begin at, which may be one above; else the folder itself.
pub(crate) fn root_of(target: &Path) -> PathBuf {
    let folder = if target.is_dir() { target } else { target.parent().unwrap_or(target) };
    let found = marked(folder).map(Path::to_owned).or_else(|| imported_from(target, folder));
    found.unwrap_or_else(|| folder.to_owned())
}

/// The folder above that files import `folder` from, by its name: `from app.settings import x` in `app/api.py`.
fn imported_from(target: &Path, folder: &Path) -> Option<PathBuf> {
    let files = if target.is_dir() { python_files(folder) } else { vec![target.to_owned()] };
    files.iter().find_map(|file| {
        let bytes = Source::bytes(file, file).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        if !text.contains(SDK) && !text.contains("remote") {
            return None;
        }
        let source = Source::new(&bytes, file.clone(), file).ok()?;
        let module = PythonModule::parse(source, file).ok()?;
        let own = &module.module.import_base;
        let is_file = |base: &Path, name: &Path| Package::at(&base.join(name)).is_some_and(|package| package.file.is_some());
        module.contents.imports.iter().flat_map(absolute).find_map(|name| {
            let path: PathBuf = name.split('.').collect();
            let above = folder.ancestors().find(|above| above.file_name() == path.iter().next())?.parent()?;
            (path.iter().count() > 1 && is_file(above, &path) && !is_file(own, &path)).then(|| above.to_owned())
        })
    })
}

/// The Python files right in a folder, in order.
fn python_files(folder: &Path) -> Vec<PathBuf> {
    let entries = folder.read_dir().into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|extension| extension == "py")).collect();
    files.sort();
    files
}

/// The nearest folder, from `folder` upwards, that has one of the marks.
pub(crate) fn marked(folder: &Path) -> Option<&Path> {
    folder.ancestors().find(|folder| MARKS.iter().any(|mark| folder.join(mark).exists()))
}

/// `flash.toml` and `pyproject.toml` are no longer than this.
const LONGEST: u64 = 1024 * 1024;

#[derive(Deserialize)]
struct Pyproject {
    project: Option<Table>,
}

#[derive(Deserialize)]
struct Table {
    name: Option<Spanned<String>>,
}

/// What `flash.toml` in the project's root says; nothing where there is none. `spell` gives the file as the user would spell it.
pub(crate) fn settings_of(root: &Path, spell: impl FnOnce(&Path) -> PathBuf) -> Result<FlashToml, Vec<Diagnostic>> {
    let file = root.join("flash.toml");
    let shown = spell(&file);
    match read(&file, &shown, "it holds the project's settings", "mend the file, or take it away").map_err(|problem| vec![problem])? {
        Some(text) => FlashToml::read(&text, &shown),
        None => Ok(FlashToml::default()),
    }
}

/// The app's name: from `FLASH_APP`, `flash.toml`, `pyproject.toml`, or the folder.
pub(crate) fn app_of(root: &Path, flash_app: Option<&str>, settings: &FlashToml) -> Result<App, Diagnostic> {
    if let Some(given) = flash_app.filter(|given| !given.is_empty()) {
        let name = given.parse().map_err(|mut problem: Diagnostic| {
            problem.remedy = format!("set FLASH_APP to a name such as '{}'", AppName::like(given));
            problem
        })?;
        return Ok(App { name, origin: AppOrigin::Environment });
    }
    if let Some(app) = settings.app() {
        return Ok(App { name: app.value.clone(), origin: AppOrigin::FlashToml });
    }
    if let Some(name) = name_in_pyproject(&root.join("pyproject.toml"))? {
        return Ok(App { name, origin: AppOrigin::Pyproject });
    }
    let folder = root.file_name().unwrap_or_default().to_string_lossy();
    Ok(App { name: AppName::like(&folder), origin: AppOrigin::Folder })
}

/// The name that `pyproject.toml` gives, if the file is there and gives one.
fn name_in_pyproject(file: &Path) -> Result<Option<AppName>, Diagnostic> {
    let Some(text) = read(file, file, "it may hold the app's name", "mend the file, or set FLASH_APP")? else { return Ok(None) };
    let point = |problem: Diagnostic, at: usize| {
        let before = text.get(..at).unwrap_or_default();
        let line = u32::try_from(before.matches('\n').count() + 1).unwrap_or(u32::MAX);
        let excerpt = text.lines().nth(before.matches('\n').count()).unwrap_or_default().trim();
        problem.at(Location { file: file.into(), line }).showing(excerpt)
    };
    let parsed: Pyproject = toml::from_str(&text).map_err(|error| {
        let what = format!("`{}` is not as it should be: {}", file.display(), error.message().replace('\n', ", "));
        let problem = Diagnostic::error(what, "it may hold the app's name", "mend the line, or set FLASH_APP");
        point(problem, error.span().map_or(0, |span| span.start))
    })?;
    let Some(given) = parsed.project.and_then(|table| table.name) else { return Ok(None) };
    given.get_ref().parse().map(Some).map_err(|problem| point(problem, given.span().start))
}

/// The text of a file in the root, if it is there.
fn read(file: &Path, shown: &Path, why: &str, remedy: &str) -> Result<Option<String>, Diagnostic> {
    let wrong = |what: &str| Diagnostic::error(format!("`{}` cannot be read: {what}", shown.display()), why, remedy);
    let file = match File::open(file) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(&error.to_string())),
    };
    let mut text = String::new();
    file.take(LONGEST + 1).read_to_string(&mut text).map_err(|error| wrong(&error.to_string()))?;
    if text.len() as u64 > LONGEST {
        return Err(wrong("it has more than 1 MiB"));
    }
    Ok(Some(text))
}
