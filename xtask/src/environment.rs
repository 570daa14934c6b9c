//! Virtual environments: made, mended, filled.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::failure::Failure;
use crate::{interpreter, process, project};

/// Tools for tests and checks, each with its version.
const TOOLS: &str = "python/requirements-dev.txt";

/// A virtual environment that works.
pub struct Environment {
    directory: PathBuf,
    installer: Installer,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Installer {
    Uv,
    Pip,
}

/// How the wheel's binary is compiled.
#[derive(Clone, Copy)]
pub enum Profile {
    /// As `cargo test` does, so that one build serves both.
    Tested,
    /// As users get it.
    Released,
}

impl Environment {
    /// The project's own, `.venv`.
    pub fn of_project(python: Option<&str>) -> Result<Self, Failure> {
        Self::make(project::path(".venv"), python)
    }

    /// Takes the environment in a directory if it works and is of the Python that was asked for; else makes it anew.
    pub fn make(directory: PathBuf, python: Option<&str>) -> Result<Self, Failure> {
        let installer = if process::is_installed("uv") { Installer::Uv } else { Installer::Pip };
        let environment = Self { directory, installer };
        if environment.works(python)? {
            return Ok(environment);
        }
        if environment.directory.exists() {
            environment.remove()?;
        }
        let base = interpreter::find(python)?;
        let made = match installer {
            Installer::Uv => process::run(Command::new("uv").args(["venv", "--quiet", "--python", &base.path]).arg(&environment.directory)),
            Installer::Pip => process::run(Command::new(&base.path).args(["-m", "venv"]).arg(&environment.directory))
                .map_err(|failure| without_venv(&base, failure)),
        };
        if made.is_err() && environment.directory.exists() {
            environment.remove()?; // half an environment would be taken for one next time
        }
        made.map(|()| environment)
    }

    /// A program of this environment.
    pub fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.directory.join("bin").join(name));
        // As an activated environment does; what somebody else activated must not come in.
        command.env("VIRTUAL_ENV", &self.directory).env_remove("PYTHONPATH").env_remove("PYTHONHOME");
        command
    }

    /// Installs packages, by their requirements.
    pub fn install<S: AsRef<OsStr>>(&self, requirements: impl IntoIterator<Item = S>) -> Result<(), Failure> {
        process::run(self.installing().args(requirements))
    }

    /// Installs the tools for tests and checks.
    pub fn install_tools(&self) -> Result<(), Failure> {
        self.install(["-r", TOOLS])
    }

    /// Builds this project's wheel and installs it, in the place of any other.
    pub fn install_wheel(&self, profile: Profile) -> Result<(), Failure> {
        let mut command = self.installing();
        if self.installer == Installer::Uv {
            command.args(["--reinstall-package", "openflash"]); // pip always builds a directory anew
        }
        match profile {
            Profile::Tested => command.arg("--config-settings=build-args=--profile=dev"),
            Profile::Released => &mut command,
        };
        process::run(command.arg("."))
    }

    fn installing(&self) -> Command {
        match self.installer {
            Installer::Uv => {
                let mut command = Command::new("uv");
                command.args(["pip", "install", "--quiet", "--python"]).arg(&self.directory);
                command
            }
            Installer::Pip => {
                let mut command = self.program("python");
                command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
                command
            }
        }
    }

    fn works(&self, wanted: Option<&str>) -> Result<bool, Failure> {
        let python = self.directory.join("bin/python");
        let Ok(found) = interpreter::ask(&python.to_string_lossy()) else { return Ok(false) };
        if self.installer == Installer::Pip && process::read(self.program("python").args(["-m", "pip", "--version"])).is_err() {
            return Ok(false); // made by uv, which is gone
        }
        match wanted {
            Some(wanted) => Ok(interpreter::find(Some(wanted))? == found),
            None => Ok(interpreter::find(Some(&found.path)).is_ok()),
        }
    }

    fn remove(&self) -> Result<(), Failure> {
        fs::remove_dir_all(&self.directory).map_err(|cause| {
            let shown = project::shown(&self.directory);
            Failure::new(format!("`{shown}` could not be made anew"), cause, format!("remove it yourself: rm -r {shown}"))
        })
    }
}

fn without_venv(base: &interpreter::Interpreter, failure: Failure) -> Failure {
    if process::read(Command::new(&base.path).args(["-c", "import ensurepip, venv"])).is_ok() {
        return failure;
    }
    let (major, minor) = base.version;
    Failure::new(
        "no virtual environment could be made",
        format!("`{}` comes without its `venv` module, and `uv` is not installed", base.path),
        format!("apt-get install python{major}.{minor}-venv (Debian, Ubuntu), or install uv"),
    )
}
