//! The project's modules: read once each, found by the names that imports give.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flash_manifest::{Diagnostic, Module};

use crate::convert::{Contents, Failure, convert};
use crate::source::Source;
use crate::syntax::Origin;
use crate::value::Package;

/// The SDK, as programs import it.
pub(crate) const SDK: &str = "runpod_flash";

/// A file of the project, taken apart.
#[derive(Debug)]
pub(crate) struct PythonModule {
    pub(crate) source: Source,
    pub(crate) contents: Contents,
    /// What Python calls it when its file is run or collected by pytest.
    pub(crate) module: Module,
    /// Where its relative imports begin: its file, or the link to it that is a package's.
    place: PathBuf,
}

impl PythonModule {
    /// Takes a file apart that was found at `place`, which may be a link to it. In a package, Python goes by that; elsewhere by the file.
    pub(crate) fn parse(source: Source, place: &Path) -> Result<Self, Diagnostic> {
        let contents = convert(&source.text).map_err(|failure| {
            let shown = source.shown.display();
            match failure {
                Failure::Syntax { problem, at } => {
                    let what = format!("`{shown}` has a syntax error: {}", lower_first(&problem));
                    let why = "the file is no valid Python, so its functions cannot be found";
                    source.point(Diagnostic::error(what, why, "mend the line"), at)
                }
                Failure::TooDeep { at } => {
                    let why = "brackets, operators or blocks stand within each other more often than Python compiles";
                    source.point(Diagnostic::error(format!("`{shown}` nests too deeply"), why, "make the value in steps"), at)
                }
            }
        })?;
        let in_package = place.parent().is_some_and(|folder| folder.join("__init__.py").is_file());
        let place = if in_package { place } else { &source.file }.to_owned();
        let module = Module { file: source.file.clone(), ..name_of(&place) };
        Ok(Self { source, contents, module, place })
    }
}

fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}

/// The module's name and import base, as Python and pytest find them: packages are the folders above with an `__init__.py`, and the
/// first folder without one is the base.
fn name_of(file: &Path) -> Module {
    let mut base = file.parent().unwrap_or(Path::new("/"));
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let mut parts = if stem == "__init__" { Vec::new() } else { vec![stem.into_owned()] };
    while base.join("__init__.py").is_file() {
        let (Some(name), Some(parent)) = (base.file_name(), base.parent()) else { break };
        parts.insert(0, name.to_string_lossy().into_owned());
        base = parent;
    }
    if parts.is_empty() {
        parts.push("__init__".into());
    }
    Module { name: parts.join("."), file: file.to_owned(), import_base: base.to_owned(), import_path: Vec::new() }
}

/// Where an import leads.
#[derive(Debug, PartialEq)]
pub(crate) enum Found {
    /// To the SDK.
    Sdk,
    /// To the project itself, which has it under this name below this import base (no base for a relative import).
    Project { package: Package, base: Option<PathBuf> },
    /// Somewhere else.
    Elsewhere,
}

/// All modules of the project that were asked for so far.
#[derive(Debug)]
pub(crate) struct Library {
    root: PathBuf,
    /// The folder that messages spell paths from, and how they spell it.
    spelled: (PathBuf, PathBuf),
    modules: HashMap<PathBuf, Option<Arc<PythonModule>>>,
    /// The modules that the project imports by another name than their files and folders give them, by their files.
    named: HashMap<PathBuf, Module>,
    /// The folder that each file's first import began at.
    imported_from: HashMap<PathBuf, PathBuf>,
    /// What was found at each path that an import could mean.
    packages: HashMap<PathBuf, Option<Package>>,
}

impl Library {
    pub(crate) fn new(root: PathBuf, spelled: (PathBuf, PathBuf), modules: Vec<Arc<PythonModule>>) -> Self {
        let modules = modules.into_iter().map(|module| (module.source.file.clone(), Some(module))).collect();
        Self { root, spelled, modules, named: HashMap::new(), imported_from: HashMap::new(), packages: HashMap::new() }
    }

    /// Says what a module is called.
    pub(crate) fn name(&mut self, module: Module) {
        self.named.insert(module.file.clone(), module);
    }

    /// Whether a module was said to be called something.
    pub(crate) fn is_named(&self, module: &PythonModule) -> bool {
        self.named.contains_key(&module.source.file)
    }

