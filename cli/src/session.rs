//! `flash session`: the server behind one script's live calls. The script starts it with a pipe as its standard input, says on it
//! who it is, and reads on the standard output where the server listens. Either the pipe's end or the script's ends the session.
//!
//! What the script starts is not the server but a starter, which has the server for a child, hands on its one line, and ends. So the
//! server is no child of the script, which may wait for all of its own.

mod dependencies;

use std::io::{BufRead as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flash_gateway::{Access, Endpoint, Gateway, OpenEndpoint, Settings};
use flash_workers::{Base, Interpreter, Limits, MAX_SLOTS, Orphans, Pool, Workers};
use rustix::process::{Pid, PidfdFlags};
use serde::Deserialize;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::net::unix::pipe;
use tokio::sync::watch;

use crate::interpreter;
use crate::report::{Failure, Fault, Trouble};
use crate::session::dependencies::Dependencies;

/// How the two are told apart.
#[derive(clap::Args)]
pub struct Arguments {
    /// Serve, rather than start the process that does
    #[arg(long)]
    serve: bool,
}

/// What the script says of itself: one line of JSON.
#[derive(Deserialize)]
struct Script {
    /// Whoever shows it may make live calls.
    token: String,
    pid: u32,
    /// Its interpreter: workers run in the same.
    python: PathBuf,
    /// The version of the protocol between the two.
    protocol: u8,
}

/// Workers have this long to end by themselves once the script is gone.
const GRACE: Duration = Duration::from_millis(500);
/// Calls that may wait while the worker has [`MAX_SLOTS`]: a script that gathers more at once than it can ever await is told so.
const WAITING: usize = 16 * 1024;
/// What functions print between two calls is kept for the second, up to this many bytes.
const UNHEARD: usize = 256 * 1024;
/// Modules may take their time: a script's first call waits for them, and so does its user, who can see it.
const START_TIMEOUT: Duration = Duration::from_secs(600);

/// Starts the server, or serves the script until it ends.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    if !arguments.serve {
        return start().map_err(|cause| Failure::system("cannot start a session", &cause));
    }
    // Ctrl-C in the script's terminal is for the script, which may go on. An error means that this process leads a session already.
    let _ = rustix::process::setsid();
    // One thread: a script makes few calls at once, and each switch between threads costs more than it gains.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|cause| Failure::system("cannot start", &cause))?;
    let orphans = Orphans::adopt();
    let done = runtime.block_on(async {
        let served = match &orphans {
            Ok(orphans) => {
                let served = orphans.reaping(serve()).await;
                served.unwrap_or_else(|cause| Err(Failure::system("cannot listen for signals", &cause)))
            }
            Err(cause) => Err(Failure::system("cannot adopt orphans", cause)),
        };
        if let Err(failure) = &served {
            let Trouble { what, why, remedy, .. } = failure.first();
            say(&serde_json::json!({ "error": what, "why": why, "try": remedy }));
        }
        served
    });
    runtime.shutdown_background();
    if let Ok(orphans) = orphans {
        orphans.end();
    }
    done
}

/// Ends once the server has said its line: until then the server can see whose child its parent is.
fn start() -> std::io::Result<()> {
    let mut server = Command::new(std::env::current_exe()?);
    let mut server = server.args(["session", "--serve"]).stdin(Stdio::inherit()).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    std::io::BufReader::new(server.stdout.take().expect("it is piped")).read_line(&mut line)?;
    std::io::stdout().write_all(line.as_bytes())
}

