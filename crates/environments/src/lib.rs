//! Environments for functions' dependencies, made by `uv`: once for what is asked, shared by everybody of one `FLASH_HOME`.
//!
//! `flash run` and sessions ask for an [`Overlay`]: what an interpreter lacks, in a directory that goes on the import path of its workers. A
//! server asks for an [`Environment`]: a virtual environment that holds a lock, and what workers need. Both block, say what goes on, and
//! can be cancelled. What nobody has used for long is removed by a server alone. This crate knows no HTTP, no store, no endpoints and no workers; it never imports what it installs.

mod cancel;
mod environments;
mod error;
mod interpreter;
mod place;
mod prune;
mod uv;

pub use cancel::Cancel;
pub use environments::{Asked, Environment, Environments, Overlay, WORKERS_NEED};
pub use error::Error;
