//! Whether a function is a generator.

use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{Expr, Stmt};

/// Whether a function with this body yields. The tree is one that may be walked.
pub(crate) fn yields(body: &[Stmt]) -> bool {
    let mut search = Search(false);
    search.visit_body(body);
    search.0
}

struct Search(bool);

impl<'ast> Visitor<'ast> for Search {
    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        // What stands in those is theirs; their decorators and defaults may not yield where anybody reads the code.
        if !self.0 && !matches!(statement, Stmt::FunctionDef(_) | Stmt::ClassDef(_)) {
            visitor::walk_stmt(self, statement);
        }
    }

    fn visit_expr(&mut self, expression: &'ast Expr) {
        match expression {
            Expr::Yield(_) | Expr::YieldFrom(_) => self.0 = true,
            Expr::Lambda(_) => {}
            _ => visitor::walk_expr(self, expression),
        }
    }
}
