//! Finds what a Python project declares, by reading its source: files in, `flash_manifest::Project` out.
//! `flash run` and `flash build` call it.
//! It never imports or runs the project's code, and knows nothing of interpreters, workers or HTTP.

mod convert;
mod declare;
mod dynamic;
mod exports;
mod files;
mod library;
mod naming;
mod nesting;
mod options;
mod reached;
mod refusals;
mod resolve;
mod resource;
mod root;
mod source;
mod syntax;
mod value;
mod yielding;

use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use flash_manifest::{App, Diagnostic, Endpoint, FlashToml, Location, Module, Project, Severity};

pub use crate::files::{Sources, is_home, sources};
pub use crate::reached::Reached;

use crate::declare::Declarations;
use crate::library::{Library, PythonModule, SDK, spell, unspell};
use crate::resolve::Resolver;
use crate::source::Source;

/// Reads a project: `target` is a file, or a folder with everything below it. `flash_app` is the value of `FLASH_APP`.
///
/// Of a folder, tests, hidden and ignored files and virtual environments are left out; a file that is named is read whatever it is. Paths
/// in the project are absolute, and messages spell them as `target` does. Errs with everything that is wrong, and then what is warned of.
pub fn scan(target: &Path, flash_app: Option<&str>) -> Result<Project, Vec<Diagnostic>> {
    examine(target, flash_app, &[]).map(|(project, _)| project)
}

/// A project, and the files that its functions reach.
#[derive(Debug)]
#[non_exhaustive]
pub struct Survey {
    /// The project.
    pub project: Project,
    /// What its functions' modules import.
    pub reached: Reached,
    spelled: (PathBuf, PathBuf),
}

impl Survey {
    /// A file of the project, spelled as the target was.
    pub fn shown(&self, file: &Path) -> PathBuf {
        spell(file, &self.spelled)
    }

    /// The file of a place in the project, which is spelled there as the target was.
    pub fn file(&self, location: &Location) -> PathBuf {
        unspell(&location.file, &self.spelled)
    }
}

/// Reads a project as [`scan`] does, and follows the imports of its functions' modules. `exclude` has patterns of files to leave out, as
/// `.gitignore` has them, from the project's root.
pub fn survey(target: &Path, flash_app: Option<&str>, exclude: &[String]) -> Result<Survey, Vec<Diagnostic>> {
    let (project, mut library) = examine(target, flash_app, exclude)?;
    let reached = reached::reached(&project, &mut library);
    let spelled = library.spelled().clone();
    Ok(Survey { project, reached, spelled })
}

/// What these modules of a project declare: for holding it against what somebody says of them. `root` is where the project's imports begin.
/// Errs with everything that is wrong.
pub fn declared(root: &Path, named: &[Module]) -> Result<Vec<Endpoint>, Vec<Diagnostic>> {
    let spelled = (root.to_owned(), PathBuf::new());
    let files = named.iter().map(|module| module.file.clone()).collect();
    let (modules, mut errors) = parse(files, &spelled, Asked::File);
    let mut library = Library::new(root.to_owned(), spelled, modules.clone());
    named.iter().for_each(|module| library.name(module.clone()));
    let mut declarations = Declarations::new(Resolver::new(library));
    for module in &modules {
        declarations.read(module);
    }
    let endpoints = declarations.endpoints(&modules);
    errors.append(&mut declarations.errors);
    if errors.is_empty() { Ok(endpoints) } else { Err(errors) }
}

