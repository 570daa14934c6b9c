//! Imports that will fail where the build is deployed: of modules that are neither the project's, nor Python's, nor brought by a requirement.
//!
//! What a package is called says little about the modules in it, so that only what is known is told: nothing is, where the interpreter's
//! own packages cannot be told from its folders.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use flash_manifest::{Diagnostic, Location, PythonVersion};
use ruff_python_stdlib::sys::is_known_standard_library;

use crate::lock::Lock;
use crate::requirements::{name, normal};

/// Modules of well-known packages that are called otherwise.
const CALLED_OTHERWISE: [(&str, &[&str]); 22] = [
    ("Crypto", &["pycryptodome"]),
    ("OpenSSL", &["pyopenssl"]),
    ("PIL", &["pillow", "pillow-simd"]),
    ("attr", &["attrs"]),
    ("bs4", &["beautifulsoup4"]),
    ("cv2", &["opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"]),
    ("dateutil", &["python-dateutil"]),
    ("docx", &["python-docx"]),
    ("dotenv", &["python-dotenv"]),
    ("faiss", &["faiss-cpu", "faiss-gpu"]),
    ("fitz", &["pymupdf"]),
    ("git", &["gitpython"]),
    ("jose", &["python-jose"]),
    ("jwt", &["pyjwt"]),
    ("magic", &["python-magic"]),
    ("multipart", &["python-multipart"]),
    ("pkg_resources", &["setuptools"]),
    ("serial", &["pyserial"]),
    ("skimage", &["scikit-image"]),
    ("sklearn", &["scikit-learn"]),
    ("usb", &["pyusb"]),
    ("yaml", &["pyyaml"]),
];

/// Warns of modules that nothing brings. `imported` are the first parts of their names, `python` is the interpreter here.
pub(crate) fn unmet(
    imported: &BTreeMap<String, Location>,
    lock: Option<&Lock>,
    version: Option<PythonVersion>,
    python: Option<&Path>,
) -> Vec<Diagnostic> {
    let minor = version.and_then(|version| version.as_str().split('.').nth(1)?.parse().ok());
    let is_pythons = |module: &str| match minor {
        Some(minor) => is_known_standard_library(minor, module),
        // What any of them has may be there.
        None => (10..=14).any(|minor| is_known_standard_library(minor, module)),
    };
    let mut unknown = imported.iter().filter(|(module, _)| !is_pythons(module)).peekable();
    if unknown.peek().is_none() {
        return Vec::new();
    }
    let Some(installed) = python.and_then(Installed::beside) else { return Vec::new() };
    let locked: Option<Vec<String>> = lock.map(|lock| lock.packages.iter().filter_map(|package| name(package)).collect());
    unknown.filter_map(|(module, at)| told(module, &installed, locked.as_deref()).map(|problem| problem.at(at.clone()))).collect()
}

fn told(module: &str, installed: &Installed, locked: Option<&[String]>) -> Option<Diagnostic> {
    let here = installed.has(module);
    let why = match locked {
        None if here => return None,
        None => format!(
            "functions without requirements run with what is installed beside flash, and `{}` has no such module",
            installed.shown()
        ),
        Some(locked) if locked.iter().any(|package| may_bring(package, module)) => return None,
        Some(locked) if here => {
            let package = installed.package_of(module)?;
            if locked.contains(&package) {
                return None;
            }
            format!("`{package}` brings it here; functions with requirements run with those alone, and it is none of them")
        }
        Some(_) => "none of the locked packages has its name, nor is it installed here".into(),
    };
    let package = CALLED_OTHERWISE.iter().find(|(name, _)| *name == module).map_or(module, |(_, packages)| packages[0]);
    let remedy = format!("add `{package}` to requirements.txt, or dependencies=[\"{package}\"] to the function");
    Some(Diagnostic::warning(format!("`{module}` is imported, and nothing brings it"), why, remedy))
}

