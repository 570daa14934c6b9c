//! flash
fn main() {}