fn examine(target: &Path, flash_app: Option<&str>, exclude: &[String]) -> Result<(Project, Library), Vec<Diagnostic>> {
    let absolute = target.canonicalize().map_err(|error| vec![missing(target, &error)])?;
    let asked = if absolute.is_dir() { Asked::Folder } else { Asked::File };
    let (folder, spelling) = match asked {
        Asked::File => (parent(&absolute), parent(target)),
        Asked::Folder => (absolute.clone(), target.components().filter(|part| *part != Component::CurDir).collect()),
    };
    let spelled = (folder.clone(), spelling);
    let root = root::root_of(&absolute);
    let excluded = files::excluding(&root, exclude).map_err(|problem| vec![problem])?;
    let (files, mut warnings) = match asked {
        Asked::File if absolute.extension().is_none_or(|extension| extension != "py") => return Err(vec![not_python(target)]),
        Asked::File => (vec![absolute.clone()], Vec::new()),
        Asked::Folder => files::below(&absolute, excluded),
    };

    let searched = files.len();
    let (modules, problems) = parse(files, &spelled, asked);
    let (mut errors, unread): (Vec<_>, Vec<_>) = problems.into_iter().partition(|problem| problem.severity == Severity::Error);
    warnings.extend(unread);
    let settings = root::settings_of(&root, |file| spell(file, &spelled)).map_err(|mut problems| errors.append(&mut problems));
    let app = settings.and_then(|settings| match root::app_of(&root, flash_app, &settings) {
        Ok(app) => Ok((app, settings)),
        Err(problem) => {
            errors.push(problem);
            Err(())
        }
    });

    let mut library = Library::new(root.clone(), spelled, modules.clone());
    naming::name(&modules, &mut library, &root);
    let mut declarations = Declarations::new(Resolver::new(library));
    for module in &modules {
        declarations.read(module);
    }
    let mut endpoints = declarations.endpoints(&modules);
    errors.append(&mut declarations.errors);
    warnings.append(&mut declarations.warnings);
    errors.extend(naming::settle(&mut endpoints, &root));
    if endpoints.is_empty() && errors.is_empty() {
        warnings.insert(0, nothing_found(target, asked, searched, declarations.decorated));
        return Err(warnings);
    }
    // What is set for an endpoint of another file is no mistake, unless all files were searched.
    if let Ok((_, settings)) = &app
        && absolute == root
        && exclude.is_empty()
        && errors.is_empty()
    {
        errors.extend(settings.strangers(endpoints.iter()));
    }
    if let Ok((_, settings)) = &app {
        errors.extend(settings.misfits(endpoints.iter()));
    }
    // What is wrong between declarations is told with what is wrong within them.
    errors.extend(Project::conflicts(&endpoints));
    match app {
        Ok((app, settings)) if errors.is_empty() => {
            let project = Project::new(root, app, endpoints, warnings)?.with_settings(settings);
            Ok((project, declarations.resolver.library))
        }
        _ => {
            errors.append(&mut warnings);
            Err(errors)
        }
    }
}

/// The root of the project that a file or folder belongs to, as [`scan`] finds it; `None` when it is not there.
pub fn root(target: &Path) -> Option<PathBuf> {
    let absolute = target.canonicalize().ok()?;
    Some(root::root_of(&absolute))
}

/// The root of the project that a file or folder belongs to; `None` where nothing marks one, or when it is not there.
pub fn project(target: &Path) -> Option<PathBuf> {
    let absolute = target.canonicalize().ok()?;
    let folder = if absolute.is_dir() { absolute } else { parent(&absolute) };
    root::marked(&folder).map(Path::to_owned)
}

/// What the app is called of the project that a file or folder belongs to, as [`scan`] finds it.
///
/// # Errors
/// When a name that was given cannot be an app's, or a file that may hold one cannot be read.
pub fn app(target: &Path, flash_app: Option<&str>) -> Result<App, Vec<Diagnostic>> {
    let (root, settings) = settings(target)?;
    root::app_of(&root, flash_app, &settings).map_err(|problem| vec![problem])
}

/// The root of the project that a file or folder belongs to, and what `flash.toml` there says.
///
/// # Errors
/// When there is no such file or folder, or with everything that is wrong with `flash.toml`.
pub fn settings(target: &Path) -> Result<(PathBuf, FlashToml), Vec<Diagnostic>> {
    let absolute = target.canonicalize().map_err(|error| vec![missing(target, &error)])?;
    let root = root::root_of(&absolute);
    let (folder, spelling) = if absolute.is_dir() { (absolute, target.to_owned()) } else { (parent(&absolute), parent(target)) };
    let spelling = spelling.components().filter(|part| *part != Component::CurDir).collect();
    let settings = root::settings_of(&root, |file| spell(file, &(folder, spelling)))?;
    Ok((root, settings))
}

/// What `scan` was pointed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// One file: whatever it is, what is wrong with it is an error.
    File,
    /// Everything below a folder: files that have nothing to do with us do not matter.
    Folder,
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).to_owned()
}

