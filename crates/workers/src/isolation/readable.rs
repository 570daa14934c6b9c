//! What programs need to see of a machine: the system's programs and libraries, the interpreter's, devices.

use std::path::{Path, PathBuf};

/// Programs and libraries, and what the kernel tells.
const SYSTEM: [&str; 13] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix/store",
    "/gnu/store",
    "/proc",
    "/sys",
    // Where names are resolved: `/etc/resolv.conf` leads here, and is replaced as networks come and go.
    "/run/systemd/resolve",
    "/run/NetworkManager",
];

/// What is read of `/etc` by libraries, for processes that are root without its privileges: these own what is secret there.
const SETTINGS: [&str; 40] = [
    "/etc/OpenCL",
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/ca-certificates.conf",
    "/etc/crypto-policies",
    "/etc/debian_version",
    "/etc/default/locale",
    "/etc/egl",
    "/etc/fonts",
    "/etc/gai.conf",
    "/etc/glvnd",
    "/etc/group",
    "/etc/host.conf",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/inputrc",
    "/etc/krb5.conf",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/locale.alias",
    "/etc/locale.conf",
    "/etc/magic",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/rpc",
    "/etc/services",
    "/etc/ssl/cert.pem",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/terminfo",
    "/etc/timezone",
];

/// Devices that are there for everybody.
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// What accelerators are reached by.
const ACCELERATORS: [&str; 6] = ["nvidia", "dri", "kfd", "accel", "infiniband", "dxg"];

/// What every program may read. Their own user, or the server's where that is not root, is kept from secrets in `/etc` by their modes.
pub(super) fn system(own_user: bool) -> Vec<PathBuf> {
    let settings: &[&str] = if own_user || !rustix::process::geteuid().is_root() { &["/etc"] } else { &SETTINGS };
    SYSTEM.iter().chain(settings).map(PathBuf::from).collect()
}

/// The directories of an interpreter: its virtual environment's, and those of the one it was made of. Of each prefix only what belongs to
/// Python, for the prefix may be somebody's home.
pub(super) fn interpreter(python: &Path) -> Vec<PathBuf> {
    let resolved = python.canonicalize().unwrap_or_else(|_| python.to_owned());
    let mut prefixes: Vec<PathBuf> = Vec::new();
    if let Some(environment) = python.parent().and_then(Path::parent)
        && let Ok(settings) = std::fs::read_to_string(environment.join("pyvenv.cfg"))
    {
        prefixes.push(environment.to_owned());
        let home = settings.lines().filter_map(|line| line.split_once('=')).find(|(key, _)| key.trim() == "home");
        prefixes.extend(home.and_then(|(_, home)| Some(Path::new(home.trim()).parent()?.to_owned())));
    }
    prefixes.extend(resolved.parent().and_then(Path::parent).map(Path::to_owned));
    let parts =
        |prefix: PathBuf| ["bin", "lib", "lib64", "libexec", "include", "share", "etc", "ssl", "pyvenv.cfg"].map(|part| prefix.join(part));
    prefixes.into_iter().flat_map(parts).chain([resolved]).collect()
}

/// POSIX shared memory and semaphores.
pub(super) fn shared_memory() -> Option<PathBuf> {
    Some("/dev/shm".into())
}

/// Devices that may be used. Terminals are among them where modes keep those of others away.
pub(super) fn devices(own_user: bool) -> Vec<PathBuf> {
    let named = std::fs::read_dir("/dev").into_iter().flatten().flatten().filter(|entry| {
        let name = entry.file_name();
        ACCELERATORS.iter().any(|prefix| name.to_string_lossy().starts_with(prefix))
    });
    let terminals: &[&str] = if own_user { &["/dev/ptmx", "/dev/pts"] } else { &[] };
    DEVICES.iter().chain(terminals).map(PathBuf::from).chain(named.map(|entry| entry.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interpreter_in_somebody_s_home_does_not_open_that_home() {
        let home = tempfile::tempdir().expect("there is room");
        std::fs::create_dir(home.path().join("bin")).expect("there is room");
        let python = home.path().join("bin/python");
        std::fs::write(&python, "").expect("there is room");
        let home = home.path().canonicalize().expect("it is there");
        let found = interpreter(&home.join("bin/python"));
        assert!(found.contains(&home.join("lib")), "{found:?}");
        assert!(!found.contains(&home), "{found:?}");
        for secret in [".ssh", ".flash"] {
            assert!(!found.iter().any(|path| home.join(secret).starts_with(path)), "{found:?}");
        }
    }
}
