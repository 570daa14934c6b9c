//! The server that runs from this user's home, as its `server.json` says: the only one that is shown the local token.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use http::Uri;
use rustix::process::{Pid, test_kill_process};

use crate::client::is_loopback;
use crate::connection::home;

/// A server that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Where it is reached.
    pub url: String,
    /// Where it is asked without TLS, if that is elsewhere.
    pub plain: Option<String>,
    /// Its `server.json`.
    pub file: PathBuf,
}

impl Running {
    /// The one that runs from this user's home. One that was killed leaves its file behind, and its number may be another's by now: the
    /// process must be one of the file's owner, and have begun when the file says.
    pub fn find() -> Option<Self> {
        let path = home()?.join("server.json");
        let file = File::open(&path).ok()?;
        let owner = file.metadata().ok()?.uid();
        let mut text = Vec::new();
        file.take(64 << 10).read_to_end(&mut text).ok()?;
        let flash_control::Running { pid, began, url, plain } = serde_json::from_slice(&text).ok()?;
        let runs = runs(Path::new("/proc"), pid, owner) && began == flash_control::began(pid);
        runs.then_some(Self { url, plain, file: path })
    }

    /// Whether a URL is this server's, `localhost` standing for its address.
    pub fn is_at(&self, url: &str) -> bool {
        let (Ok(own), Ok(named)) = (self.url.parse::<Uri>(), url.parse::<Uri>()) else { return false };
        let (Some(here), Some(there)) = (own.host(), named.host()) else { return false };
        let is_root = matches!(named.path(), "" | "/") && named.query().is_none();
        let same = here.eq_ignore_ascii_case(there) || (there.eq_ignore_ascii_case("localhost") && is_loopback(here));
        is_root && same && own.scheme() == named.scheme() && port(&own) == port(&named)
    }
}

fn port(url: &Uri) -> Option<u16> {
    url.port_u16().or(match url.scheme_str() {
        Some("http") => Some(80),
        Some("https") => Some(443),
        _ => None,
    })
}

/// Whether a process runs that is a `flash`; where the system has no such files, none does.
pub fn is_flash(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    field("Name:") == Some("flash") && field("State:").is_some_and(|state| !state.starts_with(['Z', 'X']))
}

/// Whether a process of this user runs: one that has ended and that nobody has asked after does not.
fn runs(processes: &Path, pid: u32, owner: u32) -> bool {
    let Ok(status) = fs::read_to_string(processes.join(pid.to_string()).join("status")) else {
        // Where the system has no such files, who may send it signals.
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        return !processes.join("self/status").exists() && pid.is_some_and(|pid| test_kill_process(pid).is_ok());
    };
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let user = field("Uid:").and_then(|ids| ids.split_ascii_whitespace().nth(1)?.parse().ok());
    user == Some(owner) && field("State:").is_some_and(|state| !state.starts_with(['Z', 'X']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_at_its_own_url_and_at_localhost() {
        let at = |own: &str, url: &str| Running { url: own.into(), plain: None, file: PathBuf::new() }.is_at(url);
        let own = "http://127.0.0.1:8000";
        for same in ["http://127.0.0.1:8000", "http://127.0.0.1:8000/", "http://localhost:8000", "HTTP://LOCALHOST:8000"] {
            assert!(at(own, same), "{same}");
        }
        for other in [
            "http://127.0.0.1:8001",
            "http://127.0.0.1",
            "https://127.0.0.1:8000",
            "http://127.0.0.2:8000",
            "http://[::1]:8000",
            "http://127.0.0.1:8000/prefix",
            "http://127.0.0.1:8000@elsewhere",
            "http://example.org:8000",
            "nonsense",
        ] {
            assert!(!at(own, other), "{other}");
        }
        assert!(at("http://[::1]:80", "http://localhost"));
        assert!(at("http://192.168.1.5:8000", "http://192.168.1.5:8000"));
        assert!(!at("http://192.168.1.5:8000", "http://localhost:8000"));
    }

    #[test]
    fn a_process_counts_while_it_runs_as_the_files_owner() {
        let directory = tempfile::tempdir().unwrap();
        let status = |pid: u32, state: &str, user: u32| {
            fs::create_dir_all(directory.path().join(pid.to_string())).unwrap();
            let text = format!("Name:\tflash\nState:\t{state}\nUid:\t0\t{user}\t0\t0\n");
            fs::write(directory.path().join(pid.to_string()).join("status"), text).unwrap();
        };
        fs::create_dir(directory.path().join("self")).unwrap();
        fs::write(directory.path().join("self/status"), "").unwrap();
        status(1, "S (sleeping)", 1000);
        status(2, "Z (zombie)", 1000);
        let runs = |pid, owner| runs(directory.path(), pid, owner);
        assert!(runs(1, 1000));
        assert!(!runs(1, 1001), "another user's");
        assert!(!runs(2, 1000), "it has ended");
        assert!(!runs(3, 1000), "there is none");
    }

    #[test]
    fn this_process_runs() {
        let owner = fs::metadata("/proc/self").unwrap().uid();
        assert!(runs(Path::new("/proc"), std::process::id(), owner));
    }
}
