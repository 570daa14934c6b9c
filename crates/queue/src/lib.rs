//! A job's life as rules: what may happen to it, what follows, when it is tried again, and what a client may ask for.
//!
//! The store (`flash-store`) keeps lives on the disk and asks at each event. There is no clock here, no disk and no chance: the time and the
//! jitter come in with each event, so that tests drive jobs through days in microseconds.

mod backoff;
mod life;
mod line;
mod policy;
mod time;

pub use backoff::wait;
pub use life::{Event, Life, Noted, Place, Refused, State, Step, step};
pub use line::Line;
pub use policy::{Asked, Breach, Limits, MOST_LOSSES, Policy};
pub use time::Timestamp;
