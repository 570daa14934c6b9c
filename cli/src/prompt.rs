//! Questions before what cannot be undone.

use std::io::{BufRead as _, IsTerminal as _};

use crate::lines::to_errors;
use crate::report::{Failure, Fault, Trouble};

/// Asks whether to do `what`, unless `yes` was given. Errs where the answer is no, or nobody can be asked.
pub fn confirm(what: &str, yes: bool) -> Result<(), Failure> {
    let why = "that cannot be undone, and nobody can be asked: standard input is no terminal";
    if yes { Ok(()) } else { ask(what, || Trouble::new(format!("{what}?"), why, "say so with --yes")) }
}

/// Asks whether to do `what`. Errs where the answer is no; where nobody can be asked, with `unasked`.
pub fn ask(what: &str, unasked: impl FnOnce() -> Trouble) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(Fault::Usage, unasked()));
    }
    to_errors(&format!("{what}? [y/N] "));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.map_err(|cause| Failure::system("cannot read standard input", &cause))?;
    if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(Failure::new(Fault::Request, Trouble::new("nothing was done", "the answer was not `y`", "")))
}
