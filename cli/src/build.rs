//! `flash build`: a project, packed for deploying.

use std::fs;
use std::io::{self, IsTerminal as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flash_build::{Artifact, Request};
use flash_manifest::{Diagnostic, PythonVersion};
use serde::Serialize;

use crate::interpreter;
use crate::lines::to_errors;
use crate::output::{count, print, print_json};
use crate::report::{Failure, Fault, Trouble, warn};

/// What the user asked for.
#[derive(clap::Args)]
pub struct Arguments {
    /// A Python file, or a project's directory
    #[arg(default_value = ".")]
    path: PathBuf,
    #[command(flatten)]
    options: Options,
    /// Where the artifact goes: a file, which is replaced, or a pipe or device; without it .flash/artifact.tar.gz in the project's root
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print what was built as JSON
    #[arg(long)]
    json: bool,
}

/// How to build.
#[derive(clap::Args)]
pub struct Options {
    /// Leave out what matches, as in .gitignore; may be given several times, or with commas between
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    exclude: Vec<String>,
    /// The Python that requirements are locked for, such as 3.12; without it that of the interpreter that `flash run` would use
    #[arg(long, value_name = "VERSION", value_parser = version)]
    python_version: Option<PythonVersion>,
    /// Lock requirements anew, to the newest versions that fit
    #[arg(long)]
    upgrade: bool,
}

fn version(text: &str) -> Result<PythonVersion, String> {
    text.parse().map_err(|problem: Diagnostic| problem.what)
}

/// Builds, and says what was built.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let start = Instant::now();
    if let Some(output) = &arguments.output {
        is_not_standard_output(output)?;
    }
    let artifact = build(&arguments.path, &arguments.options, arguments.output.as_deref())?;
    let took = start.elapsed();
    if arguments.json { print_json(&Report::new(&artifact, took)) } else { print(&summary(&artifact, took)) }
}

/// Builds what is at `path`, and tells what will surprise.
pub fn build(path: &Path, options: &Options, output: Option<&Path>) -> Result<Artifact, Failure> {
    let flash_app = std::env::var("FLASH_APP").ok();
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let directory = if absolute.is_dir() { absolute.as_path() } else { absolute.parent().unwrap_or(&absolute) };
    let flash = std::env::current_exe().ok();
    let choice = interpreter::choose(None, std::env::var_os("VIRTUAL_ENV"), directory, flash.as_deref());
    let request = Request {
        flash_app: flash_app.as_deref(),
        exclude: &options.exclude,
        python_version: options.python_version,
        python: Some(&choice.python),
        upgrade: options.upgrade,
        progress: &|text| to_errors(&format!("{text}\n")),
        output,
        ..Request::new(path)
    };
    let told = |problems: Vec<Diagnostic>| Failure::told(Fault::Request, problems);
    let artifact = flash_build::build(&request).map_err(told)?;
    for warning in &artifact.warnings {
        warn(&Trouble::from(warning.clone()));
    }
    Ok(artifact)
}

/// Standard output has what is told of a build: both in one would be neither.
fn is_not_standard_output(output: &Path) -> Result<(), Failure> {
    let same = || {
        let (named, own) = (fs::metadata(output).ok()?, rustix::fs::fstat(io::stdout()).ok()?);
        let is_dull = named.file_type().is_char_device() && !io::stdout().is_terminal(); // /dev/null takes both
        Some(!is_dull && (named.dev(), named.ino()) == (own.st_dev, own.st_ino))
    };
    if output != Path::new("-") && same() != Some(true) {
        return Ok(());
    }
    let why = "what is told of the build goes there, and would be in the midst of it";
    let remedy = "name a file or a named pipe: --output FILE; a file whose name is `-` is written ./-";
    Err(Failure::new(Fault::Request, Trouble::new("the artifact cannot go to standard output", why, remedy)))
}

fn summary(artifact: &Artifact, took: Duration) -> String {
    let endpoints = &artifact.manifest.endpoints;
    let functions = endpoints.iter().flat_map(|endpoint| &endpoint.functions);
    let (routes, queued): (Vec<_>, Vec<_>) = functions.partition(|function| function.route.is_some());
    let offers = match (routes.len(), queued.len()) {
        (routes, 0) => count(routes, "route"),
        (0, queued) => count(queued, "queue-based function"),
        (routes, queued) => format!("{}, {}", count(routes, "route"), count(queued, "queue-based function")),
    };
    let dependencies = match artifact.lock.as_ref().map_or(0, |lock| lock.packages.len()) {
        1 => "1 dependency".into(),
        number => format!("{number} dependencies"),
    };
    format!(
        "Built {} {}, {}, {}, {dependencies} in {} ms\n  artifact  {}  {}  sha256 {}\n",
        artifact.manifest.app,
        count(endpoints.len(), "endpoint"),
        offers,
        count(artifact.files.len(), "file"),
        took.as_millis(),
        shown(&artifact.path).display(),
        flash_build::size(artifact.bytes),
        artifact.digest
    )
}

/// A path as one would type it here.
fn shown(path: &Path) -> &Path {
    let here = std::env::current_dir().ok();
    here.and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path)
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    app: &'a str,
    artifact: &'a Path,
    digest: &'a str,
    bytes: u64,
    python_version: Option<String>,
    endpoints: Vec<Built<'a>>,
    files: &'a [String],
    dependencies: &'a [String],
    warnings: Vec<Warned<'a>>,
    milliseconds: u128,
}

#[derive(Serialize)]
struct Built<'a> {
    name: &'a str,
    class: &'a str,
    functions: Vec<&'a str>,
    routes: Vec<String>,
}

#[derive(Serialize)]
struct Warned<'a> {
    what: &'a str,
    why: &'a str,
    remedy: &'a str,
    at: Option<String>,
}

impl<'a> Report<'a> {
    fn new(artifact: &'a Artifact, took: Duration) -> Self {
        let endpoints = artifact.manifest.endpoints.iter().map(|endpoint| Built {
            name: endpoint.name.as_str(),
            class: endpoint.class.as_str(),
            functions: endpoint.functions.iter().map(|function| &*function.qualname).collect(),
            routes: endpoint.functions.iter().filter_map(|function| function.route.as_ref()).map(ToString::to_string).collect(),
        });
        let warnings = artifact.warnings.iter().map(|warning| Warned {
            what: &warning.what,
            why: &warning.why,
            remedy: &warning.remedy,
            at: warning.location.as_ref().map(ToString::to_string),
        });
        Self {
            app: artifact.manifest.app.as_str(),
            artifact: &artifact.path,
            digest: &artifact.digest,
            bytes: artifact.bytes,
            python_version: artifact.manifest.python_version.map(|version| version.to_string()),
            endpoints: endpoints.collect(),
            files: &artifact.files,
            dependencies: artifact.lock.as_ref().map_or(&[], |lock| &lock.packages),
            warnings: warnings.collect(),
            milliseconds: took.as_millis(),
        }
    }
}