async fn serve() -> Result<(), Failure> {
    let failed = |what: &'static str| move |cause| Failure::system(what, &cause);
    let stdin = rustix::io::dup(std::io::stdin().as_fd()).map_err(|error| Failure::system("cannot read standard input", &error.into()))?;
    let stdin = pipe::Receiver::from_owned_fd(stdin).map_err(|_| not_by_hand())?;
    let mut stdin = BufReader::new(stdin);
    let mut line = String::new();
    stdin.read_line(&mut line).await.map_err(failed("cannot read standard input"))?;
    let script: Script = serde_json::from_str(&line).map_err(|_| not_by_hand())?;
    if script.protocol != flash_wire::VERSION {
        return Err(other_version(script.protocol));
    }
    let Some(process) = watch_process(script.pid).map_err(failed("cannot watch the script"))? else { return Ok(()) };

    let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(failed("cannot listen on loopback"))?;
    let port = listener.local_addr().map_err(failed("cannot listen on loopback"))?.port();
    let python = script.python;
    let interpreter = Interpreter { python: python.clone(), package: interpreter::package(), routes: false };
    // What no endpoint printed has nobody to go to: the script's streams are its own.
    let base = Arc::new(Base::new(interpreter, Arc::new(|_| {})));
    let gateway = gateway(script.token, port, base.clone(), python);
    let (stop, stopped) = watch::channel(false);
    let server = tokio::spawn(flash_gateway::serve(listener, gateway.clone(), stopped, Duration::ZERO));
    say(&serde_json::json!({ "port": port }));
    // Started before the first call comes. Should it fail, that call says why.
    let started = tokio::spawn(async move { drop(base.zygote().await) });

    let mut rest = [0; 64];
    tokio::select! {
        _ = process.readable() => {}
        () = async { while matches!(stdin.read(&mut rest).await, Ok(1..)) {} } => {}
    }
    let closed = async {
        for pool in gateway.pools() {
            pool.close(Duration::ZERO).await;
        }
    };
    // Whoever has not ended by then is killed with this process.
    let _ = tokio::time::timeout(GRACE, closed).await;
    stop.send_replace(true);
    drop(server.await);
    started.abort();
    Ok(())
}

fn gateway(token: String, port: u16, base: Arc<Base>, python: PathBuf) -> Arc<Gateway> {
    let settings = Settings::default();
    let kept = flash_workers::Settings {
        limits: Limits { slots: MAX_SLOTS, ahead: 0, waiting: WAITING, grace: settings.timeout },
        workers: Workers::fixed(1),
        timeout: settings.timeout,
        start_timeout: START_TIMEOUT,
        replace_stuck: false,
        unheard: UNHEARD,
    };
    let host = serde_json::json!({ "port": port, "token": token });
    let open: OpenEndpoint = Arc::new(move |name, slots| {
        let config = serde_json::json!({ "endpoint": name, "functions": [], "inline": true, "reload": false, "host": host });
        let mut kept = kept.clone();
        kept.limits.slots = slots.unwrap_or(MAX_SLOTS);
        Endpoint::new(Pool::start(name, base.clone(), config, kept), [], Access::Live)
    });
    Arc::new_cyclic(|gateway| {
        let dependencies = Dependencies::new(gateway.clone(), open.clone(), python);
        let prepare = Arc::new(move |endpoint: &str, context: &Bytes, notes| dependencies.prepare(endpoint, context, notes));
        Gateway::new(settings, std::process::id()).with_token(token).with_open_endpoints(open).with_preparation(prepare)
    })
}

/// A descriptor that is readable once the script has ended; `None` when it has already.
fn watch_process(pid: u32) -> std::io::Result<Option<AsyncFd<OwnedFd>>> {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
    let opened = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(opened) => opened,
        Err(rustix::io::Errno::SRCH) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // It made the one who made us: when that is another, it has ended, and its number may be somebody else's by now.
    if grandparent()? != Some(pid) {
        return Ok(None);
    }
    flash_workers::watched(opened).map(Some)
}

/// The parent of our parent, as long as ours lives.
fn grandparent() -> std::io::Result<Option<Pid>> {
    let Some(parent) = rustix::process::getppid() else { return Ok(None) };
    let status = std::fs::read_to_string(format!("/proc/{parent}/status"))?;
    let number = status.lines().find_map(|line| line.strip_prefix("PPid:")).and_then(|number| number.trim().parse().ok());
    // Still our parent: what was read is about it.
    Ok(number.and_then(Pid::from_raw).filter(|_| rustix::process::getppid() == Some(parent)))
}

/// One line for the script. Nothing else is ever written there.
fn say(message: &serde_json::Value) {
    // Nobody listens when the script has ended meanwhile, which ends the session anyway.
    let _ = writeln!(std::io::stdout().lock(), "{message}");
}

fn not_by_hand() -> Failure {
    Failure::new(
        Fault::Usage,
        Trouble::new(
            "`flash session` is not started by hand",
            "a script's first live call starts it, with a pipe as its standard input",
            "call a function that is decorated with `@remote` of a `LiveLoadBalancer`",
        ),
    )
}

fn other_version(theirs: u8) -> Failure {
    Failure::new(
        Fault::Request,
        Trouble::new(
            format!("the script's `runpod_flash` speaks version {theirs} of the protocol, this `flash` speaks {}", flash_wire::VERSION),
            "the two are from different releases of openflash",
            "install openflash in the script's environment from where this `flash` came",
        ),
    )
}
