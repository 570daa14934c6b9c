//! The files that a project's functions reach by their imports, and what they import from elsewhere.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flash_manifest::{Diagnostic, Location, Project};

use crate::library::{Found, Library, PythonModule, SDK, spell};
use crate::source::Source;
use crate::syntax::{Import, Origin};
use crate::value::Package;

/// What the functions' modules import, and what those do in turn: everything that can be told without running anything.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Reached {
    /// The project's own files, spelled as imports find them, each with the import that led to it; none for the functions' modules themselves.
    pub files: BTreeMap<PathBuf, Option<Location>>,
    /// The first parts of other modules' names that a module cannot be imported without, each with the first import of it.
    pub elsewhere: BTreeMap<String, Location>,
    /// What will surprise.
    pub warnings: Vec<Diagnostic>,
}

/// Follows the imports of a project's functions' modules.
pub(crate) fn reached(project: &Project, library: &mut Library) -> Reached {
    let mut search = Search { out: Reached::default(), waiting: Vec::new(), seen: HashSet::new(), library };
    for endpoint in &project.endpoints {
        // Where the endpoint is declared is imported by the functions' modules, or is one of them.
        for function in &endpoint.functions {
            search.file(&function.module.file, &function.module.import_base, None);
        }
    }
    while let Some(module) = search.waiting.pop() {
        for import in &module.contents.imports {
            search.import(&module, import);
        }
    }
    search.out
}

struct Search<'library> {
    out: Reached,
    waiting: Vec<Arc<PythonModule>>,
    seen: HashSet<PathBuf>,
    library: &'library mut Library,
}

impl Search<'_> {
    /// Adds a file, and those of the packages that it is in, up to the folder that it is imported from.
    fn file(&mut self, file: &Path, base: &Path, by: Option<&Location>) {
        let folders = file.ancestors().skip(1).take_while(|folder| *folder != base && folder.starts_with(base));
        let packages = folders.map(|folder| folder.join("__init__.py")).filter(|init| init.is_file());
        for file in packages.chain([file.to_owned()]) {
            if !self.seen.insert(file.clone()) {
                continue;
            }
            match self.library.load(&file) {
                Some(module) => self.waiting.push(module),
                None => self.out.warnings.extend(self.unreadable(&file, by)),
            }
            // The functions' modules come first, and so keep that nothing led to them.
            self.out.files.entry(file).or_insert_with(|| by.cloned());
        }
    }

    fn import(&mut self, module: &PythonModule, import: &Import) {
        let by = module.source.location(import.at);
        match self.library.find(module, &import.from) {
            Found::Sdk => {}
            Found::Elsewhere => self.foreign(module, import, by),
            Found::Project { package, base } => {
                let base = base.unwrap_or_else(|| self.library.named(module).import_base.clone());
                self.package(&package, &base, &by);
                for name in &import.names {
                    if let Some(module) = package.submodule(name) {
                        self.package(&module, &base, &by);
                    }
                }
            }
        }
    }

    fn package(&mut self, package: &Package, base: &Path, by: &Location) {
        if let Some(file) = &package.file {
            self.file(file, base, Some(by));
        }
    }

    /// An import of what the project does not have.
    fn foreign(&mut self, module: &PythonModule, import: &Import, by: Location) {
        let Origin { level, module: name } = &import.from;
        if *level > 0 {
            if import.essential {
                let dots = ".".repeat(usize::try_from(*level).unwrap_or_default());
                let problem = Diagnostic::warning(
                    format!("`{dots}{name}` is none of the project's files"),
                    "a relative import leads to a file beside the module, and there is none of that name",
                    "mend the import, or add the file",
                );
                self.out.warnings.push(module.source.point(problem, import.at));
            }
            return;
        }
        // `import a.b` where the project has an `a` alone: the package may make `a.b` up when it is imported.
        let first = name.split('.').next().unwrap_or_default();
        match self.library.find(module, &Origin { level: 0, module: first.to_owned() }) {
            Found::Project { package, base: Some(base) } => self.package(&package, &base, &by),
            Found::Project { .. } | Found::Sdk => {}
            Found::Elsewhere if import.essential && !first.is_empty() && first != SDK => {
                self.out.elsewhere.entry(first.to_owned()).or_insert(by);
            }
            Found::Elsewhere => {}
        }
    }

    /// What is wrong with a file that is imported and is no Python.
    fn unreadable(&self, file: &Path, by: Option<&Location>) -> Option<Diagnostic> {
        let shown = spell(file, self.library.spelled());
        let source = Source::bytes(file, &shown).and_then(|bytes| Source::new(&bytes, file.to_owned(), &shown));
        let mut problem = source.and_then(|source| PythonModule::parse(source, file)).err()?;
        problem.severity = flash_manifest::Severity::Warning;
        if let Some(by) = by {
            problem.why = format!("{by} imports it, which will fail");
        }
        Some(problem)
    }
}
