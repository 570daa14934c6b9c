//! What each module is called, where a project may be read in more than one way.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flash_manifest::{Diagnostic, Endpoint, Function, Location, Module};

use crate::files;
use crate::library::{Found, Library, PythonModule};
use crate::source::Source;
use crate::syntax::{Import, Meaning, Origin};
use crate::value::Package;

/// A project of more folders than these is searched no further for who imports what.
const MOST_FOLDERS: usize = 4096;

/// Tells the library what each module is called: by the name by which the project imports it, so that a worker does not load one file under
/// two names; and where its imports begin.
///
/// A file's own folders say what it is called where they have an `__init__.py`. Where they have none, the file may be a script that finds its
/// neighbours, or a module of packages that begin at the root: what tells is who imports it, and what it imports itself.
pub(crate) fn name(modules: &[Arc<PythonModule>], library: &mut Library, root: &Path) {
    for module in modules {
        if let Some(named) = by_its_own_imports(module, library) {
            library.name(named);
        }
    }
    let mut imported = imports(modules, library);
    for (file, named) in in_bare_folders(modules, library, root) {
        imported.entry(file).or_insert(named);
    }
    imported.into_values().for_each(|module| library.name(module));
    for module in imported_by_others(modules, library, root).into_values() {
        library.name(module);
    }
    let scripts = folders_of_scripts(modules, library);
    for module in modules {
        let own = library.named(module).clone();
        let folder = Some(&module.module.import_base).filter(|folder| scripts.contains(*folder));
        let further = library.roots().into_iter().filter(|root| root.is_dir());
        let mut path = vec![own.import_base.clone()];
        for base in folder.cloned().into_iter().chain(further) {
            if !path.contains(&base) {
                path.push(base);
            }
        }
        if path.len() > 1 {
            library.name(Module { import_path: path, ..own });
        }
    }
}

/// Tells modules of one name in different folders (all called `main`, say) apart, by their path from the root. Errs on files that no import
/// can name.
pub(crate) fn settle(endpoints: &mut [Endpoint], root: &Path) -> Vec<Diagnostic> {
    let mut files: HashMap<String, Vec<PathBuf>> = HashMap::new();
    for function in functions(endpoints) {
        let sharing = files.entry(function.module.name.clone()).or_default();
        if !sharing.contains(&function.module.file) {
            sharing.push(function.module.file.clone());
        }
    }
    let mut errors = Vec::new();
    for function in functions(endpoints) {
        if files.get(&function.module.name).is_some_and(|sharing| sharing.len() > 1)
            && let Some(named) = below_root(&function.module, root)
        {
            let Module { import_base, import_path, .. } = &function.module;
            // It still finds its neighbours, and first.
            let mut path = if import_path.is_empty() { vec![import_base.clone()] } else { import_path.clone() };
            if !path.contains(&named.import_base) {
                path.push(named.import_base.clone());
            }
            function.module = Module { import_path: path, ..named };
        }
        if let Some(problem) = unimportable(&function.module, &function.location)
            && !errors.contains(&problem)
        {
            errors.push(problem);
        }
    }
    errors
}

fn functions(endpoints: &mut [Endpoint]) -> impl Iterator<Item = &mut Function> {
    endpoints.iter_mut().flat_map(|endpoint| &mut endpoint.functions)
}

/// The name of a module that imports another of the folders which it is in itself, from where these begin: `from app.settings import x` in
/// `app/api.py`.
fn by_its_own_imports(module: &PythonModule, library: &mut Library) -> Option<Module> {
    for name in module.contents.imports.iter().flat_map(absolute) {
        let origin = Origin { level: 0, module: name };
        if let Found::Project { package, base: Some(base) } = library.find(module, &origin)
            && base != module.module.import_base
            && package.file.as_ref().is_some_and(|file| *file != module.source.file)
            && let Some(named) = below(&module.module, &base)
            && let (Some((own, _)), Some((other, _))) = (named.name.split_once('.'), origin.module.split_once('.'))
            && own == other
        {
            return Some(named);
        }
    }
    None
}

/// The modules that absolute imports lead to, by their files, as the first import has them.
fn imports(modules: &[Arc<PythonModule>], library: &mut Library) -> HashMap<PathBuf, Module> {
    let mut found = HashMap::new();
    for module in modules {
        for name in module.contents.imports.iter().flat_map(absolute) {
            let origin = Origin { level: 0, module: name };
            if let Found::Project { package, base: Some(import_base) } = library.find(module, &origin)
                && let Some(file) = package.file
            {
                let named = || Module { name: origin.module, file: file.clone(), import_base, import_path: Vec::new() };
                found.entry(file.clone()).or_insert_with(named);
            }
        }
    }
    found
}

/// The names of the modules that an absolute import brings: what is imported from one may be another.
pub(crate) fn absolute(import: &Import) -> Vec<String> {
    let Import { from: Origin { level, module }, names, .. } = import;
    if *level > 0 || module.is_empty() {
        return Vec::new();
    }
    std::iter::once(module.clone()).chain(names.iter().map(|name| format!("{module}.{name}"))).collect()
}

