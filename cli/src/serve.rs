//! `flash serve`: the server. It holds what was deployed, serves it, and takes deployments through the control API, all on one port.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use std::sync::Arc;
use std::time::Duration;

use flash_control::{About, Apart, Builds, Control, Home, HomeError, Keyring, Logs, Parts, Running, api_service, now, scope};
use flash_environments::Environments;
use flash_gateway::{Gateway, Mount, Settings, Tls, TlsError};
use flash_jobs::Engines;
use flash_store::jobs::Jobs;
use flash_store::{Sqlite, Store};
use flash_workers::{Base, Interpreter, Orphans};
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch::channel;

use crate::drain::drain;
use crate::interpreter;
use crate::lines::{detach_errors, to_errors};
use crate::report::{Failure, Fault, Trouble, warn};
use crate::run::{address, epoch};
use crate::signals::Signals;

/// Where a manager of services wants to hear when this one is ready: sd_notify(3).
const MANAGER: &str = "NOTIFY_SOCKET";

/// What the user asked for.
#[derive(clap::Args)]
pub struct Arguments {
    /// The port; 0 takes one that is free
    #[arg(long, env = "FLASH_PORT", default_value_t = 8000)]
    port: u16,
    /// The address to listen on; on any other than loopback's, endpoints take an API key unless they are public
    #[arg(long, default_value = "127.0.0.1", value_parser = address)]
    host: IpAddr,
    /// Where everything is kept; without it FLASH_HOME, or .flash in the home directory
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// The interpreter for what is deployed without requirements; without it the one beside flash
    #[arg(long, value_name = "PYTHON")]
    python: Option<PathBuf>,
    /// Answer to this host's name too, as a proxy on this machine uses it; may be repeated
    #[arg(long, value_name = "NAME")]
    domain: Vec<String>,
    /// Believe `Forwarded` and `X-Forwarded-Host`, `-Proto` and `-Prefix`, for the addresses in OpenAPI documents; the proxy in front must
    /// set all of these headers, or remove them
    #[arg(long)]
    trust_proxy: bool,
    /// The certificate chain, as PEM; speaks TLS alone then, and reads both files again at SIGHUP
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, as PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The longest input of a job, and the longest output, as 512KiB or 32MiB
    #[arg(long, env = "FLASH_MAX_PAYLOAD", value_name = "SIZE", default_value = "32MiB", value_parser = size)]
    max_payload: usize,
    /// How long jobs are kept after their end, as 12h or 7d
    #[arg(long, env = "FLASH_JOB_RETENTION", value_name = "TIME", default_value = "7d", value_parser = span)]
    job_retention: Duration,
    /// How long a worker may be stopped, before its jobs are tried again elsewhere
    #[arg(long, env = "FLASH_JOB_LEASE", value_name = "TIME", default_value = "30s", value_parser = span)]
    job_lease: Duration,
    /// How long jobs that run may take to their end when the server stops; those that have not ended begin anew with the next start
    #[arg(long, env = "FLASH_DRAIN", value_name = "TIME", default_value = "30s", value_parser = span)]
    drain: Duration,
    /// Let webhooks go to addresses of this machine and of private networks
    #[arg(long, env = "FLASH_PRIVATE_WEBHOOKS")]
    private_webhooks: bool,
    /// Outlast the terminal; for who starts it in the background
    #[arg(long, hide = true)]
    background: bool,
}

/// Serves until Ctrl-C, SIGTERM, or `flash stop`.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.background {
        // Ctrl-C in the terminal of who started it is not for it. An error means that it leads a session already.
        let _ = rustix::process::setsid();
    }
    let home = arguments.home.clone().or_else(crate::connection::home).ok_or_else(no_home)?;
    let home = Home::take(&home).map_err(|error| home_failure(&error))?;
    let store = match home.trace() {
        Some(trace) => Sqlite::open_again(&home.state(), &trace),
        None => Sqlite::open(&home.state()),
    };
    let store = store.map_err(|error| store_failure(&error))?;
    let kept = flash_store::jobs::Settings { retention: arguments.job_retention, ..flash_store::jobs::Settings::default() };
    let jobs = Jobs::open(home.path(), kept).map_err(|error| jobs_failure(&error))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|cause| Failure::system("cannot start", &cause))?;
    let orphans = Orphans::adopt().map_err(|cause| Failure::system("cannot adopt orphans", &cause))?;
    let done = runtime.block_on(orphans.reaping(serve(arguments, &home, Arc::new(store), jobs)));
    let done = done.unwrap_or_else(|cause| Err(Failure::system("cannot listen for signals", &cause)));
    // Uploads that are being written, and the like: they leave nothing that the next start does not clean.
    runtime.shutdown_background();
    orphans.end();
    done
}