    /// What a module is called, and where its imports begin.
    pub(crate) fn named<'all>(&'all self, module: &'all PythonModule) -> &'all Module {
        self.named.get(&module.source.file).unwrap_or(&module.module)
    }

    /// The folder of the project that its imports begin at, and the one for sources in it.
    pub(crate) fn roots(&self) -> [PathBuf; 2] {
        [self.root.clone(), self.root.join("src")]
    }

    /// The folder that messages spell paths from, and how they spell it.
    pub(crate) fn spelled(&self) -> &(PathBuf, PathBuf) {
        &self.spelled
    }

    /// The module of a file; none where it cannot be read or is no Python: whoever imports it says so.
    pub(crate) fn load(&mut self, file: &Path) -> Option<Arc<PythonModule>> {
        if let Some(known) = self.modules.get(file) {
            return known.clone();
        }
        let shown = spell(file, &self.spelled);
        let real = file.canonicalize().unwrap_or_else(|_| file.to_owned());
        let module = self.modules.get(&real).cloned().unwrap_or_else(|| {
            let bytes = Source::bytes(file, &shown);
            let source = bytes.and_then(|bytes| Source::new(&bytes, real, &shown));
            source.and_then(|source| PythonModule::parse(source, file)).ok().map(Arc::new)
        });
        self.modules.insert(file.to_owned(), module.clone());
        module
    }

    /// Where an import in `module` leads.
    pub(crate) fn find(&mut self, module: &PythonModule, origin: &Origin) -> Found {
        let name: PathBuf = origin.module.split('.').collect();
        if origin.level > 0 {
            let levels = usize::try_from(origin.level).unwrap_or(usize::MAX);
            let folder = module.place.ancestors().nth(levels);
            let package = folder.and_then(|folder| self.below(folder, &name));
            return package.map_or(Found::Elsewhere, |package| Found::Project { package, base: None });
        }
        if name.starts_with(SDK) {
            return Found::Sdk;
        }
        let mut folder = None;
        for base in self.bases(module) {
            let Some(package) = self.below(&base, &name) else { continue };
            if let Some(file) = &package.file {
                self.imported_from.entry(file.clone()).or_insert_with(|| base.clone());
                return Found::Project { package, base: Some(base) };
            }
            // A folder without an `__init__.py` is taken where nothing else has the name, as Python does it.
            folder.get_or_insert(Found::Project { package, base: Some(base) });
        }
        folder.unwrap_or(Found::Elsewhere)
    }

    /// The folders that a module's absolute imports are looked for in: the workers' import path, as far as it is the project's.
    fn bases(&self, module: &PythonModule) -> Vec<PathBuf> {
        let file = &module.source.file;
        let first = match self.named.get(file) {
            Some(named) => named.import_path().to_vec(),
            None => vec![self.imported_from.get(file).unwrap_or(&module.module.import_base).clone()],
        };
        let [root, sources] = self.roots();
        first.into_iter().chain([root, sources, module.module.import_base.clone()]).collect()
    }

    fn below(&mut self, folder: &Path, name: &Path) -> Option<Package> {
        let path = folder.join(name);
        let known = self.packages.entry(path);
        known.or_insert_with_key(|path| Package::at(path)).clone()
    }
}

/// How messages spell a file.
pub(crate) fn spell(file: &Path, (folder, spelling): &(PathBuf, PathBuf)) -> PathBuf {
    file.strip_prefix(folder).map_or_else(|_| file.to_owned(), |rest| spelling.join(rest))
}

/// The file that a message spells so.
pub(crate) fn unspell(shown: &Path, (folder, spelling): &(PathBuf, PathBuf)) -> PathBuf {
    shown.strip_prefix(spelling).map_or_else(|_| shown.to_owned(), |rest| folder.join(rest))
}

impl Package {
    /// The module or folder of modules at a path without an ending.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        let init = path.join("__init__.py");
        if init.is_file() {
            return Some(Self { file: Some(init), folder: Some(path.to_owned()) });
        }
        let file = path.with_extension("py");
        if path.file_name().is_some() && file.is_file() {
            return Some(Self { file: Some(file), folder: None });
        }
        path.is_dir().then(|| Self { file: None, folder: Some(path.to_owned()) })
    }

    /// A module within the folder.
    pub(crate) fn submodule(&self, name: &str) -> Option<Self> {
        Self::at(&self.folder.as_ref()?.join(name))
    }
}
