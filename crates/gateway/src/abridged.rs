//! What callers send, as logs show it: they may send as much as a head has room for, and a log's line is to be read.

use std::fmt;

/// So much of a text is shown, in bytes: more than paths have that somebody means.
const SHOWN: usize = 512;

/// A text that may be long: as it is, or its beginning and its length. [`fmt::Display`] shows it so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abridged<'text> {
    /// What is shown of it.
    pub start: &'text str,
    /// Of how many bytes, where that is not all.
    pub of: Option<usize>,
}

impl<'text> From<&'text str> for Abridged<'text> {
    fn from(text: &'text str) -> Self {
        if text.len() <= SHOWN {
            return Self { start: text, of: None };
        }
        Self { start: &text[..text.floor_char_boundary(SHOWN)], of: Some(text.len()) }
    }
}

impl fmt::Display for Abridged<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.start)?;
        match self.of {
            None => Ok(()),
            Some(bytes) => write!(formatter, "...({bytes} bytes)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_at_a_character_and_its_length_is_said() {
        let shown = |text: &str| Abridged::from(text).to_string();
        for whole in [String::new(), "/a".to_owned(), "/".repeat(SHOWN)] {
            assert_eq!(shown(&whole), whole);
        }
        assert_eq!(shown(&"/".repeat(SHOWN + 1)), format!("{}...({} bytes)", "/".repeat(SHOWN), SHOWN + 1));
        let wide = format!("/{}", "é".repeat(SHOWN));
        assert_eq!(shown(&wide), format!("/{}...({} bytes)", "é".repeat(SHOWN / 2 - 1), 2 * SHOWN + 1));
    }
}
