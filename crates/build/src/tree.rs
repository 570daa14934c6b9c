//! Which files of a project go into a build.
//!
//! Everything that is not ignored does: code, and the data and templates beside it. Rules of ours leave out tests, built files and the like,
//! but never what the code imports. What the project's own ignore files leave out and the code imports is an error.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use flash_manifest::{Diagnostic, Location, inner_path};

use crate::limits::{DEEPEST, LONGEST_NAME, LONGEST_PATH, Limits, size};
use crate::links::{self, Leads};
use crate::rules::{self, Folder, Rules, Said};
use crate::secrets::is_secret;

/// A file to pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// What it is called below the build's sources, with `/` between its parts.
    pub(crate) name: String,
    /// What it was like when it was found.
    pub(crate) state: State,
}

/// What tells that a file is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) bytes: u64,
    modified: (i64, i64),
    inode: u64,
    pub(crate) executable: bool,
}

impl State {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            inode: metadata.ino(),
            executable: metadata.mode() & 0o100 != 0,
        }
    }
}

/// What is in a project's folder, sorted out.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// The files to pack, by name.
    pub(crate) files: Vec<Source>,
    /// Files that look like secrets, and are left out.
    pub(crate) secrets: Vec<String>,
    pub(crate) warnings: Vec<Diagnostic>,
}

/// Sorts out what is below `root`, which has no links in its path. Names are relative to `base`, the root or a folder above it. `reached` are
/// the files that the code imports; `no_source` is where the artifact goes.
pub(crate) fn tree(
    root: &Path,
    base: &Path,
    reached: &BTreeMap<PathBuf, Option<Location>>,
    exclude: &[String],
    no_source: &[&Path],
    limits: &Limits,
) -> Result<Tree, Vec<Diagnostic>> {
    let mut out = Tree::default();
    let rules = Rules::of_root(root, exclude, &mut out.warnings).map_err(|problem| vec![problem])?;
    let folders = reached.keys().flat_map(|file| file.ancestors().skip(1));
    let mut walk = Walk {
        root,
        base,
        no_source,
        limits,
        folders: folders.map(Path::to_owned).collect(),
        reached,
        found: HashSet::new(),
        ignored: BTreeMap::new(),
        bytes: 0,
        errors: Vec::new(),
        out,
    };
    walk.folder(root, &rules, Mode::All, &mut vec![root.to_owned()]);
    walk.held_against_imports();
    let Walk { mut out, mut errors, .. } = walk;
    errors.extend(too_much(&out.files, limits));
    if !errors.is_empty() {
        return Err(errors);
    }
    out.files.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(out)
}

/// What is taken of a folder.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    All,
    /// What the code imports, and no more.
    Reached,
}

struct Walk<'project> {
    root: &'project Path,
    base: &'project Path,
    no_source: &'project [&'project Path],
    limits: &'project Limits,
    reached: &'project BTreeMap<PathBuf, Option<Location>>,
    /// The folders that have a file in them that the code imports.
    folders: HashSet<PathBuf>,
    /// Those of `reached` that were found.
    found: HashSet<PathBuf>,
    /// What the ignore rules leave out though the code may import it, and by which rule.
    ignored: BTreeMap<PathBuf, String>,
    bytes: u64,
    errors: Vec<Diagnostic>,
    out: Tree,
}

