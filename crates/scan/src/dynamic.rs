//! Imports by a call: `import_module("name")`, `__import__("name")`, where the name is written out.

use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{Expr, Stmt};
use ruff_text_size::Ranged as _;

use crate::syntax::{Import, Origin};

const FUNCTIONS: [&str; 2] = ["import_module", "__import__"];

/// Whether a text may have any. Most have none, and need not be looked through.
pub(crate) fn mentioned(text: &str) -> bool {
    FUNCTIONS.iter().any(|function| text.contains(function))
}

/// All of them. The tree is one that may be walked.
pub(crate) fn imports(suite: &[Stmt]) -> Vec<Import> {
    let mut calls = Calls(Vec::new());
    calls.visit_body(suite);
    calls.0
}

struct Calls(Vec<Import>);

impl<'ast> Visitor<'ast> for Calls {
    fn visit_expr(&mut self, expression: &'ast Expr) {
        if let Expr::Call(call) = expression {
            let name = match &*call.func {
                Expr::Name(name) => name.id.as_str(),
                Expr::Attribute(attribute) => attribute.attr.as_str(),
                _ => "",
            };
            if FUNCTIONS.contains(&name)
                && let Some(Expr::StringLiteral(literal)) = call.arguments.args.first()
            {
                let text = literal.value.to_str();
                let module = text.trim_start_matches('.');
                let level = u32::try_from(text.len() - module.len()).unwrap_or(u32::MAX);
                let from = Origin { level, module: module.to_owned() };
                // What such a call brings is known to the program alone: never essential.
                self.0.push(Import { from, names: Vec::new(), at: call.start(), essential: false });
            }
        }
        visitor::walk_expr(self, expression);
    }
}
