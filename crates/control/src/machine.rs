//! What the machine has: read once, when something is to be deployed on it.

use std::fs;
use std::path::{Path, PathBuf};

use flash_manifest::Machine;

/// What this machine has to give to workers, as far as this process may use it.
pub fn machine() -> Machine {
    // Counts the processors that affinity and the control group's quota leave.
    let processors = std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX));
    Machine { processors, gpus: u32::try_from(gpus().len()).unwrap_or(u32::MAX), memory_mib: memory(Path::new("/")) }
}

/// The GPUs that this process may use, as CUDA names them.
pub fn gpus() -> Vec<String> {
    visible(devices(Path::new("/dev")), std::env::var("CUDA_VISIBLE_DEVICES").ok().as_deref())
}

/// Which of so many GPUs are visible, where `CUDA_VISIBLE_DEVICES` says this.
fn visible(count: usize, said: Option<&str>) -> Vec<String> {
    let Some(said) = said else { return (0..count).map(|number| number.to_string()).collect() };
    // As CUDA does: what comes behind a name that is none does not count.
    let is_one =
        |name: &&str| name.parse().map_or_else(|_| name.starts_with("GPU-") || name.starts_with("MIG-"), |number: usize| number < count);
    said.split(',').map(str::trim).take_while(is_one).take(count).map(str::to_owned).collect()
}

/// NVIDIA's devices: `nvidia0`, `nvidia1`, ... beside `nvidiactl` and others, which are none.
fn devices(directory: &Path) -> usize {
    let is_gpu = |name: &str| name.strip_prefix("nvidia").is_some_and(|number| number.parse::<u16>().is_ok());
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_str().is_some_and(is_gpu)).count()
}

/// All memory there is, or what the control group allows of it, in MiB.
fn memory(root: &Path) -> Option<u32> {
    let meminfo = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    let bytes = limits(root).fold(kibibytes * 1024, u64::min);
    u32::try_from(bytes / (1024 * 1024)).ok()
}

/// The limits of this process's control group, and of those around it.
fn limits(root: &Path) -> impl Iterator<Item = u64> {
    let groups = root.join("sys/fs/cgroup");
    let own = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    // The line of the unified hierarchy; others may stand beside it.
    let path = own.lines().find_map(|line| line.strip_prefix("0::/")).map(|path| groups.join(path)).unwrap_or_else(|| groups.clone());
    let within: Vec<PathBuf> = path.ancestors().take_while(|group| group.starts_with(&groups)).map(Path::to_owned).collect();
    // `max` is no limit.
    within.into_iter().filter_map(|group| fs::read_to_string(group.join("memory.max")).ok()?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder can be made");
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("it is in the folder")).expect("it can be made");
            fs::write(path, text).expect("it can be written");
        }
        folder
    }

    #[test]
    fn gpus_are_counted_by_their_devices() {
        assert_eq!(devices(folder(&[("null", ""), ("nvidiactl", ""), ("nvidia-uvm", ""), ("nvidia-caps/x", "")]).path()), 0);
        assert_eq!(devices(folder(&[("nvidia0", ""), ("nvidia1", ""), ("nvidia10", ""), ("nvidiactl", "")]).path()), 3);
        assert_eq!(devices(Path::new("/nowhere")), 0);
    }

    #[test]
    fn gpus_that_the_server_was_not_given_are_none_of_its_workers() {
        let check = |count, said, expected: &[&str]| assert_eq!(visible(count, said), expected, "{said:?}");
        check(0, None, &[]);
        check(3, None, &["0", "1", "2"]);
        check(3, Some("2, 0"), &["2", "0"]);
        check(3, Some(""), &[]);
        check(3, Some("1,-1,2"), &["1"]);
        check(3, Some("1,9"), &["1"]);
        check(2, Some("GPU-8f,MIG-1,0"), &["GPU-8f", "MIG-1"]);
        check(0, Some("0"), &[]);
    }

    #[test]
    fn memory_is_what_there_is_or_what_the_control_group_allows() {
        let meminfo = ("proc/meminfo", "MemTotal:       16777216 kB\nMemFree:         1 kB\n");
        let check = |files: &[(&str, &str)], expected| assert_eq!(memory(folder(files).path()), expected, "{files:?}");
        check(&[meminfo], Some(16384));
        check(&[meminfo, ("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/memory.max", "max\n")], Some(16384));
        let group = ("proc/self/cgroup", "1:cpu:/x\n0::/a/b\n");
        check(&[meminfo, group, ("sys/fs/cgroup/a/b/memory.max", "1073741824\n")], Some(1024));
        let around = ("sys/fs/cgroup/a/memory.max", "536870912\n");
        check(&[meminfo, group, ("sys/fs/cgroup/a/b/memory.max", "1073741824\n"), around], Some(512));
        check(&[meminfo, group, ("sys/fs/cgroup/other/memory.max", "1\n")], Some(16384));
        check(&[meminfo, ("proc/self/cgroup", "0::/a\n"), ("sys/fs/cgroup/a/memory.max", "99999999999999\n")], Some(16384));
        check(&[], None);
        check(&[("proc/meminfo", "MemTotal: some\n")], None);
    }

    #[test]
    fn this_machine_can_be_told() {
        let machine = machine();
        assert!(machine.processors >= 1 && machine.memory_mib.is_some_and(|memory| memory > 64), "{machine:?}");
    }
}