/// Whether a package may have a module of this name, from their names alone.
fn may_bring(package: &str, module: &str) -> bool {
    let module_name = normal(module);
    let core = package.strip_prefix("python-").unwrap_or(package);
    let core = core.strip_suffix("-python").or_else(|| core.strip_suffix("-binary")).unwrap_or(core);
    let others = CALLED_OTHERWISE.iter().find(|(name, _)| *name == module).map_or(&[][..], |(_, packages)| packages);
    core == module_name
        || core.strip_prefix("py").is_some_and(|core| core.trim_start_matches('-') == module_name)
        // Many packages share one first name: `google`, `azure`.
        || package.strip_prefix(&*module_name).is_some_and(|rest| rest.starts_with('-'))
        || others.contains(&package)
}

/// What is installed in a virtual environment.
struct Installed {
    environment: PathBuf,
    packages: PathBuf,
}

impl Installed {
    /// In that of an interpreter. `None` where modules may be elsewhere as well: outside of an environment, or by way of a `.pth` file.
    fn beside(python: &Path) -> Option<Self> {
        let environment = python.parent()?.parent()?.to_owned();
        let settings = fs::read_to_string(environment.join("pyvenv.cfg")).ok()?;
        let open = |line: &str| {
            line.split_once('=')
                .is_some_and(|(name, value)| name.trim() == "include-system-site-packages" && value.trim().eq_ignore_ascii_case("true"))
        };
        if settings.lines().any(open) {
            return None;
        }
        let mut versions =
            fs::read_dir(environment.join("lib")).ok()?.filter_map(Result::ok).map(|entry| entry.path().join("site-packages"));
        let packages = versions.find(|path| path.is_dir())?;
        let known = ["distutils-precedence.pth", "_virtualenv.pth"];
        let mut names = fs::read_dir(&packages).ok()?.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned());
        let elsewhere = names.any(|name| name.ends_with(".pth") && !known.contains(&&*name));
        (!elsewhere).then_some(Self { environment, packages })
    }

    fn shown(&self) -> std::path::Display<'_> {
        self.environment.display()
    }

    fn has(&self, module: &str) -> bool {
        let path = self.packages.join(module);
        let compiled = || {
            let beginning = format!("{module}.");
            let names = fs::read_dir(&self.packages).into_iter().flatten().filter_map(Result::ok);
            names
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .any(|name| name.starts_with(&beginning) && name.ends_with(".so"))
        };
        path.is_dir() || path.with_extension("py").is_file() || compiled()
    }

    /// The package that a module came with.
    fn package_of(&self, module: &str) -> Option<String> {
        let beginnings = [format!("{module}/"), format!("{module}."), format!("\"{module}/")];
        let infos = fs::read_dir(&self.packages).ok()?.filter_map(Result::ok).map(|entry| entry.path());
        infos.filter(|path| path.extension().is_some_and(|extension| extension == "dist-info")).find_map(|info| {
            let record = fs::read_to_string(info.join("RECORD")).ok()?;
            let has = record.lines().any(|line| beginnings.iter().any(|beginning| line.starts_with(&**beginning)));
            let package = info.file_stem()?.to_str()?.rsplit_once('-')?.0.to_owned();
            has.then(|| normal(&package))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::may_bring;

    #[test]
    fn names_tell_what_a_package_may_bring() {
        for (package, module) in [
            ("numpy", "numpy"),
            ("pyyaml", "yaml"),
            ("python-dateutil", "dateutil"),
            ("opencv-python-headless", "cv2"),
            ("google-cloud-storage", "google"),
            ("typing-extensions", "typing_extensions"),
            ("psycopg2-binary", "psycopg2"),
            ("scikit-learn", "sklearn"),
        ] {
            assert!(may_bring(package, module), "{package} {module}");
        }
        for (package, module) in [("numpy", "pandas"), ("pandas", "numpy"), ("goo", "google")] {
            assert!(!may_bring(package, module), "{package} {module}");
        }
    }
}
