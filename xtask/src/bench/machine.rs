//! What the kernel tells of processes, and of the machine they ran on.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use crate::failure::Failure;

/// Seconds of processor time that a process and its descendants have used so far, those that have ended included.
pub fn cpu_seconds(root: i32) -> Result<f64, Failure> {
    let stats = all_processes()?;
    let ticks: u64 =
        tree(root, &stats).iter().filter_map(|process| stats.get(process)).map(|stat| stat.ticks + stat.ticks_of_children).sum();
    Ok(seconds(ticks))
}

/// The same, of the programs that this one has started and seen end.
pub fn cpu_seconds_of_ended_children() -> Result<f64, Failure> {
    let path = "/proc/self/stat";
    let stat = parse_stat(&read(path)?).ok_or_else(|| unreadable(path, "it has too few fields"))?;
    Ok(seconds(stat.ticks_of_children))
}

/// What a process holds of the memory.
pub fn resident_bytes(process: i32) -> Result<u64, Failure> {
    let status = read(&format!("/proc/{process}/status"))?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.map(|kilobytes| kilobytes * 1024).ok_or_else(|| unreadable(&format!("/proc/{process}/status"), "it names no VmRSS"))
}

/// How many programs wanted a core of late, on average.
pub fn load_average() -> Result<f64, Failure> {
    let averages = read("/proc/loadavg")?;
    let last_minute = averages.split(' ').next().and_then(|average| average.parse().ok());
    last_minute.ok_or_else(|| unreadable("/proc/loadavg", "it does not begin with a number"))
}

/// The cores that this program, and so whatever it starts, may use.
pub fn cores() -> Result<Vec<u32>, Failure> {
    let path = "/proc/self/status";
    let status = read(path)?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    list.and_then(|list| parse_cores(list.trim())).ok_or_else(|| unreadable(path, "it names no cores"))
}

/// `0-2,5`, as the kernel writes lists.
fn parse_cores(list: &str) -> Option<Vec<u32>> {
    let mut cores = Vec::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        cores.extend(first.parse::<u32>().ok()?..=last.parse().ok()?);
    }
    Some(cores)
}

/// The machine in a line: processor, cores, kernel.
pub fn describe() -> Result<String, Failure> {
    let processors = read("/proc/cpuinfo")?;
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("unknown", |(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let kernel = read("/proc/sys/kernel/osrelease")?;
    Ok(format!("{model}, {cores} cores, Linux {}", kernel.trim()))
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

struct Stat {
    parent: i32,
    ticks: u64,
    ticks_of_children: u64,
}

fn all_processes() -> Result<HashMap<i32, Stat>, Failure> {
    let entries = fs::read_dir("/proc").map_err(|cause| unreadable("/proc", cause))?;
    let processes = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    // One that ends between the two steps has nothing to tell; its parent has its time.
    Ok(processes
        .filter_map(|process: i32| Some((process, parse_stat(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)?)))
        .collect())
}

fn tree(root: i32, stats: &HashMap<i32, Stat>) -> HashSet<i32> {
    let mut members = HashSet::from([root]);
    loop {
        let before = members.len();
        members.extend(stats.iter().filter(|(_, stat)| members.contains(&stat.parent)).map(|(process, _)| *process).collect::<Vec<_>>());
        if members.len() == before {
            return members;
        }
    }
}

/// Fields 4 (parent) and 14 to 17 (time in and for the process, in and for its ended children). The name, field 2, may hold anything.
fn parse_stat(stat: &str) -> Option<Stat> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3);
    let ticks = |number: usize| field(number)?.parse::<u64>().ok();
    Some(Stat { parent: field(4)?.parse().ok()?, ticks: ticks(14)? + ticks(15)?, ticks_of_children: ticks(16)? + ticks(17)? })
}

fn read(path: &str) -> Result<String, Failure> {
    fs::read_to_string(Path::new(path)).map_err(|cause| unreadable(path, cause))
}

fn unreadable(path: &str, why: impl std::fmt::Display) -> Failure {
    Failure::new(format!("`{path}` could not be read"), why, "run the bench on Linux, where a process lives until it has ended")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_is_read_behind_a_name_with_spaces_and_brackets() {
        let stat = parse_stat("7 (a) b (c) S 3 7 7 0 -1 0 0 0 0 0 100 20 3 1 20 0 1 0").expect("it is well formed");
        assert_eq!((stat.parent, stat.ticks, stat.ticks_of_children), (3, 120, 4));
    }

    #[test]
    fn a_list_of_cores_may_have_ranges_and_gaps() {
        assert_eq!(parse_cores("0-2,5"), Some(vec![0, 1, 2, 5]));
        assert_eq!(parse_cores("3"), Some(vec![3]));
        assert_eq!(parse_cores(""), None);
    }

    #[test]
    fn a_tree_has_grandchildren_and_no_strangers() {
        let stats =
            [(1, 0), (2, 1), (3, 2), (4, 0), (5, 4)].map(|(process, parent)| (process, Stat { parent, ticks: 0, ticks_of_children: 0 }));
        assert_eq!(tree(1, &stats.into()), HashSet::from([1, 2, 3]));
    }
}
