//! A `FLASH_HOME` of the bench's own, with the server that `flash deploy` starts in it.

use std::path::Path;
use std::process::{Command, Stdio};

use super::files::Folder;
use crate::environment::Environment;
use crate::failure::Failure;

/// Dropped, its server is ended.
pub struct Home<'a> {
    environment: &'a Environment,
    folder: Folder,
}

impl<'a> Home<'a> {
    /// One without anything.
    pub fn empty(environment: &'a Environment, name: &str) -> Result<Self, Failure> {
        Ok(Self { environment, folder: Folder::empty(name)? })
    }

    /// `flash`, with a subcommand, in this home.
    pub fn flash(&self, subcommand: &str) -> Command {
        self.here(self.environment.program("flash"), &[subcommand])
    }

    /// Python, with a program's path, in this home.
    pub fn python(&self, program: &Path) -> Command {
        self.here(self.environment.program("python"), &[&program.to_string_lossy()])
    }

    /// Whether a server has said that it runs here: commands find it then.
    pub fn has_server(&self) -> bool {
        self.folder.path("server.json").exists()
    }

    fn here(&self, mut command: Command, arguments: &[&str]) -> Command {
        command.args(arguments).env("FLASH_HOME", self.folder.path("")).env("FLASH_PORT", "0");
        for other in ["FLASH_SERVER", "FLASH_API_KEY", "FLASH_ENV", "FLASH_APP", "FLASH_TARGET"] {
            command.env_remove(other);
        }
        command
    }
}

impl Drop for Home<'_> {
    fn drop(&mut self) {
        // Where none runs, it says so, and nobody needs to know. Not by `process`, which starts nothing once the task was told to end.
        let _ = self.flash("stop").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}