/// Reads and parses files, on as many threads as there are processors; the order of the files is kept.
fn parse(files: Vec<PathBuf>, spelled: &(PathBuf, PathBuf), asked: Asked) -> (Vec<Arc<PythonModule>>, Vec<Diagnostic>) {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let index = next.fetch_add(1, Ordering::Relaxed)
            && let Some(file) = files.get(index)
        {
            done.push((index, parse_one(file, spelled, asked)));
        }
        done
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(files.len());
    let mut done: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let own = work();
        workers.into_iter().flat_map(|worker| worker.join().expect("reading a file does not panic")).chain(own).collect()
    });
    done.sort_by_key(|(index, _)| *index);
    let (mut modules, mut problems) = (Vec::new(), Vec::new());
    let mut seen = HashSet::new();
    for (_, outcome) in done {
        match outcome {
            // A link leads to a file that was found already.
            Ok(Some(module)) if !seen.insert(module.source.file.clone()) => {}
            Ok(module) => modules.extend(module.map(Arc::new)),
            Err(problem) => problems.push(problem),
        }
    }
    (modules, problems)
}

/// Reads and parses a file. Of a folder's, those are passed over that do not mention what it takes to declare something.
fn parse_one(file: &Path, spelled: &(PathBuf, PathBuf), asked: Asked) -> Result<Option<PythonModule>, Diagnostic> {
    let shown = spell(file, spelled);
    let bytes = Source::bytes(file, &shown).map_err(|problem| match asked {
        Asked::File => problem,
        Asked::Folder => Diagnostic { severity: Severity::Warning, ..problem },
    })?;
    let text = String::from_utf8_lossy(&bytes);
    let ours = text.contains(SDK);
    // `remote` may come by way of a module of the project that imports it from the SDK.
    if asked == Asked::Folder && !ours && !text.contains("remote") {
        return Ok(None);
    }
    let real = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let readable = real.to_str().is_some();
    // A link to another file of the project is that file, which is found by itself.
    let place = if real.starts_with(&spelled.0) { real.clone() } else { file.to_owned() };
    match Source::new(&bytes, real, &shown).and_then(|source| PythonModule::parse(source, &place)) {
        Ok(_) if !readable => Err(Diagnostic::error(
            format!("the path of `{}` is not UTF-8", shown.display()),
            "workers, and whoever reads what they say, are told of files by their names",
            "rename the file, or the folder that it is in",
        )),
        Ok(module) => Ok(Some(module)),
        // It may be for another Python, or a template.
        Err(_) if asked == Asked::Folder && !ours => Ok(None),
        Err(problem) => Err(problem),
    }
}

fn not_python(target: &Path) -> Diagnostic {
    Diagnostic::error(
        format!("`{}` is no Python file", target.display()),
        "functions are imported from files whose names end in `.py`",
        "name such a file, or a folder",
    )
}

fn missing(target: &Path, error: &std::io::Error) -> Diagnostic {
    let shown = target.display();
    if error.kind() != std::io::ErrorKind::NotFound {
        return Diagnostic::error(
            format!("`{shown}` cannot be read: {error}"),
            "it is what to search for endpoints",
            "mend its permissions",
        );
    }
    let there = target.ancestors().skip(1).find(|folder| folder.is_dir());
    let remedy = match there.filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => format!("`{}` is there: name a file or folder in it", folder.display()),
        None => "name a file or folder that is there; without one, the current folder is searched".into(),
    };
    Diagnostic::error(format!("`{shown}` does not exist"), "it is what to search for endpoints", remedy)
}

fn nothing_found(target: &Path, asked: Asked, searched: usize, decorated: usize) -> Diagnostic {
    let shown = target.display();
    let place = match searched {
        _ if asked == Asked::File => format!("`{shown}` was searched"),
        0 => format!("`{shown}` has no Python files outside of tests, hidden and ignored folders"),
        1 => format!("one file in `{shown}` was searched; tests, hidden and ignored files were not"),
        _ => format!("{searched} files in `{shown}` were searched; tests, hidden and ignored files were not"),
    };
    let found = if decorated == 0 { "and there are none" } else { "and those there cannot be served" };
    Diagnostic::error(
        format!("no endpoints in `{shown}`"),
        format!("endpoints are found by functions decorated with @remote of runpod_flash, {found}: {place}"),
        "api = LiveLoadBalancer(name=\"my-api\"), and @remote(api, method=\"POST\", path=\"/hello\") above a function",
    )
}
