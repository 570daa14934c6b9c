//! What is asked for, what is there, and the steps by which it is made.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::cancel::Cancel;
use crate::error::Error;
use crate::interpreter::{self, About};
use crate::place;
use crate::uv::Uv;

/// What workers need beside what functions ask for.
pub const WORKERS_NEED: [&str; 2] = ["cloudpickle>=3", "pydantic>=2.7"];

/// Changes when environments are made in another way.
const FORM: &str = "1";

/// The environments below one `FLASH_HOME`.
#[derive(Clone, Debug)]
pub struct Environments {
    directory: PathBuf,
    variables: Vec<(OsString, OsString)>,
}

/// A virtual environment that holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// Of the lock, the interpreter and what workers need.
    pub id: String,
    /// Its interpreter.
    pub python: PathBuf,
}

/// What an interpreter lacks of some requirements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// Of the requirements and the kind of interpreter.
    pub id: String,
    /// A directory for the import path, called `site-packages` as all that hold libraries, before those of the interpreter's own packages.
    pub packages: PathBuf,
}

/// What an overlay is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The interpreter that it is for.
    pub python: &'a Path,
    /// The requirements, as pip takes them.
    pub requirements: &'a [String],
    /// Packages that must stay at the version that the interpreter has: they are imported already where the overlay comes in.
    pub keep: &'a [&'a str],
    /// The directories in which the interpreter's modules are, where they are not its own.
    pub path: Option<&'a [String]>,
    /// From where relative paths go, and where `uv` reads its settings; without it, the current directory.
    pub directory: Option<&'a Path>,
}

/// Says of an overlay that it is complete.
#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    /// What is used of the interpreter's own packages, by version: another one asks for another overlay.
    relies: BTreeMap<String, String>,
    /// For people who wonder what it is.
    requirements: BTreeSet<String>,
}

/// What an overlay is to have, and within which versions.
#[derive(Debug)]
struct Wanted {
    missing: BTreeSet<String>,
    bounds: BTreeSet<String>,
}

/// Says of an environment that it is complete.
#[derive(Debug, Serialize, Deserialize)]
struct Locked {
    base: PathBuf,
}

impl Overlay {
    /// It stays as long as this process, whose workers have it on their path.
    fn in_use(id: String, packages: PathBuf) -> Self {
        if let Some(directory) = packages.parent() {
            place::in_use(directory);
        }
        Self { id, packages }
    }
}

