//! Environment variables of workers.

use crate::Diagnostic;
use crate::text::shown;

/// Checks that an environment can hold a variable. What is told of it does not show its value.
pub fn check_variable(name: &str, value: &str) -> Result<(), Diagnostic> {
    let wrong = |what: String, why: &str| Err(Diagnostic::error(what, why, "write it as NAME = \"value\""));
    if name.is_empty() {
        return wrong("the name of an environment variable is empty".into(), "a variable is found by its name");
    }
    if let Some(character) = name.chars().find(|character| ['=', '\0'].contains(character)) {
        let what = format!("the environment variable '{}' has the character {} in its name", shown(name), crate::text::named(character));
        return wrong(what, "the system ends a variable's name there");
    }
    if value.contains('\0') {
        return wrong(
            format!("the value of the environment variable '{}' has the character U+0000", shown(name)),
            "the system ends a value there",
        );
    }
    Ok(())
}
