//! placeholder
use crate::report::Failure;
/// a
#[derive(clap::Args)]
pub struct Arguments {}
/// b
pub fn run(_: &Arguments) -> Result<(), Failure> { Ok(()) }
