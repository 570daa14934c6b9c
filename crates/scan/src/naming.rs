//! What each module is called, where a project may be read in more than one way.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flash_manifest::{Diagnostic, Endpoint, Function, Location, Module};

use crate::library::{Found, Library, PythonModule};
use crate::syntax::{Meaning, Origin};

/// Gives each function's module the name by which the project imports it, so that a worker does not load one file under two names;
/// and modules of one name in different folders (all called `main`, say) their path from the root. Errs on files that no import can name.
pub(crate) fn settle(endpoints: &mut [Endpoint], modules: &[Arc<PythonModule>], library: &mut Library, root: &Path) -> Vec<Diagnostic> {
    let imported_as = imports(modules, library);
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

/// A module as it is named from the project's root, whose folders are packages without an `__init__.py`.
fn below_root(module: &Module, root: &Path) -> Option<Module> {
    let path = module.file.strip_prefix(root).ok()?.with_extension("");
    let parts: Vec<String> = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    Some(Module { name: parts.join("."), file: module.file.clone(), import_base: root.to_owned() })
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
