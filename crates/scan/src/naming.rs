//! What each module is called, where a project may be read in more than one way.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flash_manifest::{Diagnostic, Endpoint, Function, Location, Module};

use crate::library::{Found, Library, PythonModule};
use crate::syntax::{Meaning, Origin};

/// Gives each function's module the name by which the project imports it, so that a worker does not load one file under two names;
/// and modules of one name in different folders (all called `main`, say), or whose folders are packages without saying so, their path
/// from the root. Errs on files that no import can name.
pub(crate) fn settle(endpoints: &mut [Endpoint], modules: &[Arc<PythonModule>], library: &mut Library, root: &Path) -> Vec<Diagnostic> {
    let mut imported_as = imports(modules, library);
    for (file, name) in in_bare_folders(modules, library, root) {
        imported_as.entry(file).or_insert(name);
    }
    for function in functions(endpoints) {
        if let Some((name, base)) = imported_as.get(&function.module.file) {
            function.module.name.clone_from(name);
            function.module.import_base.clone_from(base);
        }
    }
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
            && let Some(module) = below_root(&function.module, root)
        {
            function.module = module;
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

/// The files that absolute imports lead to, with the name and the base of the first.
fn imports(modules: &[Arc<PythonModule>], library: &mut Library) -> HashMap<PathBuf, (String, PathBuf)> {
    let mut found = HashMap::new();
    for module in modules {
        let mut bindings: Vec<_> = module.contents.bindings.values().chain(module.contents.inner.values()).flatten().collect();
        bindings.sort_by_key(|binding| binding.at);
        for binding in bindings {
            let names = match &binding.meaning {
                Meaning::Import { module, .. } => vec![module.clone()],
                // What is imported may be a module itself.
                Meaning::ImportFrom { from, name } if from.level == 0 => vec![from.module.clone(), format!("{}.{name}", from.module)],
                Meaning::ImportFrom { .. } | Meaning::Value(_) | Meaning::Definition | Meaning::Changed => continue,
            };
            for name in names {
                let origin = Origin { level: 0, module: name };
                if let Found::Project { package, base: Some(base) } = library.find(module, &origin)
                    && let Some(file) = package.file
                {
                    found.entry(file).or_insert((origin.module, base));
                }
            }
        }
    }
    found
}

/// The files whose relative imports lead further up than their folders are packages by an `__init__.py`, and those that these lead to: as
/// modules of packages without one, from the root.
fn in_bare_folders(modules: &[Arc<PythonModule>], library: &mut Library, root: &Path) -> HashMap<PathBuf, (String, PathBuf)> {
    let mut found = HashMap::new();
    for module in modules {
        let Some(named) = below_root(&module.module, root) else { continue };
        for binding in module.contents.bindings.values().chain(module.contents.inner.values()).flatten() {
            let Meaning::ImportFrom { from, name } = &binding.meaning else { continue };
            let level = usize::try_from(from.level).unwrap_or(usize::MAX);
            if level <= packages_above(&module.module) || level > packages_above(&named) {
                continue;
            }
            found.entry(named.file.clone()).or_insert_with(|| (named.name.clone(), named.import_base.clone()));
            let inner = if from.module.is_empty() { name.clone() } else { format!("{}.{name}", from.module) };
            for module_name in [from.module.clone(), inner] {
                let origin = Origin { level: from.level, module: module_name };
                if let Found::Project { package, .. } = library.find(module, &origin)
                    && let Some(file) = package.file
                    && let Some(named) = below_root(&Module { file, ..named.clone() }, root)
                {
                    found.entry(named.file).or_insert((named.name, named.import_base));
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
    let path = module.file.strip_prefix(base).ok()?.with_extension("");
    let mut parts: Vec<String> = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.len() > 1 {
        parts.pop_if(|last| last == "__init__");
    }
    let importable = parts.iter().all(|part| !part.contains('.'));
    importable.then(|| Module { name: parts.join("."), file: module.file.clone(), import_base: base.to_owned() })
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
