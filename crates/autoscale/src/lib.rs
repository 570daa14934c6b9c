//! How many workers an endpoint has, and when one that failed is tried again: what was seen and the time in, decisions and their reasons out.
//!
//! The pool (`flash-workers`) asks. There is no clock here, no process and no dice: both rules are values that tests drive through hours in
//! microseconds.

mod backoff;
mod scaler;

pub use backoff::Backoff;
pub use scaler::{Decision, Load, Policy, Reason, Scaler, Worker};
