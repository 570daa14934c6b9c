//! One turn of load at a queue, by a program that tells of it in a line of JSON.

use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

use super::daemon::Daemon;
use crate::bench::figures::Turn;
use crate::bench::{machine, unexpected};
use crate::failure::Failure;
use crate::{process, project};

/// The line.
#[derive(Deserialize)]
struct Told {
    count: u64,
    seconds: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
}

/// A program of `bench/src/bin`.
pub fn program(name: &str) -> Command {
    let path: PathBuf = project::target().join("release").join(name);
    Command::new(path)
}

/// Runs a load; the processor time is that of these programs.
pub fn turn(load: &mut Command, servers: &mut [&mut Daemon]) -> Result<Turn, Failure> {
    let used = |servers: &[&mut Daemon]| servers.iter().map(|server| server.cpu_seconds()).sum::<Result<f64, Failure>>();
    for server in &mut *servers {
        server.check()?;
    }
    let (before, before_load) = (used(servers)?, machine::cpu_seconds_of_ended_children()?);
    let printed = process::read(load)?;
    let (used, used_by_load) = (used(servers)? - before, machine::cpu_seconds_of_ended_children()? - before_load);
    let line = printed.lines().last().unwrap_or_default();
    let Told { count, seconds, p50_us, p99_us, p999_us } =
        serde_json::from_str(line).map_err(|cause| unexpected(&process::shown(load), format!("{cause}: {line}")))?;
    if count == 0 {
        return Err(unexpected(&process::shown(load), "no job has ended"));
    }
    let per_second = count as f64 / seconds;
    let cpu_seconds_per_1000 = used / (count as f64 / 1000.0);
    Ok(Turn { per_second, p50_us, p99_us, p999_us, cpu_seconds_per_1000, load_cores: used_by_load / seconds })
}
