//! The queue on disks whose power is cut, and on disks that fail.
//!
//! The program as it ships runs in a process of its own under `strace`, which writes down its system calls, or has them fail.
#![cfg(target_os = "linux")]

mod check;
mod failures;
mod model;
mod power;
mod recording;
mod strace;
mod workload;
