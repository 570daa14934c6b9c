//! An endpoint as the gateway sees it.

use flash_manifest::PathPattern;
use flash_workers::Pool;
use http::Method;

use crate::matcher::Routes;

/// Whether an endpoint takes live calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Routes only: there is no `/execute`, whatever a request says.
    Routes,
    /// Routes, and `/execute` for whoever has the session's token.
    Live,
}

/// Routes and the workers behind them.
pub struct Endpoint {
    pub(crate) name: String,
    pub(crate) routes: Routes,
    pub(crate) access: Access,
    pub(crate) pool: Pool,
}

impl Endpoint {
    /// An endpoint whose routes stand in the order of the pool's functions.
    pub fn new(pool: Pool, routes: impl IntoIterator<Item = (Method, PathPattern)>, access: Access) -> Self {
        Self { name: pool.name().to_owned(), routes: Routes::new(routes), access, pool }
    }

    /// Its workers.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }
}
