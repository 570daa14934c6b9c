//! A file of Python, as text with lines.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use flash_manifest::{Diagnostic, Location};
use ruff_source_file::LineIndex;
use ruff_text_size::{Ranged, TextRange, TextSize};

/// No file that people write is larger; one that is made by a program declares no endpoints.
const LARGEST_BYTES: u64 = 4 * 1024 * 1024;

/// The longest excerpt shown of a line, in characters.
const LONGEST_EXCERPT: usize = 120;

/// A file's text, and where its lines are.
#[derive(Debug)]
pub(crate) struct Source {
    /// The file, as messages spell it.
    pub(crate) shown: Arc<Path>,
    /// The file.
    pub(crate) file: PathBuf,
    pub(crate) text: String,
    lines: LineIndex,
}

impl Source {
    /// A file's bytes. Errs when it cannot be read, or is larger than source is.
    pub(crate) fn bytes(file: &Path, shown: &Path) -> Result<Vec<u8>, Diagnostic> {
        let unreadable = |problem: String| {
            let what = format!("`{}` cannot be read: {problem}", shown.display());
            Diagnostic::error(what, "every file is read to find its endpoints", "mend the file, or take it out of the folder")
        };
        let size = std::fs::metadata(file).map_err(|error| unreadable(error.to_string()))?;
        if !size.is_file() {
            return Err(unreadable("it is no regular file".into()));
        }
        if size.len() > LARGEST_BYTES {
            return Err(unreadable(format!("it has {} bytes, more than {LARGEST_BYTES}", size.len())));
        }
        std::fs::read(file).map_err(|error| unreadable(error.to_string()))
    }

    /// A file's bytes as text. Errs when they are none that Python would read.
    pub(crate) fn new(bytes: &[u8], file: PathBuf, shown: &Path) -> Result<Self, Diagnostic> {
        let text = decode(bytes).map_err(|problem| problem.told(shown))?;
        let lines = LineIndex::from_source_text(&text);
        Ok(Self { shown: shown.into(), file, text, lines })
    }

    /// The line of a place in the text.
    pub(crate) fn location(&self, at: TextSize) -> Location {
        let line = u32::try_from(self.lines.line_index(at).get()).expect("a file has fewer lines than bytes, which are few");
        Location { file: self.shown.clone(), line }
    }

    /// The text of the line at a place.
    pub(crate) fn excerpt(&self, at: TextSize) -> String {
        let line = self.lines.line_index(at);
        shortened(&self.text[self.lines.line_range(line, &self.text)])
    }

    /// A stretch of the text, on one line.
    pub(crate) fn snippet(&self, node: &impl Ranged) -> String {
        shortened(&self.text[TextRange::new(node.start(), node.end())])
    }

    /// The diagnostic, with its place and the line there.
    pub(crate) fn point(&self, diagnostic: Diagnostic, at: TextSize) -> Diagnostic {
        diagnostic.at(self.location(at)).showing(self.excerpt(at))
    }
}

fn shortened(text: &str) -> String {
    let mut words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((cut, _)) = words.char_indices().nth(LONGEST_EXCERPT) {
        words.truncate(cut);
        words.push_str(" ...");
    }
    words.replace(|character: char| character.is_control(), "?")
}

/// Why bytes are no text.
#[derive(Debug, PartialEq, Eq)]
enum Undecodable {
    Encoding(String),
    Byte { value: u8, line: u32 },
    Nul { line: u32 },
}

impl Undecodable {
    fn told(self, file: &Path) -> Diagnostic {
        let shown = file.display();
        match self {
            Self::Encoding(name) => Diagnostic::error(
                format!("`{shown}` is encoded as `{name}`, which is not understood here"),
                "its text cannot be told from its bytes",
                "save it as UTF-8, and take the line with `coding` out",
            ),
            Self::Byte { value, line } => Diagnostic::error(
                format!("`{shown}` has the byte {value:#04x}, which is not UTF-8"),
                "Python reads source as UTF-8 unless its first or second line says otherwise, and would refuse this file too",
                "save it as UTF-8, or name its encoding in the first line, as in `# coding: latin-1`",
            )
            .at(Location { file: file.into(), line }),
            Self::Nul { line } => Diagnostic::error(
                format!("`{shown}` has a null byte"),
                "Python refuses source with null bytes: this is no text, or text in another encoding, such as UTF-16",
                "save it as UTF-8",
            )
            .at(Location { file: file.into(), line }),
        }
    }
}