impl Walk<'_> {
    /// `behind` are the folders on the way here, without links: who comes to one of them again goes in a circle.
    fn folder(&mut self, folder: &Path, rules: &Rules, mode: Mode, behind: &mut Vec<PathBuf>) {
        let names =
            fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect::<Result<Vec<OsString>, _>>());
        let mut names = match names {
            Ok(names) => names,
            Err(error) => return self.errors.push(unreadable(&self.shown(folder), &error)),
        };
        names.sort();
        let rules = rules.within(folder, &names, &mut self.out.warnings);
        for name in names {
            // Enough is known when there is too much.
            if self.out.files.len() > self.limits.entries {
                return;
            }
            self.entry(&folder.join(&name), &name.to_string_lossy(), folder == self.root, &rules, mode, behind);
        }
    }

    fn entry(&mut self, path: &Path, name: &str, in_root: bool, rules: &Rules, mode: Mode, behind: &mut Vec<PathBuf>) {
        let shown = self.shown(path);
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => return self.errors.push(unreadable(&shown, &error)),
        };
        let (leads, metadata) = if metadata.is_symlink() {
            match links::follow(path, self.root).map(|leads| (leads, fs::metadata(path).unwrap_or(metadata))) {
                Ok((leads, metadata)) => (Some(leads), metadata),
                Err(error) => return self.errors.push(unreadable(&shown, &error)),
            }
        } else {
            (None, metadata)
        };
        let is_folder = metadata.is_dir();
        let said = rules.say(path, is_folder);
        if let Said::Ignored(rule) = &said {
            self.ignored.insert(path.to_owned(), rule.clone());
            return;
        }
        let mode = if is_folder {
            match rules::folder(path, name, in_root) {
                Folder::Never => return,
                Folder::Searched => mode,
                Folder::Doubtful | Folder::Foreign if said == Said::Kept => mode,
                Folder::Doubtful if self.folders.contains(path) => mode,
                Folder::Doubtful => return,
                Folder::Foreign => Mode::Reached,
            }
        } else {
            mode
        };
        let wanted = self.reached.contains_key(path);
        if mode == Mode::Reached && !(wanted || is_folder && self.folders.contains(path)) {
            return;
        }
        let end = match leads {
            Some(Leads::Outside(end)) => return self.errors.push(links::leads_out(&shown, &end)),
            Some(Leads::Nowhere) => return self.out.warnings.push(links::leads_nowhere(&shown)),
            Some(Leads::Inside(end)) => Some(end),
            None => None,
        };
        if is_folder {
            let real = end
                .unwrap_or_else(|| behind.last().map_or_else(|| path.to_owned(), |last| last.join(path.file_name().unwrap_or_default())));
            if behind.contains(&real) {
                return;
            }
            behind.push(real);
            self.folder(path, rules, mode, behind);
            behind.pop();
            return;
        }
        let is_named_secret = |path: &Path| path.file_name().is_some_and(|name| is_secret(&name.to_string_lossy()));
        if is_secret(name) || end.as_deref().is_some_and(is_named_secret) {
            return self.out.secrets.push(shown);
        }
        if self.no_source.contains(&path) || rules::leaves_out(name, in_root) && !wanted && said != Said::Kept {
            return;
        }
        if !metadata.is_file() {
            let what = format!("`{shown}` is left out");
            let why = "it is neither a file nor a folder, but a pipe, a socket or a device";
            return self.out.warnings.push(Diagnostic::warning(what, why, "name it in .flashignore"));
        }
        self.file(path, shown, &metadata);
    }

    fn file(&mut self, path: &Path, shown: String, metadata: &Metadata) {
        let name = path.strip_prefix(self.base).ok().and_then(Path::to_str).filter(|name| inner_path(name).is_some());
        let Some(name) = name else {
            let what = format!("the name of `{}` cannot be packed", shown.replace(char::is_control, "?"));
            let why = "it is not UTF-8, or has control characters in it";
            return self.errors.push(Diagnostic::error(what, why, "rename the file, or name it in .flashignore"));
        };
        if name.len() > LONGEST_PATH || name.split('/').any(|part| part.len() > LONGEST_NAME) {
            let what = format!("the path of `{shown}` is too long");
            let why = format!("it has {} bytes, more than {LONGEST_PATH}", name.len());
            return self.errors.push(Diagnostic::error(what, why, "put it less deep, or name it in .flashignore"));
        }
        if name.split('/').count() > DEEPEST {
            let what = format!("`{shown}` is too deep");
            let why = format!("it is within more than {} folders", DEEPEST - 1);
            return self.errors.push(Diagnostic::error(what, why, "put it less deep, or name it in .flashignore"));
        }
        let state = State::of(metadata);
        if state.bytes > self.limits.file_bytes {
            let what = format!("`{shown}` is too large to be packed: {}", size(state.bytes));
            let why = format!("a file of a build may have {}", size(self.limits.file_bytes));
            let remedy = format!("have the function fetch it when it is first needed, and leave it out: a line `{shown}` in .flashignore");
            return self.errors.push(Diagnostic::error(what, why, remedy));
        }
        self.bytes += state.bytes;
        self.found.insert(path.to_owned());
        self.out.files.push(Source { path: path.to_owned(), name: name.to_owned(), state });
    }

    /// Everything that the code imports must be there.
    fn held_against_imports(&mut self) {
        for (file, by) in self.reached {
            if self.found.contains(file) {
                continue;
            }
            let shown = self.shown(file);
            let ignored = file.ancestors().find_map(|path| Some((path, self.ignored.get(path)?)));
            let (why, remedy) = match ignored {
                Some((path, rule)) => {
                    let name = self.shown(path);
                    (
                        format!("the pattern {rule} leaves `{name}` out"),
                        format!("take the pattern out, or add a line `!{name}` to .flashignore"),
                    )
                }
                None if !file.starts_with(self.root) => (
                    format!("a build holds what is below the project's root, which is `{}`", self.root.display()),
                    "put an empty flash.toml into the folder above, which makes that the root; or move the file".into(),
                ),
                None => ("it has the name of a file with secrets, or is gone".into(), "rename it".into()),
            };
            let what = if by.is_some() { "is imported, and not in the build" } else { "is to be built, and left out of builds" };
            let problem = Diagnostic::error(format!("`{shown}` {what}"), why, remedy);
            self.errors.push(match by {
                Some(by) => problem.at(by.clone()),
                None => problem,
            });
        }
    }

    fn shown(&self, path: &Path) -> String {
        path.strip_prefix(self.root).unwrap_or(path).to_string_lossy().into_owned()
    }
}