async fn serve(arguments: &Arguments, home: &Home, store: Arc<dyn Store>, jobs: Jobs) -> Result<(), Failure> {
    let failed = |what: &'static str| move |cause| Failure::system(what, &cause);
    let tls = tls(arguments)?;
    // With a certificate, and for whoever manages services, SIGHUP means to read again; else it is a terminal's end.
    let is_reloaded = tls.is_some() || std::env::var_os(MANAGER).is_some();
    let signals = if is_reloaded { Signals::without_hangup() } else { Signals::new() };
    let mut signals = signals.map_err(failed("cannot listen for signals"))?;
    let mut reloads = if is_reloaded { Some(signal(SignalKind::hangup()).map_err(failed("cannot listen for signals"))?) } else { None };
    let listener = listen(arguments).await?;
    let address = listener.local_addr().map_err(failed("cannot listen"))?;
    let url = url(address, tls.is_some());
    let (inner, workers_url) = listen_inside().await.map_err(failed("cannot listen for workers"))?;
    // Whoever is on this machine cannot hold the certificate against an address, and need not.
    let plain = match &tls {
        Some(_) => Some(listen_inside().await.map_err(failed("cannot listen for this machine"))?),
        None => None,
    };
    detach_errors();

    let token = home.token().map_err(|error| home_failure(&error))?;
    let keyring = Arc::new(keyring(&token, &*store)?);
    let limits = Settings { trust_proxy: arguments.trust_proxy, ..Settings::default() };
    let known = keyring.clone();
    let epoch = epoch();
    // Written until all workers have ended.
    let (logs, _writer) = Logs::start(home.logs(), epoch);
    let observed = logs.clone();
    let gateway = Gateway::new(limits.clone(), epoch)
        .with_observer(Arc::new(move |finished| observed.request(&finished)))
        .with_domains(arguments.domain.clone())
        .with_admission(Arc::new(move |head| admitted(&known, head)));
    let gateway = Arc::new(match &tls {
        Some(tls) => gateway.with_tls(tls.clone()),
        None => gateway,
    });
    let noted = logs.clone();
    let secret = home.secret().map_err(|error| home_failure(&error))?;
    let engines = Engines::start(jobs, job_settings(arguments), secret, Arc::new(move |endpoint, text| noted.note(endpoint, text)));
    let flash = std::env::current_exe().ok();
    let choice = interpreter::own(arguments.python.as_deref(), flash.as_deref());
    let python = tokio::select! {
        python = try_out(&choice) => python?,
        () = signals.next() => return Ok(()),
    };
    let about = About {
        version: env!("CARGO_PKG_VERSION").into(),
        addresses: vec![url.clone()],
        python: python.clone(),
        started: now(),
        drain: limits.timeout.max(arguments.drain),
    };
    let interpreter = workers_of(&choice);
    let parts = Parts {
        store,
        keyring,
        gateway: gateway.clone(),
        environments: Environments::new(home.path(), std::env::vars_os()),
        builds: Builds::new(home.builds()),
        apart: apart(home, &interpreter)?,
        interpreter,
        logs,
        workers_url,
        engines: engines.clone(),
    };
    let control = Control::new(parts, about);
    // Before anybody is accepted: what was deployed is there from the first request on.
    control.reconcile().map_err(|error| store_failure(&error))?;
    gateway.mount(vec![Mount::new(flash_api::ROOT, api_service(&control)), Mount::whole(flash_jobs::ROOT, flash_jobs::api(&engines))]);
    let (plain, plain_url) = plain.unzip();
    let pid = std::process::id();
    announce(home, &Running { pid, began: flash_control::began(pid), url: url.clone(), plain: plain_url }, arguments.background)?;
    say(&url, &python, home);
    if !address.ip().is_loopback() {
        to_errors("Endpoints that are not public take an API key: flash key create\n");
    }

    // Until the very end: requests under way may need other endpoints.
    let (_open, closed) = channel(false);
    tokio::spawn(flash_gateway::serve_workers(inner, gateway.clone(), control.means(), closed, limits.timeout));
    let (stop, stopped) = channel(false);
    if let Some(plain) = plain {
        tokio::spawn(flash_gateway::serve_operators(plain, gateway.clone(), stopped.clone(), limits.timeout));
    }
    let mut server = tokio::spawn(flash_gateway::serve(listener, gateway, stopped, limits.timeout));
    tell_manager(NotifyState::Ready);
    let reloading = async {
        match &mut reloads {
            Some(asked) => reload(tls.as_ref(), asked).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = &mut server => {}
        () = signals.next() => {}
        () = control.stopped() => {}
        () = control.tidy() => {}
        () = reloading => {}
    }
    tell_manager(NotifyState::Stopping);
    control.stop();
    let (requests, jobs) = (limits.timeout.as_secs_f64(), arguments.drain.as_secs_f64());
    let said = format!("Requests and jobs under way are finished first: requests for at most {requests} s, jobs for at most {jobs} s");
    let under_way = async {
        // An error would be a panic, after which nothing is left to drain.
        let (_, ()) = tokio::join!(&mut server, control.drain(arguments.drain));
    };
    drain(&stop, under_way, &said, control.close(), &mut signals).await;
    home.withdraw();
    Ok(())
}

/// A disk that is full hinders only who looks for this server in its file: as does who has started it in the background.
fn announce(home: &Home, running: &Running, is_looked_for: bool) -> Result<(), Failure> {
    match home.announce(running) {
        Err(error) if error.is_full() && !is_looked_for => {
            let remedy = format!(
                "make room there and start it again; until then `flash` on this machine finds it by --server {}, with a key in FLASH_API_KEY alone",
                running.url
            );
            warn(&Trouble::new(error.to_string(), format!("{}; it serves all the same", error.why()), remedy));
            Ok(())
        }
        announced => announced.map_err(|error| home_failure(&error)),
    }
}

fn admitted(keyring: &Keyring, head: &http::request::Parts) -> bool {
    let is_for_jobs = head.uri.path().strip_prefix(flash_jobs::ROOT).is_some_and(|rest| rest.starts_with('/'));
    if is_for_jobs { keyring.scope_of_client(head).is_some() } else { keyring.scope(head).is_some() }
}

fn job_settings(arguments: &Arguments) -> flash_jobs::Settings {
    flash_jobs::Settings {
        input_bytes: arguments.max_payload,
        output_bytes: arguments.max_payload,
        lease: arguments.job_lease,
        private_webhooks: arguments.private_webhooks,
        ..flash_jobs::Settings::default()
    }
}

fn say(url: &str, python: &str, home: &Home) {
    let text = format!("Serving at {url} from {} (Python {python})\n", home.path().display());
    if let Err(failure) = crate::output::print(&text) {
        warn(failure.first()); // it serves all the same
    }
}

fn tls(arguments: &Arguments) -> Result<Option<Tls>, Failure> {
    let (Some(chain), Some(key)) = (&arguments.tls_cert, &arguments.tls_key) else { return Ok(None) };
    let failure = |error: TlsError| Failure::new(Fault::Request, tls_trouble(&error));
    Tls::load(chain, key).map(Some).map_err(failure)
}

fn tls_trouble(error: &TlsError) -> Trouble {
    Trouble::new(error.to_string(), error.why(), error.remedy())
}

/// Tells whoever manages services, where one has started this process and waits to hear it.
fn tell_manager(state: NotifyState) {
    if let Err(error) = sd_notify::notify(&[state]) {
        let why = format!("{error}");
        warn(&Trouble::new(format!("cannot tell the service manager at {MANAGER}"), why, "see what its unit says of this service"));
    }
}

/// Reads the certificate again each time that it is asked to.
async fn reload(tls: Option<&Tls>, asked: &mut Signal) {
    while asked.recv().await.is_some() {
        match tls.map(Tls::reload) {
            None => to_errors("There is no certificate to read again; all goes on as it was\n"),
            Some(Ok(())) => to_errors("The certificate was read again; new connections get it\n"),
            Some(Err(error)) => {
                warn(&tls_trouble(&error));
                to_errors("The certificate stays as it was\n");
            }
        }
    }
}

/// Where the server is reached from this machine.
fn url(address: SocketAddr, encrypted: bool) -> String {
    let reached = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let scheme = if encrypted { "https" } else { "http" };
    format!("{scheme}://{}", SocketAddr::new(reached, address.port()))
}

async fn listen(arguments: &Arguments) -> Result<TcpListener, Failure> {
    let address = SocketAddr::new(arguments.host, arguments.port);
    TcpListener::bind(address).await.map_err(|error| {
        let trouble = if error.kind() == std::io::ErrorKind::AddrInUse {
            Trouble::new(
                format!("port {} is taken", arguments.port),
                "another program listens there; it may be another user's flash server, or one of another FLASH_HOME",
                format!("see which one: ss -ltnp 'sport = :{0}'; or choose another port with --port", arguments.port),
            )
        } else {
            Trouble::new(format!("cannot listen on {address}"), error.to_string(), "choose another address with --host or port with --port")
        };
        Failure::new(Fault::Request, trouble)
    })
}

/// A listener for this machine alone, on a port that the system chooses, and its URL.
async fn listen_inside() -> std::io::Result<(TcpListener, String)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let url = format!("http://{}", listener.local_addr()?);
    Ok((listener, url))
}

