//! `flash build`: a project, packed for deploying.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flash_build::{Artifact, Limits, Request};
use flash_manifest::{Diagnostic, PythonVersion};

use crate::output::print;
use crate::report::{Failure, Fault, Trouble, warn};

/// What the user asked for.
#[derive(clap::Args)]
pub struct Arguments {
    /// A Python file, or a project's directory
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Leave out what matches, as in .gitignore; may be given several times, or with commas between
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    exclude: Vec<String>,
    /// The Python that requirements are locked for, such as 3.12; without it that of the interpreter that `flash run` would use
    #[arg(long, value_name = "VERSION", value_parser = version)]
    python_version: Option<PythonVersion>,
    /// Where the artifact goes; without it .flash/artifact.tar.gz in the project's root
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

fn version(text: &str) -> Result<PythonVersion, String> {
    text.parse().map_err(|problem: Diagnostic| format!("{}: {}", problem.why, problem.remedy))
}

/// Builds, and says what was built.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let start = Instant::now();
    let Arguments { path, exclude, python_version, output } = arguments;
    let artifact = build(path, exclude, *python_version, output.as_deref())?;
    print(&summary(&artifact, start.elapsed()))
}

/// Builds, and tells what will surprise.
pub fn build(target: &Path, exclude: &[String], python_version: Option<PythonVersion>, output: Option<&Path>) -> Result<Artifact, Failure> {
    let flash_app = std::env::var("FLASH_APP").ok();
    let request = Request { target, flash_app: flash_app.as_deref(), exclude, python_version, output, limits: Limits::default() };
    let artifact =
        flash_build::build(&request).map_err(|problems| Failure::all(Fault::Request, problems.into_iter().map(Trouble::from).collect()))?;
    for warning in &artifact.warnings {
        warn(&Trouble::from(warning.clone()));
    }
    Ok(artifact)
}

fn summary(artifact: &Artifact, took: Duration) -> String {
    let endpoints = &artifact.manifest.endpoints;
    let routes = endpoints.iter().flat_map(|endpoint| &endpoint.functions).filter(|function| function.route.is_some()).count();
    let parts = [
        counted(endpoints.len(), "endpoint", "endpoints"),
        counted(routes, "route", "routes"),
        counted(artifact.files.len(), "file", "files"),
        counted(0, "dependency", "dependencies"),
    ];
    format!(
        "Built {} {} in {} ms\n  artifact  {}  {}  sha256 {}\n",
        artifact.manifest.app,
        parts.join(", "),
        took.as_millis(),
        shown(&artifact.path).display(),
        flash_build::size(artifact.bytes),
        artifact.digest
    )
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A path as one would type it here.
fn shown(path: &Path) -> &Path {
    let here = std::env::current_dir().ok();
    here.and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path)
}
