//! The path of a route: checked and cut once, when it is read.

use std::fmt;
use std::str::FromStr;

use crate::Diagnostic;
use crate::text::{is_control, named, shown};

/// Paths that Flash serves itself on every endpoint, deployed or live.
pub const RESERVED_PATHS: [&str; 2] = ["/execute", "/ping"];

/// A route's path, as in `/users/{user_id}`. Its display is the text it was read from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathPattern {
    text: String,
    parts: Vec<Part>,
}

/// A piece of a path. Two literals never stand side by side, and none is empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// Text that must be there, slashes included.
    Literal(String),
    /// `{name}`: at least one character, no slash. Holds the name.
    Parameter(String),
    /// `{name:path}`: anything, slashes and nothing too. Holds the name.
    Path(String),
}

impl PathPattern {
    /// The text it was read from.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its pieces, in order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The names of its parameters, in order.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Literal(_) => None,
            Part::Parameter(name) | Part::Path(name) => Some(name.as_str()),
        })
    }

    /// The path without its parameters' names, `/users/{}`: two routes of one method with the same are one route.
    pub fn normal(&self) -> String {
        let forms = self.parts.iter().map(|part| match part {
            Part::Literal(text) => text.as_str(),
            Part::Parameter(_) => "{}",
            Part::Path(_) => "{:path}",
        });
        forms.collect()
    }

    /// Whether every request that `other` matches is matched by this pattern too, and by its parameters: where it stands
    /// before `other`, no request gets there. A path without parameters covers nothing, since it wins wherever it stands.
    pub fn covers(&self, other: &Self) -> bool {
        let fixed = |pattern: &Self| pattern.parameters().next().is_none();
        !fixed(self) && !fixed(other) && covers(&symbols(self), &symbols(other))
    }

    fn push_literal(&mut self, text: &str) {
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Literal(last)) => last.push_str(text),
            Some(Part::Parameter(_) | Part::Path(_)) | None => self.parts.push(Part::Literal(text.into())),
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl FromStr for PathPattern {
    type Err = Diagnostic;

    /// Checks a path in the order that `tests/cases/README.md` gives, and takes it apart.
    fn from_str(path: &str) -> Result<Self, Diagnostic> {
        let Some(below_root) = path.strip_prefix('/') else { return Err(relative(path)) };
        check_characters(path)?;
        let mut pattern = Self { text: path.into(), parts: Vec::new() };
        let mut segments = below_root.split('/').peekable();
        while let Some(segment) = segments.next() {
            let at_end = segments.peek().is_none();
            if matches!(segment, "." | "..") || segment.is_empty() && !at_end {
                return Err(lost_segment(path, segment));
            }
            pattern.push_literal("/");
            let Some(cut) = cut(path, segment)? else {
                pattern.push_literal(segment);
                continue;
            };
            check_parameter(&pattern, &cut.part)?;
            pattern.push_literal(cut.prefix);
            pattern.parts.push(cut.part);
            pattern.push_literal(cut.suffix);
        }
        let reserved = path.strip_suffix('/').unwrap_or(path);
        if RESERVED_PATHS.contains(&reserved) {
            return Err(Diagnostic::error(
                format!("path '{path}' is reserved by the framework. reserved paths: {}", RESERVED_PATHS.join(", ")),
                "/ping tells whether the endpoint is healthy, and /execute carries live calls",
                format!("choose another path, as in '/api{reserved}'"),
            ));
        }
        Ok(pattern)
    }
}

fn relative(path: &str) -> Diagnostic {
    Diagnostic::error(
        format!("path must start with '/'. Got: {}", shown(path)),
        "a path is absolute within its endpoint",
        if path.contains("://") {
            "leave the host out: path='/api'".into()
        } else {
            format!("path='/{}'", shown(path.trim()).trim_start_matches('/'))
        },
    )
}

fn check_characters(path: &str) -> Result<(), Diagnostic> {
    if let Some(wrong) = path.chars().find(|character| "?#".contains(*character) || is_control(*character)) {
        return Err(Diagnostic::error(
            format!("path '{}' has the character {}", shown(path), named(wrong)),
            "a request's path cannot hold it, so no request would arrive here",
            "take it out; query parameters are the function's own arguments on GET",
        ));
    }
    let is_code = |bytes: &[u8]| bytes[0] == b'%' && bytes[1..].iter().all(u8::is_ascii_hexdigit);
    if let Some(start) = path.as_bytes().windows(3).position(is_code) {
        return Err(Diagnostic::error(
            format!("path '{path}' has the percent-encoding '{}'", &path[start..start + 3]),
            "a request's path is decoded before it is matched, so no request would arrive here",
            "write the character itself",
        ));
    }
    Ok(())
}

fn lost_segment(path: &str, segment: &str) -> Diagnostic {
    let problem = match segment {
        "" => "an empty segment".into(),
        dots => format!("the segment '{dots}'"),
    };
    let why = "clients and proxies take it out of a URL, so no request would arrive here";
    Diagnostic::error(format!("path '{path}' has {problem}"), why, "take it out")
}

/// A segment around its parameter.
struct Cut<'segment> {
    prefix: &'segment str,
    part: Part,
    suffix: &'segment str,
}

