//! Where a project's root is, and what its app is called.

use std::path::{Path, PathBuf};

use flash_manifest::{App, AppName, AppOrigin, Diagnostic, Location};
use serde::Deserialize;
use toml::Spanned;

/// What marks a project's root, besides a version-control folder.
const MARKS: [&str; 3] = ["flash.toml", "pyproject.toml", ".git"];

/// The nearest folder, from `folder` upwards, that has one of the marks; else the folder itself.
pub(crate) fn root_of(folder: &Path) -> PathBuf {
    let marked = |folder: &&Path| MARKS.iter().any(|mark| folder.join(mark).exists());
    folder.ancestors().find(marked).unwrap_or(folder).to_owned()
}

#[derive(Deserialize)]
struct FlashToml {
    app: Option<Spanned<String>>,
}

#[derive(Deserialize)]
struct Pyproject {
    project: Option<Table>,
}

#[derive(Deserialize)]
struct Table {
    name: Option<Spanned<String>>,
}

/// The app's name: from `FLASH_APP`, `flash.toml`, `pyproject.toml`, or the folder.
pub(crate) fn app_of(root: &Path, flash_app: Option<&str>) -> Result<App, Diagnostic> {
    if let Some(given) = flash_app.filter(|given| !given.is_empty()) {
        let name = given.parse().map_err(|mut problem: Diagnostic| {
            problem.remedy = format!("set FLASH_APP to a name such as '{}'", AppName::like(given));
            problem
        })?;
        return Ok(App { name, origin: AppOrigin::Environment });
    }
    let named = |flash: FlashToml| flash.app;
    if let Some(name) = name_in(&root.join("flash.toml"), named)? {
        return Ok(App { name, origin: AppOrigin::FlashToml });
    }
    let named = |pyproject: Pyproject| pyproject.project.and_then(|table| table.name);
    if let Some(name) = name_in(&root.join("pyproject.toml"), named)? {
        return Ok(App { name, origin: AppOrigin::Pyproject });
    }
    let folder = root.file_name().unwrap_or_default().to_string_lossy();
    Ok(App { name: AppName::like(&folder), origin: AppOrigin::Folder })
}

/// The name that a TOML file gives, if the file is there and gives one.
fn name_in<T: for<'de> Deserialize<'de>>(
    file: &Path,
    name: impl FnOnce(T) -> Option<Spanned<String>>,
) -> Result<Option<AppName>, Diagnostic> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let what = format!("`{}` cannot be read: {error}", file.display());
            return Err(Diagnostic::error(what, "it may hold the app's name", "mend the file, or set FLASH_APP"));
        }
    };
    let point = |problem: Diagnostic, at: usize| {
        let before = text.get(..at).unwrap_or_default();
        let line = u32::try_from(before.matches('\n').count() + 1).unwrap_or(u32::MAX);
        let excerpt = text.lines().nth(before.matches('\n').count()).unwrap_or_default().trim();
        problem.at(Location { file: file.into(), line }).showing(excerpt)
    };
    let parsed: T = toml::from_str(&text).map_err(|error| {
        let what = format!("`{}` is not as it should be: {}", file.display(), error.message().replace('\n', ", "));
        let problem = Diagnostic::error(what, "it may hold the app's name", "mend the line, or set FLASH_APP");
        point(problem, error.span().map_or(0, |span| span.start))
    })?;
    let Some(given) = name(parsed) else { return Ok(None) };
    given.get_ref().parse().map(Some).map_err(|problem| point(problem, given.span().start))
}