/// Of the modules that nothing has named yet and that stand in folders without an `__init__.py`: those that a further file of the project
/// imports from where these folders begin. Such files, `main.py` say, declare nothing themselves.
fn imported_by_others(modules: &[Arc<PythonModule>], library: &mut Library, root: &Path) -> HashMap<PathBuf, Module> {
    let roots = library.roots();
    let is_loose = |module: &&Arc<PythonModule>| {
        let base = &module.module.import_base;
        !module.contents.decorated.is_empty() && base.starts_with(root) && !roots.contains(base) && !library.is_named(module)
    };
    let loose: Vec<_> = modules.iter().filter(is_loose).cloned().collect();
    let Some(sources) = Some(&loose).filter(|loose| !loose.is_empty()).and_then(|_| files::sources(root, MOST_FOLDERS)) else {
        return HashMap::new();
    };
    let last_parts: HashSet<_> = loose.iter().filter_map(|module| module.module.name.rsplit('.').next()).collect();
    let known: HashSet<_> = modules.iter().map(|module| module.source.file.as_path()).collect();
    let mut others = Vec::new();
    for file in sources.files.iter().filter(|file| !known.contains(file.as_path())) {
        let Ok(text) = Source::bytes(file, file) else { continue };
        let text = String::from_utf8_lossy(&text);
        let mut words = text.split(|character: char| !character.is_alphanumeric() && character != '_');
        if words.any(|word| last_parts.contains(word)) {
            others.extend(library.load(file));
        }
    }
    let mut found = imports(&others, library);
    let named = |module: &Arc<PythonModule>| found.remove(&module.source.file).map(|named| (module.source.file.clone(), named));
    loose.iter().filter_map(named).collect()
}

/// The folders of scripts that import their neighbours by name alone, which nothing but being in one folder explains.
fn folders_of_scripts(modules: &[Arc<PythonModule>], library: &mut Library) -> HashSet<PathBuf> {
    let mut folders = HashSet::new();
    for module in modules {
        let folder = &module.module.import_base;
        let mut of_neighbours = HashSet::new();
        let mut of_packages = HashSet::new();
        for name in module.contents.imports.iter().flat_map(absolute) {
            if let Found::Project { package: Package { file: Some(file), .. }, base: Some(base) } =
                library.find(module, &Origin { level: 0, module: name })
            {
                let seen = if base == *folder { &mut of_neighbours } else { &mut of_packages };
                seen.insert(file);
            }
        }
        // `try: import helper`, `except ImportError: from app import helper` is for both ways; then the package's is.
        if !of_neighbours.is_subset(&of_packages) {
            folders.insert(folder.clone());
        }
    }
    folders
}

/// The files whose relative imports lead further up than their folders are packages by an `__init__.py`, and those that these lead to: as
/// modules of packages without one, from the root.
fn in_bare_folders(modules: &[Arc<PythonModule>], library: &mut Library, root: &Path) -> HashMap<PathBuf, Module> {
    let mut found = HashMap::new();
    for module in modules {
        let Some(named) = below_root(&module.module, root) else { continue };
        for binding in module.contents.bindings.values().chain(module.contents.inner.values()).flatten() {
            let Meaning::ImportFrom { from, name } = &binding.meaning else { continue };
            let level = usize::try_from(from.level).unwrap_or(usize::MAX);
            if level <= packages_above(&module.module) || level > packages_above(&named) {
                continue;
            }
            found.entry(named.file.clone()).or_insert_with(|| named.clone());
            let inner = if from.module.is_empty() { name.clone() } else { format!("{}.{name}", from.module) };
            for module_name in [from.module.clone(), inner] {
                let origin = Origin { level: from.level, module: module_name };
                if let Found::Project { package, .. } = library.find(module, &origin)
                    && let Some(file) = package.file
                    && let Some(named) = below_root(&Module { file, ..named.clone() }, root)
                {
                    found.entry(named.file.clone()).or_insert(named);
                }
            }
        }
    }
    found
}

/// How many packages a module is in.
fn packages_above(module: &Module) -> usize {
    let names = module.name.split('.').count();
    if module.file.file_stem().is_some_and(|stem| stem == "__init__") && module.name != "__init__" { names } else { names - 1 }
}

/// A module as it is named from the project's root, or from `src` in it, whose folders are packages without an `__init__.py`.
fn below_root(module: &Module, root: &Path) -> Option<Module> {
    let sources = root.join("src");
    let base = if module.file.starts_with(&sources) && !sources.join("__init__.py").is_file() { &sources } else { root };
    below(module, base)
}

/// A module as it is named from a folder above it.
fn below(module: &Module, base: &Path) -> Option<Module> {
    let path = module.file.strip_prefix(base).ok()?.with_extension("");
    let mut parts: Vec<String> = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.len() > 1 {
        parts.pop_if(|last| last == "__init__");
    }
    let importable = parts.iter().all(|part| !part.contains('.'));
    importable.then(|| Module { name: parts.join("."), file: module.file.clone(), import_base: base.to_owned(), import_path: Vec::new() })
}

fn unimportable(module: &Module, location: &Location) -> Option<Diagnostic> {
    let stem = module.file.file_stem()?.to_string_lossy();
    let (why, remedy) = if stem.contains('.') {
        ("a dot in a module's name parts a package from what is in it", "rename the file, with `_` for the dot")
    } else if module.name == "__main__" {
        ("`__main__` is the program that runs, in a worker too", "rename the file, or move its functions to another")
    } else {
        return None;
    };
    let what = format!("`{}` cannot be imported", location.file.display());
    Some(Diagnostic::error(what, why, remedy))
}
