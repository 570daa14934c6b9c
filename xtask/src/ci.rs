//! `cargo xtask ci`: what a change must pass.

use std::process::Command;

use crate::failure::Failure;
use crate::{process, test};

/// Quick checks first, so that a slip is told in seconds.
pub fn run(arguments: &test::Arguments) -> Result<(), Failure> {
    let cargo = |words: &str| {
        let mut command = Command::new("cargo");
        command.args(words.split(' '));
        command
    };
    process::run(&mut cargo("fmt --all --check"))?;
    let environment = test::environment(arguments)?;
    process::run(environment.program("ruff").args(["format", "--check"]))?;
    process::run(environment.program("ruff").arg("check"))?;
    // What is known against a version changes by the day, with a database that a clean checkout may not reach: `cargo-deny check
    // advisories` is for people to run.
    process::run(environment.program("cargo-deny").args(["check", "--hide-inclusion-graph", "licenses", "bans", "sources"]))?;
    process::run(&mut cargo("clippy --workspace --all-targets --locked -- -D warnings"))?;
    // A workspace of its own: what its targets call has not changed under them. They are read, not run: no library of a fuzzer is built.
    let fuzz = "clippy --manifest-path fuzz/Cargo.toml --target-dir target --locked -- -D warnings";
    process::run(cargo(fuzz).env("CUSTOM_LIBFUZZER_PATH", "none/libfuzzer.a"))?;
    process::run(cargo("doc --workspace --no-deps --document-private-items --locked").env("RUSTDOCFLAGS", "-D warnings"))?;
    test::run_in(&environment)?;
    // After the wheel is there: checkers see the package as a user's editor does.
    process::run(environment.program("mypy").args(["--strict", "python/runpod_flash"]))?;
    process::run(&mut environment.program("pyright"))
}
