//! `flash completions`: what a shell needs to complete commands and options.

use clap::Command;
use clap_complete::{Shell, generate};

use crate::output::print;
use crate::report::Failure;

/// What the user asked for.
#[derive(clap::Args)]
pub struct Arguments {
    /// The shell that they are for
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script, for a shell's own way of keeping it.
pub fn run(arguments: &Arguments, mut command: Command) -> Result<(), Failure> {
    let mut script = Vec::new();
    generate(arguments.shell, &mut command, "flash", &mut script);
    print(&String::from_utf8_lossy(&script))
}
