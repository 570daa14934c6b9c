//! `flash serve`: the server. It holds what was deployed, serves it, and takes deployments through the control API, all on one port.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use flash_control::{About, Apart, Builds, Control, Home, HomeError, Keyring, Logs, Parts, Running, api_service, now, scope};
use flash_environments::Environments;
use flash_gateway::{Gateway, Mount, Settings, Tls, TlsError};
use flash_store::{Sqlite, Store};
use flash_workers::{Base, Interpreter, Orphans};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch::channel;

use crate::drain::drain;
use crate::interpreter;
use crate::lines::{detach_errors, to_errors};
use crate::report::{Failure, Fault, Trouble, warn};
use crate::run::{address, epoch};
use crate::signals::Signals;

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
    let store = Sqlite::open(&home.state()).map_err(|error| store_failure(&error))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|cause| Failure::system("cannot start", &cause))?;
    let orphans = Orphans::adopt().map_err(|cause| Failure::system("cannot adopt orphans", &cause))?;
    let done = runtime.block_on(serve(arguments, &home, Arc::new(store)));
    // Uploads that are being written, and the like: they leave nothing that the next start does not clean.
    runtime.shutdown_background();
    orphans.end();
    done
}

async fn serve(arguments: &Arguments, home: &Home, store: Arc<dyn Store>) -> Result<(), Failure> {
    let failed = |what: &'static str| move |cause| Failure::system(what, &cause);
    let tls = tls(arguments)?;
    let signals = if tls.is_some() { Signals::without_hangup() } else { Signals::new() };
    let mut signals = signals.map_err(failed("cannot listen for signals"))?;
    let mut reloads = signal(SignalKind::hangup()).map_err(failed("cannot listen for signals"))?;
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
        .with_admission(Arc::new(move |head| known.scope(head).is_some()));
    let gateway = Arc::new(match &tls {
        Some(tls) => gateway.with_tls(tls.clone()),
        None => gateway,
    });
    let flash = std::env::current_exe().ok();
    let choice = interpreter::own(arguments.python.as_deref(), flash.as_deref());
    let python = tokio::select! {
        python = try_out(&choice) => python?,
        () = signals.next() => return Ok(()),
    };
    let about = About { version: env!("CARGO_PKG_VERSION").into(), addresses: vec![url.clone()], python: python.clone(), started: now() };
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
    };
    let control = Control::new(parts, about);
    // Before anybody is accepted: what was deployed is there from the first request on.
    control.reconcile().map_err(|error| store_failure(&error))?;
    gateway.mount(vec![Mount::new(flash_api::ROOT, api_service(&control))]);
    let (plain, plain_url) = plain.unzip();
    home.announce(&Running { pid: std::process::id(), url: url.clone(), plain: plain_url }).map_err(|error| home_failure(&error))?;
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
    let reloading = async {
        match &tls {
            Some(tls) => reload(tls, &mut reloads).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = &mut server => {}
        () = signals.next() => {}
        () = control.stopped() => {}
        () = reloading => {}
    }
    control.stop();
    drain(&stop, &mut server, limits.timeout, control.close(), &mut signals).await;
    home.withdraw();
    Ok(())
}

fn say(url: &str, python: &str, home: &Home) {
    use std::io::Write as _;
    let text = format!("Serving at {url} from {} (Python {python})\n", home.path().display());
    // Whoever has closed it does not want to know.
    let _ = std::io::stdout().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush());
}

fn tls(arguments: &Arguments) -> Result<Option<Tls>, Failure> {
    let (Some(chain), Some(key)) = (&arguments.tls_cert, &arguments.tls_key) else { return Ok(None) };
    let failure = |error: TlsError| Failure::new(Fault::Request, tls_trouble(&error));
    Tls::load(chain, key).map(Some).map_err(failure)
}

fn tls_trouble(error: &TlsError) -> Trouble {
    Trouble::new(error.to_string(), error.why(), error.remedy())
}

/// Reads the certificate again each time that it is asked to.
async fn reload(tls: &Tls, asked: &mut Signal) {
    while asked.recv().await.is_some() {
        match tls.reload() {
            Ok(()) => to_errors("The certificate was read again; new connections get it\n"),
            Err(error) => {
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
