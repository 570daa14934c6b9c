//! The queue on disks whose power is cut, and on disks that fail.
//!
//! The program as it ships runs in a process of its own: under `strace`, which writes down its system calls, or behind a file layer that has
//! them fail.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

mod check;
mod failures;
mod faults;
mod killed;
mod model;
mod power;
mod recording;
mod strace;
mod workload;