fn keyring(token: &str, store: &dyn Store) -> Result<Keyring, Failure> {
    let keyring = Keyring::new(token);
    for key in store.keys().map_err(|error| store_failure(&error))? {
        match scope(&key.scope) {
            Some(scope) => keyring.add(key.id, key.hash, scope),
            None => tracing::warn!(key = key.id, scope = key.scope, "a key of a scope that this release does not know lets nobody in"),
        }
    }
    Ok(keyring)
}

fn workers_of(choice: &interpreter::Choice) -> Interpreter {
    Interpreter { python: choice.python.clone(), package: interpreter::package(), routes: true }
}

/// What keeps workers apart. Where that is less than it could be, whoever starts the server is told.
fn apart(home: &Home, interpreter: &Interpreter) -> Result<Apart, Failure> {
    let needed: Vec<_> = [Some(&*interpreter.python), interpreter.package.as_deref()].into_iter().flatten().collect();
    let apart = Apart::new(home, "/proc/self/exe".into(), &needed);
    let apart = apart.map_err(|cause| Failure::system("cannot open its home for workers", &cause))?;
    if let Some(closed) = apart.closed() {
        warn(&Trouble::new(
            "deployed workers run as root, without its privileges",
            format!("each endpoint would have a user of its own, and `{}` lets none of them pass", closed.display()),
            "set FLASH_HOME, and choose an interpreter, where others may pass, as below /var/lib and /usr; or run the server as a plain user",
        ));
    }
    Ok(apart)
}

