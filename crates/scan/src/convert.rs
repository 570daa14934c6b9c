//! From the parser's tree to `syntax`: every name that a module binds, and every decorated function in it.

use std::collections::HashMap;
use std::sync::Arc;

use flash_manifest::Nature;
use ruff_python_ast as ast;
use ruff_python_ast::{ConversionFlag, Expr, InterpolatedStringElement, Number, Operator, Stmt, UnaryOp};
use ruff_text_size::{Ranged, TextRange, TextSize};

use crate::dynamic;
use crate::nesting::too_deep;
use crate::syntax::{Binding, Call, Decorated, Expression, Form, Frame, Import, Item, Meaning, Origin, Parameters, Piece, Star};
use crate::yielding::yields;

/// Declarations nest a few levels; an expression deeper than this is data, or an attack.
const DEEPEST: usize = 64;

/// What can be done to a list or a dict that makes it another one than was written.
const MUTATORS: [&str; 11] = ["append", "clear", "extend", "insert", "pop", "popitem", "remove", "reverse", "setdefault", "sort", "update"];

/// What a module says, as far as declarations go.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// The names bound at module level, each with its bindings in order.
    pub(crate) bindings: HashMap<String, Vec<Binding>>,
    /// The names imported inside of functions and classes.
    pub(crate) inner: HashMap<String, Vec<Binding>>,
    pub(crate) stars: Vec<Star>,
    /// Every import, in order.
    pub(crate) imports: Vec<Import>,
    pub(crate) decorated: Vec<Decorated>,
    /// Calls of a call's result, as in `remote(api)(function)`.
    pub(crate) applied: Vec<Call>,
}

/// Why a text cannot be taken over, and where.
#[derive(Debug)]
pub(crate) enum Failure {
    Syntax { problem: String, at: TextSize },
    TooDeep { at: TextSize },
}

/// The stack for a tree of the greatest depth that is taken over. It costs what is used of it.
const STACK_BYTES: usize = 64 * 1024 * 1024;

/// Parses a module. Errs at the first error of syntax.
pub(crate) fn convert(text: &str) -> Result<Contents, Failure> {
    stacker::grow(STACK_BYTES, || {
        let parsed = ruff_python_parser::parse_unchecked_source(text, ast::PySourceType::Python);
        if let Some(at) = too_deep(parsed.tokens().iter().copied()) {
            // Dropping it would overflow the stack. No file that Python reads comes here.
            std::mem::forget(parsed);
            return Err(Failure::TooDeep { at });
        }
        if let Some(error) = parsed.errors().first() {
            return Err(Failure::Syntax { problem: error.error.to_string(), at: error.location.start() });
        }
        let mut walk = Walk { out: Contents::default(), frames: Vec::new(), shared: Arc::new([]), attempts: 0 };
        walk.body(parsed.suite());
        if dynamic::mentioned(text) {
            walk.out.imports.extend(dynamic::imports(parsed.suite()));
        }
        Ok(walk.out)
    })
}

struct Walk {
    out: Contents,
    frames: Vec<Frame>,
    /// `frames`, as bindings hold them.
    shared: Arc<[Frame]>,
    /// How many `try` stand around.
    attempts: usize,
}

impl Walk {
    fn body(&mut self, body: &[Stmt]) {
        for statement in body {
            self.statement(statement);
        }
    }

    fn within(&mut self, frames: impl IntoIterator<Item = Frame>, body: &[Stmt]) {
        let (depth, outer) = (self.frames.len(), self.shared.clone());
        self.frames.extend(frames);
        self.shared = self.frames.as_slice().into();
        self.body(body);
        self.frames.truncate(depth);
        self.shared = outer;
    }