fn cut<'segment>(path: &str, segment: &'segment str) -> Result<Option<Cut<'segment>>, Diagnostic> {
    let mut depth = 0;
    for character in segment.chars() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if !(0..=1).contains(&depth) {
            break;
        }
    }
    if depth != 0 {
        return Err(Diagnostic::error(
            format!("path '{path}' has an unpaired brace in '{segment}'"),
            "braces enclose a parameter of one segment",
            "write a parameter as {name}",
        ));
    }
    let Some((prefix, rest)) = segment.split_once('{') else { return Ok(None) };
    let (inner, suffix) = rest.split_once('}').expect("braces are paired, as counted above");
    if suffix.contains('{') {
        return Err(Diagnostic::error(
            format!("path '{path}' has two parameters in '{segment}'"),
            "where one ends and the other begins cannot be told in every request",
            "put a '/' between them, or take one parameter and split it in the function",
        ));
    }
    let (name, kind): (&str, fn(String) -> Part) = match inner.split_once(':') {
        None => (inner, Part::Parameter),
        Some((name, "path")) => (name, Part::Path),
        Some(_) => ("", Part::Parameter),
    };
    if !name.is_ascii() {
        return Err(Diagnostic::error(
            format!("path '{path}' has the parameter '{{{inner}}}', whose name is not of ASCII letters, digits and '_' alone"),
            "a name with other letters can be written in more than one way, and would be found by one of them",
            "write {user_id} in the path, and user_id in the function",
        ));
    }
    if !is_identifier(name) {
        return Err(Diagnostic::error(
            format!("path '{path}' has the parameter '{{{inner}}}', which is not '{{name}}' or '{{name:path}}'"),
            "a parameter is an argument of the function; the type comes from the argument's annotation",
            "write {user_id} in the path, and user_id: int in the function",
        ));
    }
    Ok(Some(Cut { prefix, part: kind(name.into()), suffix }))
}

fn is_identifier(name: &str) -> bool {
    let inside = |character: char| character == '_' || character.is_ascii_alphanumeric();
    name.chars().all(inside) && name.starts_with(|first: char| !first.is_ascii_digit())
}

/// Checks a parameter against those before it.
fn check_parameter(before: &PathPattern, part: &Part) -> Result<(), Diagnostic> {
    let path = &before.text;
    let (Part::Literal(name) | Part::Parameter(name) | Part::Path(name)) = part;
    if before.parameters().any(|seen| seen == name) {
        return Err(Diagnostic::error(
            format!("path '{path}' has the parameter '{name}' twice"),
            "each parameter's value goes to the function's argument of that name",
            format!("name one of them otherwise, as in {{{name}_2}}"),
        ));
    }
    let is_path = |part: &Part| matches!(part, Part::Path(_));
    if is_path(part) && before.parts.iter().any(is_path) {
        return Err(Diagnostic::error(
            format!("path '{path}' has two ':path' parameters"),
            "each takes any number of segments: where one ends and the other begins cannot be told",
            "keep one ':path' parameter",
        ));
    }
    Ok(())
}

/// A pattern as a string over characters and the two kinds of parameters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Symbol {
    Character(char),
    Parameter,
    Path,
}

fn symbols(pattern: &PathPattern) -> Vec<Symbol> {
    let mut out = Vec::new();
    for part in &pattern.parts {
        match part {
            Part::Literal(text) => out.extend(text.chars().map(Symbol::Character)),
            Part::Parameter(_) => out.push(Symbol::Parameter),
            Part::Path(_) => out.push(Symbol::Path),
        }
    }
    out
}

/// Whether `wide` matches all that `narrow` does. A parameter of `wide` takes what stands for its kind of text: letters and
/// parameters but no slash for `{x}`, anything for `{x:path}`.
fn covers(wide: &[Symbol], narrow: &[Symbol]) -> bool {
    // reached[j]: the symbols of `wide` so far match the first j of `narrow`.
    let mut reached = vec![false; narrow.len() + 1];
    reached[0] = true;
    for symbol in wide {
        let mut next = vec![false; narrow.len() + 1];
        next[0] = reached[0] && *symbol == Symbol::Path;
        for (index, taken) in narrow.iter().enumerate() {
            next[index + 1] = match symbol {
                Symbol::Character(_) => reached[index] && symbol == taken,
                Symbol::Parameter => (reached[index] || next[index]) && !matches!(taken, Symbol::Path | Symbol::Character('/')),
                Symbol::Path => reached[index + 1] || next[index],
            };
        }
        reached = next;
    }
    reached[narrow.len()]
}

#[cfg(test)]
mod tests {
    use super::{Part, PathPattern};

    fn pattern(text: &str) -> PathPattern {
        text.parse().expect("the test's paths are legal")
    }

    #[test]
    fn literals_are_joined_over_slashes() {
        let parts = |text: &str| pattern(text).parts().to_vec();
        assert_eq!(parts("/a/b/"), [Part::Literal("/a/b/".into())]);
        assert_eq!(
            parts("/a/v{x}.json/c/{p:path}"),
            [Part::Literal("/a/v".into()), Part::Parameter("x".into()), Part::Literal(".json/c/".into()), Part::Path("p".into())]
        );
    }

    #[test]
    fn a_pattern_covers_another_that_matches_nothing_else() {
        let check = |wide: &str, narrow: &str, expected: bool| {
            assert_eq!(pattern(wide).covers(&pattern(narrow)), expected, "{wide} over {narrow}");
        };
        check("/{a}", "/{b}", true);
        check("/{a}", "/v{b}", true);
        check("/v{a}", "/{b}", false);
        check("/{a:path}", "/users/{b}", true);
        check("/f/{a}", "/f/{b:path}", false);
        check("/f/{a:path}", "/f/{b}/c", true);
        check("/f/{a:path}/c", "/f/{b}/c", true);
        check("/f/{a:path}/c", "/f/{b}/d", false);
        check("/{a}", "/{b}/{c}", false);
        check("/{a}.json", "/x{b}.json", true);
        check("/{a}", "/fixed", false);
        check("/fixed", "/{a}", false);
    }
}
