//! What workers of deployed endpoints can do to the server, to other endpoints and to the machine: real ones, started by the real launcher, at
//! each level that this machine offers. Each level is held to what `docs/isolation.md` claims of it.
#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

mod attacks;
mod needs;
mod trial;
mod users;