/// Decodes as Python does: UTF-8, unless a comment in the first two lines names another encoding.
fn decode(bytes: &[u8]) -> Result<String, Undecodable> {
    let line_of = |index: usize| {
        let before = bytes[..index].iter().filter(|byte| **byte == b'\n').count();
        u32::try_from(before + 1).expect("a file's size is limited")
    };
    if let Some(index) = bytes.iter().position(|byte| *byte == 0) {
        return Err(Undecodable::Nul { line: line_of(index) });
    }
    let cookie = cookie(bytes);
    let body = bytes.strip_prefix(b"\xef\xbb\xbf");
    match cookie.as_deref() {
        None | Some("utf-8" | "utf8" | "utf-8-sig" | "ascii" | "us-ascii") => match std::str::from_utf8(body.unwrap_or(bytes)) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => {
                let index = error.valid_up_to() + body.map_or(0, |body| bytes.len() - body.len());
                Err(Undecodable::Byte { value: bytes[index], line: line_of(index) })
            }
        },
        // Each byte is the character of its number.
        Some("latin-1" | "latin1" | "iso-8859-1" | "iso8859-1" | "l1") => Ok(bytes.iter().map(|byte| char::from(*byte)).collect()),
        Some(_) if bytes.is_ascii() => Ok(bytes.iter().map(|byte| char::from(*byte)).collect()),
        Some(other) => Err(Undecodable::Encoding(other.to_owned())),
    }
}

/// The encoding that a comment in the first two lines names, in small letters and with `-` for `_`.
fn cookie(bytes: &[u8]) -> Option<String> {
    bytes.split(|byte| *byte == b'\n').take(2).find_map(|line| {
        let line = String::from_utf8_lossy(line);
        let comment = line.trim_start_matches('\u{feff}').trim_start().strip_prefix('#')?;
        let (_, after) = comment.split_once("coding")?;
        let name = after.strip_prefix([':', '='])?.trim_start();
        let end = name.find(|character: char| !(character.is_ascii_alphanumeric() || "-_.".contains(character)));
        let name = &name[..end.unwrap_or(name.len())];
        (!name.is_empty()).then(|| name.to_ascii_lowercase().replace('_', "-"))
    })
}

#[cfg(test)]
mod tests {
    use super::{Undecodable, decode};

    #[test]
    fn text_is_decoded_as_python_decodes_it() {
        let check = |bytes: &[u8], expected: Result<&str, Undecodable>| {
            assert_eq!(decode(bytes), expected.map(str::to_owned), "{bytes:?}");
        };
        check(b"x = 1\n", Ok("x = 1\n"));
        check(b"\xef\xbb\xbfx", Ok("x"));
        check("é".as_bytes(), Ok("é"));
        check(b"# coding: latin-1\n\xe9", Ok("# coding: latin-1\né"));
        check(b"#!/usr/bin/python\n# -*- coding: ISO_8859-1 -*-\n\xe9", Ok("#!/usr/bin/python\n# -*- coding: ISO_8859-1 -*-\né"));
        check(b"# coding: utf-8\n\xe9", Err(Undecodable::Byte { value: 0xe9, line: 2 }));
        check(b"\xef\xbb\xbf\n\xe9", Err(Undecodable::Byte { value: 0xe9, line: 2 }));
        check(b"\n\n# coding: latin-1\n\xe9", Err(Undecodable::Byte { value: 0xe9, line: 4 }));
        check(b"# coding: koi8-r\nx", Ok("# coding: koi8-r\nx"));
        check(b"# coding: koi8-r\n\xc1", Err(Undecodable::Encoding("koi8-r".into())));
        check(b"a\n\0", Err(Undecodable::Nul { line: 2 }));
    }
}