impl Environments {
    /// Those of this `FLASH_HOME`. Nothing is made or looked at yet. `variables` are the environment of `uv`: there it is found, by `PATH`,
    /// and there are the user's settings for it.
    pub fn new(home: &Path, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        Self { directory: home.join("environments"), variables: variables.into_iter().collect() }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The virtual environment that holds `lock`, the text of a requirements file, and [`WORKERS_NEED`]; made of `python` where it is not
    /// there. Blocks, for minutes where much is to be fetched; `progress` gets lines of what goes on.
    ///
    /// # Errors
    /// [`Error`]. Nothing is left behind that a later call would take for an environment.
    pub fn get(&self, lock: &str, python: &Path, progress: &dyn Fn(&str), cancel: &Cancel) -> Result<Environment, Error> {
        let about = interpreter::ask(python, &self.variables, None, &[])?;
        let base = about.base.to_string_lossy();
        let identity = about.identity.iter().map(String::as_str);
        let id = digest(["lock", FORM, lock, &*base].into_iter().chain(identity).chain(WORKERS_NEED));
        let place = self.directory.join(&id);
        let environment = place.join("venv");
        let found = Environment { id: id.clone(), python: environment.join("bin/python") };
        // The interpreter that it was made of may be gone, to which it has a link.
        let is_there = || place::used::<Locked>(&place).is_some() && found.python.exists();
        if is_there() {
            return Ok(found);
        }
        place::make(&self.directory)?;
        let _alone = place::alone(&self.directory, &id, progress, cancel)?;
        if is_there() {
            return Ok(found);
        }
        place::remove(&place)?;
        place::make(&place)?;
        let made = || {
            let uv = Uv::find(&self.variables, &about.base, &about.scripts, &place, progress, cancel)?;
            let (locked, needed) = (place.join("requirements.lock"), place.join("needed.txt"));
            place::write(&locked, lock)?;
            place::write(&needed, &WORKERS_NEED.join("\n"))?;
            let python: [&Path; 2] = ["--python".as_ref(), &about.base];
            // Quiet, for it says how to activate what nobody activates.
            uv.run(["venv".as_ref(), "--quiet".as_ref()].into_iter().chain(python).chain([&*environment]), "", &place)?;
            // Many processes will read it, of users who may not write there.
            let install: [&Path; 4] = ["pip".as_ref(), "install".as_ref(), "--compile-bytecode".as_ref(), "--python".as_ref()];
            let what: [&Path; 5] = [&found.python, "-r".as_ref(), &locked, "-r".as_ref(), &needed];
            uv.run(install.into_iter().chain(what), "", &place)?;
            place::complete(&place, &Locked { base: about.base.clone() })
        };
        made().inspect_err(|_| drop(place::remove(&place)))?; // what cannot be removed has no marker
        Ok(found)
    }

    /// What the interpreter lacks; `None` where it lacks nothing. Looks first, for which no `uv` is needed. Blocks as [`Self::get`] does.
    ///
    /// A requirement that is only a URL or a path counts as there, as it names nothing that could be looked for.
    ///
    /// # Errors
    /// [`Error`], as [`Self::get`].
    pub fn overlay(&self, asked: Asked<'_>, progress: &dyn Fn(&str), cancel: &Cancel) -> Result<Option<Overlay>, Error> {
        let about = interpreter::ask(asked.python, &self.variables, asked.path, asked.requirements)?;
        if about.missing.is_empty() {
            return Ok(None);
        }
        let sorted = |texts: &[String]| texts.iter().map(|text| text.trim().to_owned()).collect::<BTreeSet<_>>();
        // What is there need not be on an index; it bounds the versions of what it has in common with the rest.
        let mut wanted = Wanted { missing: sorted(&about.missing), bounds: sorted(&about.bounds) };
        wanted.bounds.extend(asked.keep.iter().filter_map(|name| Some(format!("{name}=={}", about.installed.get(*name)?))));
        let identity = about.identity.iter().map(String::as_str);
        let (missing, bounds) = (wanted.missing.iter().map(String::as_str), wanted.bounds.iter().map(String::as_str));
        let id = digest(["overlay", FORM].into_iter().chain(identity).chain(missing).chain(["within"]).chain(bounds));
        let place = self.directory.join(&id);
        if let Some(found) = fitting(&place, &about) {
            return Ok(Some(Overlay::in_use(id, found)));
        }
        place::make(&place)?;
        let _alone = place::alone(&self.directory, &id, progress, cancel)?;
        if let Some(found) = fitting(&place, &about) {
            return Ok(Some(Overlay::in_use(id, found)));
        }
        progress(&format!("installing {}", about.missing.join(", ")));
        let current = std::env::current_dir().unwrap_or_else(|_| place.clone()); // it was removed
        let directory = asked.directory.filter(|directory| directory.is_dir()).unwrap_or(&current);
        let uv = Uv::find(&self.variables, asked.python, &about.scripts, directory, progress, cancel)?;
        let made = make_overlay(&uv, asked.python, &about, &wanted, &place);
        let packages = made.inspect_err(|_| drop(std::fs::remove_dir(&place)))?; // unless there are others in it
        Ok(Some(Overlay::in_use(id, packages)))
    }
}

/// One that is complete, and relies on nothing that this interpreter has not.
fn fitting(place: &Path, about: &About) -> Option<PathBuf> {
    let fits = |directory: &PathBuf| {
        let marker: Option<Marker> = place::used(directory);
        marker.is_some_and(|marker| marker.relies.iter().all(|(name, version)| about.installed.get(name) == Some(version)))
    };
    place::within(place).into_iter().find(fits).map(|directory| directory.join("site-packages"))
}

/// Resolves, keeping to the versions that are there wherever that works, and installs the rest. The caller is alone with `place`.
fn make_overlay(uv: &Uv<'_>, python: &Path, about: &About, wanted: &Wanted, place: &Path) -> Result<PathBuf, Error> {
    // Not among the system's temporary files: nobody would find what a process that was killed has left there.
    let scratch = place.join("scratch");
    place::remove(&scratch)?;
    place::make(&scratch)?;
    let made = resolve_and_install(uv, python, about, wanted, place, &scratch);
    place::remove(&scratch)?;
    made
}

fn resolve_and_install(uv: &Uv<'_>, python: &Path, about: &About, wanted: &Wanted, place: &Path, scratch: &Path) -> Result<PathBuf, Error> {
    let resolved = scratch.join("resolved.txt");
    // `uv` prefers what the file holds that it is to write.
    let there: Vec<_> = about.installed.iter().map(|(name, version)| format!("{name}=={version}\n")).collect();
    place::write(&resolved, &there.concat())?;
    let bounds = scratch.join("bounds.txt");
    place::write(&bounds, &lines(&wanted.bounds))?;
    let compile = ["pip", "compile", "-", "--no-header", "--no-annotate", "--constraints"].map(Path::new);
    let where_to: [&Path; 5] = [&bounds, "--python".as_ref(), python, "--output-file".as_ref(), &resolved];
    uv.run(compile.into_iter().chain(where_to), &lines(&wanted.missing), place)?;
    let text = std::fs::read_to_string(&resolved).map_err(Error::writing(&resolved))?;
    let Plan { relies, installs } = plan(&text, &about.installed);
    let home = place.join(digest(relies.iter().flat_map(|(name, version)| [&**name, &**version]).chain(installs.iter().copied())));
    let packages = home.join("site-packages");
    // Another interpreter's may be the same.
    if place::used::<Marker>(&home).is_some() {
        return Ok(packages);
    }
    place::remove(&home)?;
    place::make(&packages)?;
    let made = || {
        let list = scratch.join("installs.txt");
        place::write(&list, &installs.join("\n"))?;
        if !installs.is_empty() {
            let install = ["pip", "install", "--no-deps", "--python"].map(Path::new);
            uv.run(install.into_iter().chain([python, "--target".as_ref(), &packages, "-r".as_ref(), &list]), "", &home)?;
        }
        place::complete(&home, &Marker { relies, requirements: wanted.missing.clone() })
    };
    made().inspect_err(|_| drop(place::remove(&home)))?; // what cannot be removed has no marker
    Ok(packages)
}

fn lines(texts: &BTreeSet<String>) -> String {
    texts.iter().map(|text| format!("{text}\n")).collect()
}

/// What of a resolution is there, and what is to be installed.
#[derive(Debug, PartialEq, Eq)]
struct Plan<'r> {
    relies: BTreeMap<String, String>,
    installs: Vec<&'r str>,
}

