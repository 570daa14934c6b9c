//! What is told, as Markdown: printed, and kept in `bench/README.md`, each part in its place.

use std::fmt::Display;
use std::fs;

use super::Part;
use crate::failure::Failure;
use crate::project;

const FILE: &str = "bench/README.md";

/// Puts a part in the place of its last one.
pub fn keep(part: Part, text: &str) -> Result<(), Failure> {
    let path = project::path(FILE);
    let trouble = |why: &dyn Display| Failure::new(format!("`{FILE}` was not brought up to date"), why, format!("git checkout {FILE}"));
    let old = fs::read_to_string(&path).map_err(|cause| trouble(&cause))?;
    let new = replaced(&old, part.name(), text).ok_or_else(|| trouble(&"the lines around the tables are gone"))?;
    fs::write(&path, new).map_err(|cause| trouble(&cause))
}

/// `text` with something new between a part's lines; `None` if it has no such lines.
fn replaced(text: &str, part: &str, new: &str) -> Option<String> {
    let begin = format!("<!-- {part}: written by `cargo xtask bench` -->");
    let end = format!("<!-- end of {part} -->");
    let (before, rest) = text.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n\n{new}\n{end}{after}"))
}

/// Of a bound.
pub fn verdict(holds: bool) -> &'static str {
    if holds { "met" } else { "missed" }
}

/// Microseconds as milliseconds, with three digits that tell.
pub fn millis(micros: f64) -> String {
    let millis = micros / 1e3;
    match millis {
        ..10.0 => format!("{millis:.2}"),
        ..100.0 => format!("{millis:.1}"),
        _ => format!("{millis:.0}"),
    }
}

/// A number of things.
pub fn counted(number: u32, one: &str, several: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { several })
}

/// A whole number, with commas.
pub fn thousands(value: f64) -> String {
    let value = value.round() as u64;
    if value < 1000 { value.to_string() } else { format!("{},{:03}", value / 1000, value % 1000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_tables_take_the_place_of_the_last_and_of_nothing_else() {
        let page = |inside: &str| format!("a\n<!-- grid: written by `cargo xtask bench` -->\n{inside}\n<!-- end of grid -->\nb\n");
        assert_eq!(replaced(&page("old"), "grid", "new"), Some(page("\nnew")));
        assert_eq!(replaced(&page("old"), "rates", "new"), None);
    }

    #[test]
    fn large_numbers_have_a_comma() {
        assert_eq!([999.6, 67_012.0, 12.0].map(thousands), ["1,000", "67,012", "12"]);
    }

    #[test]
    fn times_have_three_digits() {
        assert_eq!([63.0, 10_240.0, 204_800.0].map(millis), ["0.06", "10.2", "205"]);
    }
}