    fn statement(&mut self, statement: &Stmt) {
        let at = statement.start();
        match statement {
            Stmt::FunctionDef(function) => {
                let nature = if function.is_async { Nature::AsyncFunction } else { Nature::Function };
                let yields = !function.decorator_list.is_empty() && yields(&function.body);
                self.decorated(&function.decorator_list, &function.name, nature, yields, parameters(&function.parameters));
                // After its decorators, which may use what the name meant before.
                self.bind(&function.name, function.name.start(), Meaning::Definition);
                self.within([Frame::Function(function.name.to_string())], &function.body);
            }
            Stmt::ClassDef(class) => {
                self.decorated(&class.decorator_list, &class.name, Nature::Class, false, Parameters::default());
                self.bind(&class.name, class.name.start(), Meaning::Definition);
                self.within([Frame::Class(class.name.to_string())], &class.body);
            }
            Stmt::Assign(assign) => {
                self.applied(&assign.value);
                for target in &assign.targets {
                    self.assign(target, Some(&assign.value), at);
                }
            }
            Stmt::AnnAssign(assign) => {
                if let Some(value) = &assign.value {
                    self.applied(value);
                    self.assign(&assign.target, Some(value), at);
                }
            }
            Stmt::AugAssign(assign) => self.augment(assign, at),
            Stmt::Delete(delete) => delete.targets.iter().for_each(|target| self.assign(target, None, at)),
            Stmt::TypeAlias(alias) => self.assign(&alias.name, None, at),
            Stmt::Import(import) => self.import(import, at),
            Stmt::ImportFrom(import) => self.import_from(import, at),
            Stmt::Expr(statement) => self.bare(&statement.value, at),
            Stmt::If(branch) => self.branches(branch),
            Stmt::For(each) => {
                self.assign(&each.target, None, at);
                self.within([Frame::Perhaps], &each.body);
                self.within([Frame::Perhaps], &each.orelse);
            }
            Stmt::While(each) => {
                self.within([Frame::Perhaps], &each.body);
                self.within([Frame::Perhaps], &each.orelse);
            }
            Stmt::Match(choice) => choice.cases.iter().for_each(|case| self.within([Frame::Perhaps], &case.body)),
            Stmt::With(with) => {
                for target in with.items.iter().filter_map(|item| item.optional_vars.as_deref()) {
                    self.assign(target, None, at);
                }
                self.body(&with.body);
            }
            Stmt::Try(attempt) => {
                self.attempts += 1;
                self.body(&attempt.body);
                self.attempts -= 1;
                for ast::ExceptHandler::ExceptHandler(handler) in &attempt.handlers {
                    self.within([Frame::Handler], &handler.body);
                }
                self.body(&attempt.orelse);
                self.body(&attempt.finalbody);
            }
            Stmt::Return(_)
            | Stmt::Raise(_)
            | Stmt::Assert(_)
            | Stmt::Global(_)
            | Stmt::Nonlocal(_)
            | Stmt::Pass(_)
            | Stmt::Break(_)
            | Stmt::Continue(_)
            | Stmt::IpyEscapeCommand(_) => {}
        }
    }

    /// `if`, `elif` and `else`: each runs when its own test holds and those before it do not.
    fn branches(&mut self, branch: &ast::StmtIf) {
        let test = expression(&branch.test, DEEPEST);
        self.within([Frame::When { test: test.clone(), holds: true }], &branch.body);
        let mut before = vec![Frame::When { test, holds: false }];
        for clause in &branch.elif_else_clauses {
            let test = clause.test.as_ref().map(|test| expression(test, DEEPEST));
            let own = test.clone().map(|test| Frame::When { test, holds: true });
            self.within(before.iter().cloned().chain(own), &clause.body);
            before.extend(test.map(|test| Frame::When { test, holds: false }));
        }
    }

    fn at_module_level(&self) -> bool {
        !self.frames.iter().any(|frame| matches!(frame, Frame::Function(_) | Frame::Class(_)))
    }

    fn bind(&mut self, name: &str, at: TextSize, meaning: Meaning) {
        let names = match (self.at_module_level(), &meaning) {
            (true, _) => &mut self.out.bindings,
            (false, Meaning::Import { .. } | Meaning::ImportFrom { .. }) => &mut self.out.inner,
            (false, Meaning::Value(_) | Meaning::Definition | Meaning::Changed) => return,
        };
        names.entry(name.to_owned()).or_default().push(Binding { meaning, at, frames: self.shared.clone() });
    }

    /// Binds what a target names: to `value`, or to what only the running program knows.
    fn assign(&mut self, target: &Expr, value: Option<&Expr>, at: TextSize) {
        if !self.at_module_level() {
            return;
        }
        match (target, value) {
            (Expr::Name(name), Some(value)) => self.bind(&name.id, at, Meaning::Value(expression(value, DEEPEST))),
            (Expr::Name(name), None) => self.bind(&name.id, at, Meaning::Changed),
            (Expr::Tuple(ast::ExprTuple { elts, .. }) | Expr::List(ast::ExprList { elts, .. }), value) => {
                let values = value.and_then(elements).filter(|values| values.len() == elts.len() && !starred(values) && !starred(elts));
                for (index, element) in elts.iter().enumerate() {
                    self.assign(element, values.map(|values| &values[index]), at);
                }
            }
            (Expr::Starred(starred), _) => self.assign(&starred.value, None, at),
            (Expr::Attribute(_) | Expr::Subscript(_), _) => self.changed(target, at),
            _ => {}
        }
    }

