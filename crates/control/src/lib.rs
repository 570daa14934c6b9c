//! x

mod machine;
pub mod service;

pub use machine::machine;
