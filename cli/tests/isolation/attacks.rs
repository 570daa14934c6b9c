//! What workers try that they should not.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::{Child, Command, Stdio};

use flash_workers::{Landlock, Level};

use crate::trial::{Said, Setup, Trial, levels, strongest};

/// Tries code at each level: `refused` says at which ones the system must not let it. At the others it must do, so that the code is known to
/// try what it says.
async fn check<const N: usize>(codes: impl Fn(&Trial) -> [String; N], refused: impl Fn(Level) -> bool) {
    for level in levels() {
        let trial = Setup::of(level).start();
        for code in codes(&trial) {
            let said = trial.run(&code).await;
            if refused(level) {
                assert!(said.is_refused(), "at level {level}: {code}: {said:?}");
            } else {
                assert!(matches!(said, Said::Value(_)), "at level {level}: {code}: {said:?}");
            }
        }
        trial.end().await;
    }
}

/// At the levels that keep from it by either.
fn user_or_landlock(level: Level) -> bool {
    level.user || level.landlock != Landlock::No
}

/// A process of the server's user.
struct Victim(Child);

impl Victim {
    fn start() -> Self {
        Self(Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap())
    }

    fn lives(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test]
async fn the_token_and_the_state_are_not_read() {
    let code = |trial: &Trial, file| format!("said = open({:?}).read()", trial.path(file));
    check(|trial| ["token", "state.db"].map(|file| code(trial, file)), user_or_landlock).await;
}

#[tokio::test]
async fn the_state_is_not_emptied() {
    let truncates = |level: Level| level.user || level.landlock == Landlock::Full;
    check(|trial| [format!("import os; os.truncate({:?}, 0)", trial.path("state.db"))], truncates).await;
}

#[tokio::test]
async fn what_there_is_beside_its_own_is_not_listed() {
    let code = |trial: &Trial, directory| format!("import os; said = os.listdir({:?})", trial.path(directory));
    check(|trial| ["", "builds", "workers", "workers/homes"].map(|directory| code(trial, directory)), user_or_landlock).await;
}

#[tokio::test]
async fn another_endpoint_s_home_is_not_read() {
    check(|trial| [format!("said = open({:?}).read()", trial.path("workers/homes/other/cached"))], user_or_landlock).await;
}

#[tokio::test]
async fn another_endpoint_s_build_is_not_read_where_landlock_is() {
    let code = |trial: &Trial| format!("said = open({:?}).read()", trial.path("builds/two/src/app.py"));
    check(|trial| [code(trial)], |level| level.landlock != Landlock::No).await;
}

#[tokio::test]
async fn its_own_build_is_not_written() {
    let codes = |trial: &Trial| {
        [
            format!("open({:?}, 'w').write('x')", trial.path("builds/one/src/new.py")),
            format!("open({:?}, 'a').write('#')", trial.path("builds/one/src/app.py")),
            // Not by the links to it that are in the working directory either.
            "open('data.json', 'a').write(' ')".into(),
        ]
    };
    check(codes, user_or_landlock).await;
}

#[tokio::test]
async fn the_server_is_sent_no_signal() {
    let server = std::process::id();
    let claimed = |level: Level| level.user || level.landlock == Landlock::Full;
    check(|_| [format!("import os, signal; os.kill({server}, signal.SIGCONT)")], claimed).await;
}

#[tokio::test]
async fn the_server_s_memory_environment_and_files_are_not_seen() {
    let server = std::process::id();
    let codes = [
        format!("said = len(open('/proc/{server}/environ', 'rb').read())"),
        format!("import os; said = os.readlink('/proc/{server}/fd/0')"),
        format!("open('/proc/{server}/fd/0')"),
        format!("open('/proc/{server}/mem', 'rb')"),
        format!("said = open('/proc/{server}/maps').read(100)"),
        format!("import os; said = os.readlink('/proc/{server}/cwd')"),
    ];
    // Root that has lost its privileges may not look at root that has them: no control is had there.
    for level in levels().into_iter().filter(|level| user_or_landlock(*level)) {
        let trial = Setup::of(level).start();
        for code in &codes {
            let said = trial.run(code).await;
            assert!(said.is_refused(), "at level {level}: {code}: {said:?}");
        }
        trial.end().await;
    }
}

#[tokio::test]
async fn no_process_of_others_is_traced() {
    let victim = Victim::start();
    let code = format!(
        "import ctypes, os\n\
         libc = ctypes.CDLL(None, use_errno=True)\n\
         if libc.ptrace(0x4206, {}, 0, 0) != 0:\n    raise PermissionError(ctypes.get_errno())",
        victim.0.id()
    );
    for level in levels().into_iter().filter(|level| user_or_landlock(*level)) {
        let trial = Setup::of(level).start();
        let said = trial.run(&code).await;
        assert_eq!(said, Said::Raised("PermissionError".into(), "1".into()), "at level {level}");
        trial.end().await;
    }
}

#[tokio::test]
async fn abstract_sockets_of_others_are_out_of_reach_where_landlock_keeps_from_them() {
    let name = format!("flash-test-{}", std::process::id());
    let _listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let code = format!("import socket; socket.socket(socket.AF_UNIX).connect('\\0{name}')");
    check(|_| [code.clone()], |level| level.landlock == Landlock::Full).await;
}

#[tokio::test]
async fn nothing_is_had_back_once_it_is_given_up() {
    for level in levels() {
        let trial = Setup::of(level).start();
        let status = trial.value("said = dict(line.split(':\\t', 1) for line in open('/proc/self/status').read().splitlines())").await;
        for field in ["CapPrm", "CapEff", "CapInh", "CapAmb"] {
            assert_eq!(status[field], "0000000000000000", "{field} at level {level}");
        }
        assert_eq!(status["NoNewPrivs"], "1", "at level {level}");
        if let Some(user) = trial.user {
            assert_eq!(status["Uid"], format!("{user}\t{user}\t{user}\t{user}"));
            assert_eq!(status["Gid"], format!("{user}\t{user}\t{user}\t{user}"));
            assert_eq!(status["Groups"].as_str().unwrap().trim(), "");
        }
        // A program that it starts is in the same place.
        let capable = "import subprocess; said = subprocess.check_output(['grep', 'CapEff', '/proc/self/status'], text=True)";
        assert_eq!(trial.value(capable).await, "CapEff:\t0000000000000000\n", "at level {level}");
        assert!(trial.run("import os; os.setuid(1)").await.is_refused() || trial.user.is_none() && !rustix::process::geteuid().is_root());
        trial.end().await;
    }
}

#[tokio::test]
async fn it_has_no_terminal_and_none_of_the_server_s_descriptors() {
    // Not closed when a program is started, as a service manager's may be.
    let left_open = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::empty()).unwrap();
    let trial = Setup::of(strongest()).start();
    let code = "import os\n\
        places = ['/proc/self/fd/' + name for name in os.listdir('/proc/self/fd')]\n\
        said = [os.readlink(place) for place in places if os.path.lexists(place)]";
    let found = trial.value(code).await;
    assert!(found.to_string().contains("pipe:["), "it has its standard streams: {found}");
    assert!(!found.to_string().contains(&format!("pipe:[{}]", rustix::fs::fstat(&left_open.0).unwrap().st_ino)), "{found}");
    assert_eq!(trial.value("import os; said = os.getsid(0) == os.getsid(os.getppid())").await, true);
    // Of the file rather than by `getsid`: where the leader of our session is outside our namespace of processes, it is 0, which rustix does not expect.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let ours: i32 = stat.rsplit_once(") ").unwrap().1.split(' ').nth(3).unwrap().parse().unwrap();
    assert_ne!(trial.value("import os; said = os.getsid(0)").await, ours);
    trial.end().await;
}

/// Its modules run in the zygote as well, which hands the host a descriptor of each process that it has forked: here that of another one.
const HANDS_OVER: &str = r#"
import os
from runpod_flash import LiveLoadBalancer, remote

api = LiveLoadBalancer(name="probe")
real = os.pidfd_open
os.pidfd_open = lambda pid: real(int(os.environ["VICTIM"]))


@remote(api, method="POST", path="/do")
def do(code: str):
    return code
"#;

#[tokio::test]
async fn the_host_kills_nobody_for_a_zygote_that_hands_over_another_process() {
    let mut victim = Victim::start();
    let number: &'static str = victim.0.id().to_string().leak();
    let environment: &'static [(&str, &str)] = vec![("VICTIM", number)].leak();
    let trial = Setup { app: HANDS_OVER, environment, ..Setup::of(strongest()) }.start();
    let outcome = trial.outcome("").await;
    assert!(
        matches!(&outcome, flash_workers::Outcome::Failed { error, .. } if matches!(**error, flash_workers::Error::Foreign)),
        "{outcome:?}"
    );
    trial.end().await;
    assert!(victim.lives());
}