/// Whether workers can be started in this interpreter at all, told before anything is deployed. Gives its version.
async fn try_out(choice: &interpreter::Choice) -> Result<String, Failure> {
    let base = Base::new(workers_of(choice), Arc::new(|printed| to_errors(printed.text)));
    let zygote = base.zygote().await.map_err(|error| Failure::new(Fault::Request, Trouble::from(&error)))?;
    Ok(zygote.about.python.clone().unwrap_or_default())
}

fn no_home() -> Failure {
    let why = "neither FLASH_HOME nor HOME says where its state is to be";
    Failure::new(Fault::Usage, Trouble::new("the server has no place", why, "set FLASH_HOME, or name a directory with --home"))
}

fn home_failure(error: &HomeError) -> Failure {
    Failure::new(Fault::Request, Trouble::new(error.to_string(), error.why(), error.remedy()))
}

fn store_failure(error: &flash_store::Error) -> Failure {
    Failure::new(Fault::Request, Trouble::new(error.to_string(), error.why(), error.remedy()))
}

fn jobs_failure(error: &flash_store::jobs::Error) -> Failure {
    Failure::new(Fault::Request, Trouble::new(error.to_string(), error.why(), error.remedy()))
}

/// A size, as `512KiB` or `32MiB`; a bare number is of bytes.
fn size(text: &str) -> Result<usize, String> {
    let wrong = || format!("`{text}` is no size: it is as 512KiB or 32MiB, from 1KiB to 1GiB");
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "" | "B" => 1_usize,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    let bytes = number.parse::<usize>().ok().and_then(|number| number.checked_mul(unit));
    bytes.filter(|bytes| (1 << 10..=1 << 30).contains(bytes)).ok_or_else(wrong)
}

/// A time, as `30s`, `12h` or `7d`.
fn span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no time: it is as 500ms, 30s, 10m, 12h or 7d, and more than nothing");
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let milliseconds = match unit {
        "ms" => 1_u64,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 3600 * 1000,
        "d" => 24 * 3600 * 1000,
        _ => return Err(wrong()),
    };
    let number = number.parse::<u32>().ok().filter(|number| *number > 0).ok_or_else(wrong)?;
    Ok(Duration::from_millis(u64::from(number) * milliseconds))
}
