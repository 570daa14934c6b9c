//! What is left out of a build: by the project's own ignore files and `--exclude`, and by rules of ours.

use std::path::{Path, PathBuf};

use flash_manifest::Diagnostic;
use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// A project's ignore files: git's, and one for builds alone.
const GIT: &str = ".gitignore";
const FLASH: &str = ".flashignore";

/// What the ignore rules of a project say about a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// Nothing.
    Nothing,
    /// To leave it out, and which rule says so.
    Ignored(String),
    /// To keep it (`!pattern`), whatever our own rules are.
    Kept,
}

/// The ignore rules that hold in a folder: its own, and those of the folders above.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    root: PathBuf,
    exclude: Gitignore,
    /// The outermost first.
    flash: Vec<Gitignore>,
    git: Vec<Gitignore>,
}

impl Rules {
    /// Those of a project's root. Above it, git's hold as far up as the repository goes.
    pub(crate) fn of_root(root: &Path, exclude: &[String], warnings: &mut Vec<Diagnostic>) -> Result<Self, Diagnostic> {
        let mut builder = GitignoreBuilder::new(root);
        for pattern in exclude {
            builder.add_line(None, pattern).map_err(|error| {
                let why = format!("it is not as patterns are in .gitignore: {error}");
                Diagnostic::error(format!("`--exclude {pattern}` is no pattern"), why, "a pattern such as '*.csv' or 'data/'")
            })?;
        }
        let exclude = builder.build().map_err(|error| {
            Diagnostic::error("the patterns of --exclude cannot be used", error.to_string(), "fewer or shorter patterns")
        })?;
        let mut rules = Self { root: root.to_owned(), exclude, flash: Vec::new(), git: Vec::new() };
        let repository = root.ancestors().position(|folder| folder.join(".git").exists());
        let above: Vec<&Path> = root.ancestors().skip(1).take(repository.unwrap_or(0)).collect();
        for folder in above.into_iter().rev().filter(|folder| folder.join(GIT).is_file()) {
            rules.git.push(rules.read(folder, GIT, warnings));
        }
        Ok(rules)
    }

    /// Those of a folder below, which has these files.
    pub(crate) fn within(&self, folder: &Path, names: &[std::ffi::OsString], warnings: &mut Vec<Diagnostic>) -> Self {
        let mut rules = self.clone();
        if names.iter().any(|name| name == GIT) {
            rules.git.push(rules.read(folder, GIT, warnings));
        }
        if names.iter().any(|name| name == FLASH) {
            rules.flash.push(rules.read(folder, FLASH, warnings));
        }
        rules
    }

    fn read(&self, folder: &Path, name: &str, warnings: &mut Vec<Diagnostic>) -> Gitignore {
        let (rules, error) = Gitignore::new(folder.join(name));
        if let Some(error) = error {
            let shown = folder.strip_prefix(&self.root).unwrap_or(folder).join(name);
            let what = format!("a part of `{}` is not understood: {error}", shown.display());
            warnings.push(Diagnostic::warning(what, "what it says is not left out", "mend the line"));
        }
        rules
    }

    /// What the rules say about a path: `--exclude` first, then `.flashignore`, then `.gitignore`; of each kind, the nearest.
    pub(crate) fn say(&self, path: &Path, is_folder: bool) -> Said {
        let all = std::iter::once(&self.exclude).chain(self.flash.iter().rev()).chain(self.git.iter().rev());
        for rules in all {
            match rules.matched(path, is_folder) {
                Match::None => {}
                Match::Whitelist(_) => return Said::Kept,
                Match::Ignore(glob) => {
                    let file = glob.from().map(|file| file.strip_prefix(&self.root).unwrap_or(file).display().to_string());
                    return Said::Ignored(format!("`{}` in {}", glob.original(), file.as_deref().unwrap_or("--exclude")));
                }
            }
        }
        Said::Nothing
    }
}

/// What our own rules do with a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Folder {
    /// It is searched.
    Searched,
    /// It is left out, unless the code imports something in it: then it is the project's own after all.
    Doubtful,
    /// It is left out, but for the files in it that the code imports.
    Foreign,
    /// It is left out, whatever is said of it.
    Never,
}

/// What our own rules do with a folder of this name.
pub(crate) fn folder(path: &Path, name: &str, in_root: bool) -> Folder {
    match name {
        ".git" | ".flash" | "__pycache__" => Folder::Never,
        _ if flash_scan::is_home(path) => Folder::Never,
        "tests" | "node_modules" | "site-packages" => Folder::Foreign,
        "build" | "dist" | "docs" if in_root => Folder::Doubtful,
        _ if name.ends_with(".egg-info") || path.join("pyvenv.cfg").exists() => Folder::Foreign,
        _ if name.starts_with('.') => Folder::Foreign,
        _ => Folder::Searched,
    }
}

/// Whether our own rules leave a file out, unless the code imports it.
pub(crate) fn leaves_out(name: &str, in_root: bool) -> bool {
    let is_test = name == "conftest.py" || name.starts_with("test_") && name.ends_with(".py") || name.ends_with("_test.py");
    // What is set for endpoints beside the code is no part of a build.
    is_test || name.starts_with('.') || name.ends_with(".pyc") || name.ends_with(".pyo") || in_root && name == "flash.toml"
}
