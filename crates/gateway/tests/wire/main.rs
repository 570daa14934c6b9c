//! What callers are told of what workers do, good or bad: real sockets and processes, no Python.

mod answers;
mod outcomes;
mod trial;
