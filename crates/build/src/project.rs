//! From a project to an artifact: the steps, in order.

use std::fs;
use std::path::{Path, PathBuf};

use flash_manifest::{Diagnostic, Endpoint, Location, Manifest, PythonVersion};
use flash_scan::Survey;

use crate::foreign;
use crate::lock::{self, For};
use crate::output::{Output, unwritable};
use crate::pack::pack;
use crate::requirements;
use crate::tree::tree;
use crate::{Artifact, Request};

/// What builds leave in a project's root. Nothing of it is packed.
pub const DIRECTORY: &str = ".flash";

/// Reads a project, checks every rule on it, and packs it. Never imports or runs any of its code. Errs with everything that is wrong; what
/// was built before is there then.
pub fn build(request: &Request<'_>) -> Result<Artifact, Vec<Diagnostic>> {
    let survey = flash_scan::survey(request.target, request.flash_app, request.exclude)?;
    let root = &survey.project.root;
    let base = base(&survey);
    let directory = directory(root)?;
    let output = match request.output {
        Some(output) => std::path::absolute(output).map_err(|error| vec![unwritable(output, &error)])?,
        None => directory.join("artifact.tar.gz"),
    };
    let place = Output::at(&output).map_err(|problem| vec![problem])?;
    let no_source: Vec<&Path> = place.file().into_iter().chain([&*output]).collect();
    let tree = tree(root, &base, &survey.reached.files, request.exclude, &no_source, &request.limits)?;
    let version = python_version(request.python_version, &survey.project.endpoints)?;
    let required = requirements::of(&survey)?;
    let lock = For { root, directory: &directory, version, python: request.python, upgrade: request.upgrade, progress: request.progress };
    let lock = lock::lock(&required, &lock).map_err(|problem| vec![problem])?;
    let manifest = Manifest {
        app: survey.project.app.name.clone(),
        python_version: version.or(lock.as_ref().map(|lock| lock.python)),
        endpoints: relative(&survey, &base).map_err(|problem| vec![problem])?,
    };
    let packed = place
        .write(|file| pack(file, &manifest.to_json(), lock.as_ref().map(|lock| &*lock.text), &tree.files))
        .map_err(|problem| vec![problem])?;
    let mut warnings = survey.project.warnings;
    warnings.extend(survey.reached.warnings);
    warnings.extend(tree.warnings);
    warnings.extend(foreign::unmet(&survey.reached.elsewhere, lock.as_ref(), manifest.python_version, request.python));
    if lock.is_some() {
        warnings.extend(lock::left_behind(&required));
    }
    warnings.extend(required.warnings);
    warnings.extend(secrets_left_out(&tree.secrets));
    let files = tree.files.into_iter().map(|source| source.name).collect();
    Ok(Artifact { path: output, digest: packed.digest, bytes: packed.bytes, manifest, files, lock, warnings })
}

/// The Python that the functions are for: there is one for all of them, as one lock is.
fn python_version(asked: Option<PythonVersion>, endpoints: &[Endpoint]) -> Result<Option<PythonVersion>, Vec<Diagnostic>> {
    let mut version = asked.map(|version| (version, "--python-version".to_owned()));
    for endpoint in endpoints {
        let Some(own) = endpoint.python else { continue };
        match &version {
            Some((other, of)) if *other != own => {
                let what = format!("endpoint '{}' is for Python {own}, and {of} for {other}", endpoint.name);
                let why = "the requirements of a build are locked once, for one version";
                return Err(vec![Diagnostic::error(what, why, "ask for one version").at(endpoint.location.clone())]);
            }
            Some(_) => {}
            None => version = Some((own, format!("endpoint '{}'", endpoint.name))),
        }
    }
    Ok(version.map(|(version, _)| version))
}

/// The folder that the build's paths are relative to: the root, or where the root is a package itself, the folder that it is imported from.
fn base(survey: &Survey) -> PathBuf {
    let root = &survey.project.root;
    let functions = survey.project.endpoints.iter().flat_map(|endpoint| &endpoint.functions);
    let above = functions.map(|function| &function.module.import_base).filter(|base| root.starts_with(base));
    above.min_by_key(|base| base.as_os_str().len()).unwrap_or(root).clone()
}

/// The endpoints with paths relative to `base`.
fn relative(survey: &Survey, base: &Path) -> Result<Vec<Endpoint>, Diagnostic> {
    let inner = |path: &Path, location: &Location| {
        path.strip_prefix(base).map(Path::to_owned).map_err(|_| {
            let what = format!("`{}` is outside of the project", path.display());
            let why = format!("a build holds what is below the project's root, which is `{}`", base.display());
            let remedy = "move it into the project; or put an empty flash.toml into a folder above both, which makes that the root";
            Diagnostic::error(what, why, remedy).at(location.clone())
        })
    };
    let mut endpoints = survey.project.endpoints.clone();
    for endpoint in &mut endpoints {
        endpoint.location.file = inner(&survey.file(&endpoint.location), &endpoint.location)?.into();
        for function in &mut endpoint.functions {
            function.module.file = inner(&function.module.file, &function.location)?;
            function.module.import_base = inner(&function.module.import_base, &function.location)?;
            let path = std::mem::take(&mut function.module.import_path);
            function.module.import_path = path.iter().map(|base| inner(base, &function.location)).collect::<Result<_, _>>()?;
            function.location.file = function.module.file.as_path().into();
        }
    }
    Ok(endpoints)
}

/// The project's folder for builds, which git leaves alone.
fn directory(root: &Path) -> Result<PathBuf, Vec<Diagnostic>> {
    let directory = root.join(DIRECTORY);
    let ignored = directory.join(".gitignore");
    let made = fs::create_dir_all(&directory).and_then(|()| if ignored.exists() { Ok(()) } else { fs::write(&ignored, "*\n") });
    match made {
        Ok(()) => Ok(directory),
        Err(error) => Err(vec![unwritable(&directory, &error)]),
    }
}

fn secrets_left_out(names: &[String]) -> Option<Diagnostic> {
    let (first, others) = names.split_first()?;
    let shown: Vec<String> = names.iter().take(5).map(|name| format!("`{name}`")).collect();
    let more = if names.len() > shown.len() { format!(" and {} more", names.len() - shown.len()) } else { String::new() };
    let what = if others.is_empty() {
        format!("`{first}` is left out: it looks like a secret")
    } else {
        format!("{} files are left out, for they look like secrets: {}{more}", names.len(), shown.join(", "))
    };
    Some(Diagnostic::warning(
        what,
        "an artifact is kept and copied, and read by whoever may deploy",
        "give functions their secrets by the endpoint's environment variables (`env` in flash.toml)",
    ))
}
