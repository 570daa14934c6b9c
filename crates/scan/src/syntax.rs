//! The little of Python that a declaration is made of.
//!
//! The parser's tree is taken over into these types and dropped: they hold what can be evaluated without running anything, and
//! remember the place of everything else.

use std::sync::Arc;

use ruff_text_size::{Ranged, TextRange, TextSize};

/// An expression, and its place.
#[derive(Clone, Debug)]
pub(crate) struct Expression {
    pub(crate) form: Form,
    pub(crate) range: TextRange,
}

impl Ranged for Expression {
    fn range(&self) -> TextRange {
        self.range
    }
}

/// The forms of expression that can be evaluated, and one for all the others.
#[derive(Clone, Debug)]
pub(crate) enum Form {
    None,
    Bool(bool),
    Whole(i64),
    Text(String),
    Name(String),
    Attribute(Box<Expression>, String),
    /// A list or a tuple.
    List(Vec<Item>),
    /// A dict: keys with values, and `**rest` without a key.
    Dict(Vec<(Option<Expression>, Expression)>),
    /// An f-string.
    Format(Vec<Piece>),
    Add(Box<Expression>, Box<Expression>),
    Not(Box<Expression>),
    /// `==`, or `!=` where `equal` is false.
    Compare {
        left: Box<Expression>,
        right: Box<Expression>,
        equal: bool,
    },
    /// `then if test else otherwise`
    Choice {
        test: Box<Expression>,
        then: Box<Expression>,
        otherwise: Box<Expression>,
    },
    Call(Box<Call>),
    /// Something that takes the running program to know.
    Other,
}

/// An element of a list.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    One(Expression),
    /// `*rest`
    All(Expression),
}

/// A piece of an f-string.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Text(String),
    Value(Expression),
}

/// A call.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) function: Expression,
    /// Arguments by position; a `*rest` is `Item::All`.
    pub(crate) positional: Vec<Item>,
    /// Arguments by name; a `**rest` has none.
    pub(crate) named: Vec<(Option<String>, Expression)>,
    pub(crate) range: TextRange,
}

/// What stands around a statement, and bears on whether it runs when the module is imported.
#[derive(Clone, Debug)]
pub(crate) enum Frame {
    /// A branch taken when `test` is `holds`.
    When { test: Expression, holds: bool },
    /// The handler of an exception.
    Handler,
    /// A loop's body, a case of `match`: it runs as often as the program decides.
    Perhaps,
    /// The body of a function.
    Function(String),
    /// The body of a class.
    Class(String),
}

/// A name given a meaning at module level.
#[derive(Clone, Debug)]
pub(crate) struct Binding {
    pub(crate) meaning: Meaning,
    pub(crate) at: TextSize,
    pub(crate) frames: Arc<[Frame]>,
}

/// What a name is bound to.
#[derive(Clone, Debug)]
pub(crate) enum Meaning {
    Value(Expression),
    /// `import module`, or `import module as name`. Without `as`, the name stands for the module's first part.
    Import {
        module: String,
        whole: bool,
    },
    /// `from module import name`
    ImportFrom {
        from: Origin,
        name: String,
    },
    /// A function or a class.
    Definition,
    /// Bound or changed in a way that takes the running program to know.
    Changed,
}

/// The module that a `from` import names.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// The dots in front.
    pub(crate) level: u32,
    pub(crate) module: String,
}

/// An import, wherever it stands: in a function, in a branch.
#[derive(Clone, Debug)]
pub(crate) struct Import {
    pub(crate) from: Origin,
    /// What is imported from it, which may be modules themselves; nothing for `import module`.
    pub(crate) names: Vec<String>,
    pub(crate) at: TextSize,
    /// Whether it stands at module level, outside of branches and of `try`: without it the module cannot be imported.
    pub(crate) essential: bool,
}

/// `from module import *`
#[derive(Clone, Debug)]
pub(crate) struct Star {
    pub(crate) from: Origin,
    pub(crate) at: TextSize,
}

/// A function or class with decorators, wherever it stands.
#[derive(Clone, Debug)]
pub(crate) struct Decorated {
    pub(crate) name: String,
    /// The place of its name.
    pub(crate) at: TextSize,
    pub(crate) nature: flash_manifest::Nature,
    /// Whether it is a generator.
    pub(crate) yields: bool,
    /// The topmost first.
    pub(crate) decorators: Vec<Expression>,
    /// None where they cannot be told from the signature.
    pub(crate) parameters: Parameters,
    pub(crate) frames: Arc<[Frame]>,
}

/// What a function takes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parameters {
    /// Those that can be given by name.
    pub(crate) by_name: Vec<String>,
    pub(crate) positional_only: Vec<String>,
    /// Whether there is a `**rest`.
    pub(crate) any_name: bool,
}
