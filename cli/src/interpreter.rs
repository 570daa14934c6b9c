//! Which Python runs the functions, and where the worker's package is.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

/// A Python, and why it was chosen.
#[derive(Debug, PartialEq, Eq)]
pub struct Choice {
    /// The executable.
    pub python: PathBuf,
    /// What led to it.
    pub because: Because,
}

/// What led to a Python.
#[derive(Debug, PartialEq, Eq)]
pub enum Because {
    /// `--python`.
    Named,
    /// An activated virtual environment.
    Activated,
    /// A `.venv` in the project's directory or above it.
    Nearest,
    /// It stands beside `flash`.
    Beside,
    /// The first one of `PATH`.
    OnPath,
}

impl fmt::Display for Because {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Named => "--python",
            Self::Activated => "VIRTUAL_ENV",
            Self::Nearest => "the nearest .venv",
            Self::Beside => "beside flash",
            Self::OnPath => "PATH",
        })
    }
}

/// Chooses: what was named, the activated environment, the nearest `.venv` from `directory` upward, the one beside `flash`, the first
/// of `PATH`.
pub fn choose(named: Option<&Path>, activated: Option<OsString>, directory: &Path, flash: Option<&Path>) -> Choice {
    if let Some(python) = named {
        return Choice { python: python.to_owned(), because: Because::Named };
    }
    if let Some(python) = activated.filter(|path| !path.is_empty()).and_then(|path| in_environment(Path::new(&path))) {
        return Choice { python, because: Because::Activated };
    }
    if let Some(python) = directory.ancestors().find_map(|directory| in_environment(&directory.join(".venv"))) {
        return Choice { python, because: Because::Nearest };
    }
    if let Some(python) = flash.and_then(Path::parent).and_then(in_directory) {
        return Choice { python, because: Because::Beside };
    }
    Choice { python: "python3".into(), because: Because::OnPath }
}

fn in_environment(environment: &Path) -> Option<PathBuf> {
    in_directory(&environment.join("bin"))
}

fn in_directory(directory: &Path) -> Option<PathBuf> {
    ["python", "python3"].iter().map(|name| directory.join(name)).find(|python| python.is_file())
}

/// The one that `flash` was installed for, which runs what is deployed.
pub fn own(named: Option<&Path>, flash: Option<&Path>) -> Choice {
    let beside = || flash.and_then(Path::parent).and_then(in_directory);
    match (named, beside()) {
        (Some(python), _) => Choice { python: python.to_owned(), because: Because::Named },
        (None, Some(python)) => Choice { python, because: Because::Beside },
        (None, None) => Choice { python: "python3".into(), because: Because::OnPath },
    }
}

/// The directory of our own `runpod_flash`: installed beside this executable, or in the source tree that it was built in. `None`
/// leaves it to the interpreter to find one.
pub fn package() -> Option<PathBuf> {
    let flash = env::current_exe().ok()?.canonicalize().ok()?;
    let installed = flash.parent()?.parent().and_then(installed_package);
    installed.or_else(|| {
        let candidates = flash.ancestors().map(|directory| directory.join("python/runpod_flash"));
        candidates.into_iter().find(|candidate| is_package(candidate))
    })
}

/// The directory in which the vendor's `runpod-flash` is installed over our `package`, if it is: each overwrites files of the other.
pub fn vendors(package: &Path) -> Option<&Path> {
    let directory = package.parent()?;
    let mut names = directory.read_dir().ok()?.filter_map(Result::ok).map(|entry| entry.file_name());
    let found = names.any(|name| {
        let name = name.to_string_lossy();
        name.starts_with("runpod_flash-") && name.ends_with(".dist-info")
    });
    found.then_some(directory)
}

/// What pip was given to install us in `directory`: a clone, a wheel or a URL (PEP 610); our name alone for what came from an index.
pub fn origin(directory: &Path) -> String {
    let entries = directory.read_dir().into_iter().flatten().filter_map(Result::ok);
    let ours = entries.map(|entry| entry.path()).find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("openflash-") && name.ends_with(".dist-info")
    });
    let recorded = ours.and_then(|path| std::fs::read(path.join("direct_url.json")).ok());
    let recorded: Option<serde_json::Value> = recorded.and_then(|text| serde_json::from_slice(&text).ok());
    let url = recorded.as_ref().and_then(|recorded| recorded["url"].as_str());
    url.map_or_else(|| "openflash".into(), |url| url.strip_prefix("file://").unwrap_or(url).to_owned())
}

fn installed_package(prefix: &Path) -> Option<PathBuf> {
    let versions = prefix.join("lib").read_dir().ok()?.filter_map(Result::ok).map(|entry| entry.path());
    versions
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("python3")))
        .flat_map(|path| ["site-packages", "dist-packages"].map(|packages| path.join(packages).join("runpod_flash")))
        .find(|candidate| is_package(candidate))
}

fn is_package(directory: &Path) -> bool {
    directory.join("_worker/__main__.py").is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(directory: &Path) -> PathBuf {
        let python = directory.join("bin/python");
        std::fs::create_dir_all(python.parent().expect("it has one")).expect("a temporary directory can be written");
        std::fs::write(&python, "").expect("a temporary directory can be written");
        python
    }

    #[test]
    fn what_is_nearer_to_the_user_goes_first() {
        let place = tempfile::tempdir().expect("there is room for a temporary directory");
        let project = place.path().join("project/deep");
        std::fs::create_dir_all(&project).expect("a temporary directory can be written");
        let flash = place.path().join("tools/bin/flash");
        let named = place.path().join("elsewhere/python");
        let activated = place.path().join("activated");
        let choose = |named: Option<&Path>, activated: Option<&Path>| {
            super::choose(named, activated.map(|path| path.as_os_str().to_owned()), &project, Some(&flash))
        };

        assert_eq!(choose(None, None), Choice { python: "python3".into(), because: Because::OnPath });
        let beside = environment(&place.path().join("tools"));
        assert_eq!(choose(None, None), Choice { python: beside, because: Because::Beside });
        let nearest = environment(&place.path().join("project/.venv"));
        assert_eq!(choose(None, None), Choice { python: nearest.clone(), because: Because::Nearest });
        assert_eq!(choose(None, Some(&activated)).because, Because::Nearest, "an environment that is gone is passed over");
        let python = environment(&activated);
        assert_eq!(choose(None, Some(&activated)), Choice { python, because: Because::Activated });
        assert_eq!(choose(Some(&named), Some(&activated)), Choice { python: named.clone(), because: Because::Named });
    }

    #[test]
    fn the_vendors_distribution_is_seen_where_ours_is() {
        let place = tempfile::tempdir().expect("there is room for a temporary directory");
        let package = place.path().join("runpod_flash");
        assert_eq!(vendors(&package), None);
        std::fs::create_dir(place.path().join("runpod_flash-1.19.0.dist-info")).expect("a temporary directory can be written");
        assert_eq!(vendors(&package), Some(place.path()));
    }
}