fn unreadable(shown: &str, error: &std::io::Error) -> Diagnostic {
    let what = format!("`{shown}` cannot be read: {error}");
    Diagnostic::error(what, "everything in the project that is not ignored is packed", "mend its permissions, or name it in .flashignore")
}

fn too_much(files: &[Source], limits: &Limits) -> Option<Diagnostic> {
    let remedy = "name what functions do not need in .flashignore";
    if files.len() > limits.entries {
        let what = format!("the project has more than {} files", limits.entries);
        let mut folders: BTreeMap<&str, usize> = BTreeMap::new();
        for file in files {
            *folders.entry(file.name.split_once('/').map_or(".", |(first, _)| first)).or_default() += 1;
        }
        let most = folders.into_iter().max_by_key(|(_, count)| *count);
        let why = most.map_or_else(String::new, |(folder, count)| format!("{count} of them are in `{folder}`"));
        return Some(Diagnostic::error(what, why, remedy));
    }
    let parents = files.iter().flat_map(|file| file.name.match_indices('/').map(|(at, _)| &file.name[..at]));
    let folders: BTreeSet<&str> = parents.collect();
    if folders.len() > limits.entries {
        let what = format!("the project has more than {} folders", limits.entries);
        return Some(Diagnostic::error(what, format!("there are {} with files to be packed", folders.len()), remedy));
    }
    let total: u64 = files.iter().map(|file| file.state.bytes).sum();
    if total > limits.total_bytes {
        let what = format!("the project's files have {}, more than the {} of a build", size(total), size(limits.total_bytes));
        let mut largest: Vec<&Source> = files.iter().collect();
        largest.sort_by_key(|file| std::cmp::Reverse(file.state.bytes));
        let largest: Vec<String> = largest.iter().take(3).map(|file| format!("`{}` ({})", file.name, size(file.state.bytes))).collect();
        return Some(Diagnostic::error(what, format!("the largest are {}", largest.join(", ")), remedy));
    }
    None
}
