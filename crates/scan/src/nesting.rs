//! How deep the parser's tree of a text may be.
//!
//! The parser itself handles any depth, on a stack that it lets grow; what walks or drops its tree does so by recursion.

use ruff_python_ast::token::{Token, TokenKind};
use ruff_text_size::{Ranged, TextSize};

/// Deeper than CPython compiles: it gives up at 200 brackets, and at some thousands of operators in a row.
const DEEPEST: usize = 10_000;

/// As CPython has it.
const MOST_INDENTS: usize = 100;

/// An open bracket, or the line itself.
#[derive(Default)]
struct Level {
    /// What may nest until the bracket closes.
    lasting: usize,
    /// What may nest until the next comma.
    passing: usize,
}

/// The place where a text nests deeper than it can be read. Counts all that may nest, and so a little too much.
pub(crate) fn too_deep(tokens: impl IntoIterator<Item = Token>) -> Option<TextSize> {
    let mut outer: Vec<Level> = Vec::new();
    let mut level = Level::default();
    let (mut depth, mut indents) = (0, 0_usize);
    for token in tokens {
        match token.kind() {
            TokenKind::Lpar | TokenKind::Lsqb | TokenKind::Lbrace => {
                outer.push(std::mem::replace(&mut level, Level { lasting: 1, passing: 0 }));
                depth += 1;
            }
            TokenKind::Rpar | TokenKind::Rsqb | TokenKind::Rbrace => {
                let inner = level;
                level = outer.pop().unwrap_or_default();
                // What follows may hold the whole bracket: `f()()()`.
                level.passing += 1;
                depth = (depth + 1_usize).saturating_sub(inner.lasting + inner.passing);
            }
            TokenKind::Comma => depth -= std::mem::take(&mut level.passing),
            TokenKind::Newline => {
                depth -= level.lasting + level.passing;
                level = Level::default();
            }
            TokenKind::Lambda => {
                level.lasting += 1;
                depth += 1;
            }
            TokenKind::Indent => indents += 1,
            TokenKind::Dedent => indents = indents.saturating_sub(1),
            kind if is_leaf(kind) => {}
            _ => {
                level.passing += 1;
                depth += 1;
            }
        }
        if depth > DEEPEST || indents > MOST_INDENTS {
            return Some(token.start());
        }
    }
    None
}

fn is_leaf(kind: TokenKind) -> bool {
    matches!(
        kind,
        TokenKind::Name
            | TokenKind::Int
            | TokenKind::Float
            | TokenKind::Complex
            | TokenKind::String
            | TokenKind::FStringMiddle
            | TokenKind::TStringMiddle
            | TokenKind::Comment
            | TokenKind::NonLogicalNewline
    )
}