    /// The name in front of `name.attribute` or `name[index]` means something else from here on.
    fn changed(&mut self, mut target: &Expr, at: TextSize) {
        loop {
            target = match target {
                Expr::Attribute(attribute) => &attribute.value,
                Expr::Subscript(subscript) => &subscript.value,
                Expr::Name(name) => return self.bind(&name.id, at, Meaning::Changed),
                _ => return,
            };
        }
    }

    fn augment(&mut self, assign: &ast::StmtAugAssign, at: TextSize) {
        match (&*assign.target, assign.op) {
            (Expr::Name(name), Operator::Add) => {
                let sum = Form::Add(Box::new(expression(&assign.target, DEEPEST)), Box::new(expression(&assign.value, DEEPEST)));
                self.bind(&name.id, at, Meaning::Value(Expression { form: sum, range: assign.range }));
            }
            (Expr::Name(name), _) => self.bind(&name.id, at, Meaning::Changed),
            (target, _) => self.assign(target, None, at),
        }
    }

    fn import(&mut self, import: &ast::StmtImport, at: TextSize) {
        for alias in &import.names {
            let module = alias.name.to_string();
            self.imported(Origin { level: 0, module: module.clone() }, Vec::new(), alias.start());
            let first = module.split('.').next().unwrap_or_default().to_owned();
            let name = alias.asname.as_ref().map_or(first, ToString::to_string);
            self.bind(&name, at, Meaning::Import { module, whole: alias.asname.is_some() });
        }
    }

    fn imported(&mut self, from: Origin, names: Vec<String>, at: TextSize) {
        let essential = self.frames.is_empty() && self.attempts == 0;
        self.out.imports.push(Import { from, names, at, essential });
    }

    fn import_from(&mut self, import: &ast::StmtImportFrom, at: TextSize) {
        let module = import.module.as_ref().map(ToString::to_string).unwrap_or_default();
        let from = Origin { level: import.level, module };
        let names = import.names.iter().map(|alias| alias.name.to_string()).filter(|name| name != "*");
        self.imported(from.clone(), names.collect(), at);
        for alias in &import.names {
            if &alias.name == "*" {
                if self.at_module_level() {
                    self.out.stars.push(Star { from: from.clone(), at });
                }
                continue;
            }
            let name = alias.asname.as_ref().unwrap_or(&alias.name);
            self.bind(name, at, Meaning::ImportFrom { from: from.clone(), name: alias.name.to_string() });
        }
    }

    /// An expression that stands alone.
    fn bare(&mut self, value: &Expr, at: TextSize) {
        self.applied(value);
        if let Expr::Call(call) = value
            && let Expr::Attribute(method) = &*call.func
            && MUTATORS.contains(&method.attr.as_str())
            && self.at_module_level()
        {
            self.changed(&call.func, at);
        }
    }

    fn applied(&mut self, value: &Expr) {
        if let Expr::Call(outer) = value
            && let Expr::Call(inner) = &*outer.func
            && self.at_module_level()
        {
            self.out.applied.push(call(inner, DEEPEST));
        }
    }

    fn decorated(&mut self, decorators: &[ast::Decorator], name: &ast::Identifier, nature: Nature, yields: bool, parameters: Parameters) {
        if decorators.is_empty() {
            return;
        }
        self.out.decorated.push(Decorated {
            name: name.to_string(),
            at: name.start(),
            nature,
            yields,
            decorators: decorators.iter().map(|decorator| expression(&decorator.expression, DEEPEST)).collect(),
            parameters,
            frames: self.shared.clone(),
        });
    }
}

fn elements(value: &Expr) -> Option<&[Expr]> {
    match value {
        Expr::Tuple(tuple) => Some(&tuple.elts),
        Expr::List(list) => Some(&list.elts),
        _ => None,
    }
}

fn starred(values: &[Expr]) -> bool {
    values.iter().any(Expr::is_starred_expr)
}

fn parameters(of: &ast::Parameters) -> Parameters {
    let names = |list: &[ast::ParameterWithDefault]| list.iter().map(|one| one.parameter.name.to_string()).collect::<Vec<_>>();
    Parameters {
        by_name: [names(&of.args), names(&of.kwonlyargs)].concat(),
        positional_only: names(&of.posonlyargs),
        any_name: of.kwarg.is_some(),
    }
}

