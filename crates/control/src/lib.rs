//! x

pub mod service;
