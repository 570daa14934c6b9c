//! A project as a build carries it: what it declares, with its files relative to its sources.

use std::path::{Component, Path, PathBuf};

use crate::{AppName, Diagnostic, Endpoint, Module, PythonVersion, json};

/// The manifest's name in an artifact.
pub const MANIFEST_FILE: &str = "flash_manifest.json";

/// Everything that a build declares. Its text is `flash_manifest.json` (`docs/manifest.md`).
///
/// All paths in it are relative to the build's sources, plain (no `..`, no `.`), and with `/` between their parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The app that it was built as.
    pub app: AppName,
    /// The Python that its requirements were locked for; `None` where any will do.
    pub python_version: Option<PythonVersion>,
    /// Its endpoints, as a [`crate::Project`] has them.
    pub endpoints: Vec<Endpoint>,
}

impl Manifest {
    /// Reads it. Whoever wrote it, what it gives holds to every rule; errs with what is wrong.
    pub fn from_json(text: &[u8]) -> Result<Self, Vec<Diagnostic>> {
        json::read(text)
    }

    /// Its text: the same for the same manifest.
    pub fn to_json(&self) -> String {
        json::write(self)
    }

    /// The files of its functions' modules.
    pub fn modules(&self) -> impl Iterator<Item = &Path> {
        self.endpoints.iter().flat_map(|endpoint| &endpoint.functions).map(|function| function.module.file.as_path())
    }

    /// The endpoints with the paths that they have where the sources are in `folder`.
    pub fn endpoints_in(&self, folder: &Path) -> Vec<Endpoint> {
        let mut endpoints = self.endpoints.clone();
        for endpoint in &mut endpoints {
            endpoint.location.file = folder.join(&endpoint.location.file).into();
            for function in &mut endpoint.functions {
                let Module { file, import_base, import_path, .. } = &mut function.module;
                *file = folder.join(&file);
                for base in import_path.iter_mut().chain([import_base]) {
                    // Joined to nothing, a path would get a slash at its end.
                    *base = if base.as_os_str().is_empty() { folder.to_owned() } else { folder.join(&base) };
                }
                function.location.file = file.as_path().into();
            }
        }
        endpoints
    }
}

/// A path within a build, from text. `None` where it could mean a place outside, or the same place in two ways; and where it has
/// control characters, which no message would show as they are.
pub fn inner_path(text: &str) -> Option<PathBuf> {
    let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.chars().any(|character| character.is_control());
    let path = PathBuf::from(text);
    let normal = path.components().all(|part| matches!(part, Component::Normal(_)));
    (normal && text.split('/').all(plain)).then_some(path)
}

/// A path within a build's sources, as text with `/`. `None` where it is not UTF-8.
pub(crate) fn inner_text(path: &Path) -> Option<String> {
    let parts: Option<Vec<&str>> = path.iter().map(|part| part.to_str()).collect();
    Some(parts?.join("/"))
}