fn expression(from: &Expr, depth: usize) -> Expression {
    let form = if depth == 0 { Form::Other } else { form(from, depth - 1) };
    Expression { form, range: from.range() }
}

fn form(from: &Expr, depth: usize) -> Form {
    let boxed = |from: &Expr| Box::new(expression(from, depth));
    match from {
        Expr::NoneLiteral(_) => Form::None,
        Expr::BooleanLiteral(literal) => Form::Bool(literal.value),
        Expr::NumberLiteral(ast::ExprNumberLiteral { value: Number::Int(whole), .. }) => whole.as_i64().map_or(Form::Other, Form::Whole),
        Expr::StringLiteral(literal) => Form::Text(literal.value.to_str().to_owned()),
        Expr::Name(name) => Form::Name(name.id.to_string()),
        Expr::Attribute(attribute) => Form::Attribute(boxed(&attribute.value), attribute.attr.to_string()),
        Expr::Tuple(ast::ExprTuple { elts, .. }) | Expr::List(ast::ExprList { elts, .. }) => Form::List(items(elts, depth)),
        Expr::Dict(dict) => {
            let item = |item: &ast::DictItem| (item.key.as_ref().map(|key| expression(key, depth)), expression(&item.value, depth));
            Form::Dict(dict.items.iter().map(item).collect())
        }
        Expr::FString(string) => format(string, depth),
        Expr::BinOp(operation) if operation.op == Operator::Add => Form::Add(boxed(&operation.left), boxed(&operation.right)),
        Expr::UnaryOp(ast::ExprUnaryOp { op: UnaryOp::USub, operand, .. }) => match form(operand, depth) {
            Form::Whole(whole) => Form::Whole(-whole),
            _ => Form::Other,
        },
        Expr::UnaryOp(operation) if operation.op == UnaryOp::Not => Form::Not(boxed(&operation.operand)),
        Expr::Compare(compare) => match (&*compare.ops, &*compare.comparators) {
            ([operator @ (ast::CmpOp::Eq | ast::CmpOp::NotEq)], [right]) => {
                Form::Compare { left: boxed(&compare.left), right: boxed(right), equal: *operator == ast::CmpOp::Eq }
            }
            _ => Form::Other,
        },
        Expr::If(choice) => Form::Choice { test: boxed(&choice.test), then: boxed(&choice.body), otherwise: boxed(&choice.orelse) },
        Expr::Call(from) => Form::Call(Box::new(call(from, depth))),
        _ => Form::Other,
    }
}

fn items(from: &[Expr], depth: usize) -> Vec<Item> {
    let item = |one: &Expr| match one {
        Expr::Starred(starred) => Item::All(expression(&starred.value, depth)),
        one => Item::One(expression(one, depth)),
    };
    from.iter().map(item).collect()
}

fn call(from: &ast::ExprCall, depth: usize) -> Call {
    let named = |keyword: &ast::Keyword| (keyword.arg.as_ref().map(ToString::to_string), expression(&keyword.value, depth));
    Call {
        function: expression(&from.func, depth),
        positional: items(&from.arguments.args, depth),
        named: from.arguments.keywords.iter().map(named).collect(),
        range: TextRange::new(from.start(), from.end()),
    }
}

fn format(string: &ast::ExprFString, depth: usize) -> Form {
    let mut pieces = Vec::new();
    for part in &string.value {
        match part {
            ast::FStringPart::Literal(text) => pieces.push(Piece::Text(text.value.to_string())),
            ast::FStringPart::FString(string) => {
                for element in &string.elements {
                    match element {
                        InterpolatedStringElement::Literal(text) => pieces.push(Piece::Text(text.value.to_string())),
                        InterpolatedStringElement::Interpolation(value) if is_plain(value) => {
                            pieces.push(Piece::Value(expression(&value.expression, depth)));
                        }
                        InterpolatedStringElement::Interpolation(_) => return Form::Other,
                    }
                }
            }
        }
    }
    Form::Format(pieces)
}

/// Whether a piece of an f-string is the value as `str` shows it.
fn is_plain(value: &ast::InterpolatedElement) -> bool {
    let shown_as_is = matches!(value.conversion, ConversionFlag::None | ConversionFlag::Str);
    value.debug_text.is_none() && value.format_spec.is_none() && shown_as_is
}