fn plan<'r>(resolved: &'r str, installed: &BTreeMap<String, String>) -> Plan<'r> {
    let mut plan = Plan { relies: BTreeMap::new(), installs: Vec::new() };
    for line in resolved.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let there = line.split_once("==").filter(|(name, version)| installed.get(*name).is_some_and(|there| there == version));
        match there {
            Some((name, version)) => drop(plan.relies.insert(name.to_owned(), version.to_owned())),
            None => plan.installs.push(line),
        }
    }
    plan
}

/// A name for these parts, in hexadecimal; long enough that no two sets of parts ever share it.
fn digest<'p>(parts: impl IntoIterator<Item = &'p str>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_in_the_resolved_version_is_not_installed() {
        let installed = BTreeMap::from([("a".into(), "1.0".into()), ("b".into(), "1.0".into())]);
        let plan = plan("# a comment\na==1.0\nb==2.0\n\nc==1\nd @ file:///d.whl\n", &installed);
        assert_eq!(plan.relies, BTreeMap::from([("a".into(), "1.0".into())]));
        assert_eq!(plan.installs, ["b==2.0", "c==1", "d @ file:///d.whl"]);
    }

    #[test]
    fn a_digest_tells_where_parts_end() {
        assert_eq!(digest(["ab", "c"]).len(), 32);
        assert_ne!(digest(["ab", "c"]), digest(["a", "bc"]));
    }
}
