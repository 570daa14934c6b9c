//! `flash run`: the load-balanced endpoints of a file or a project, served on this machine until Ctrl-C.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flash_gateway::{Access, Endpoint, Gateway, Settings};
use flash_manifest::{Diagnostic, Kind, Project, Route};
use flash_workers::{Base, Interpreter, Limits, MAX_SLOTS, Pool, Program, Status};
use owo_colors::OwoColorize as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::interpreter::{self, Choice};
use crate::log::Log;
use crate::report::{Failure, Fault, Trouble, warn};

/// What the user asked for.
#[derive(clap::Args)]
pub struct Arguments {
    /// A Python file, or a project's directory
    #[arg(default_value = ".")]
    path: PathBuf,
    /// The port; without it 8888, or the next one that is free
    #[arg(long)]
    port: Option<u16>,
    /// The address to listen on; live calls are off unless it is loopback's
    #[arg(long, default_value = "localhost", value_parser = address)]
    host: IpAddr,
    /// The interpreter; without it that of VIRTUAL_ENV, the nearest .venv, or the one beside flash
    #[arg(long, value_name = "PYTHON")]
    python: Option<PathBuf>,
    /// How many workers each endpoint has; each keeps its own state in module globals
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=WORKERS))]
    workers: u16,
    /// Run the functions by a program that speaks docs/wire.md, in Python's place
    #[arg(long, hide = true, value_name = "PROGRAM")]
    runtime: Option<PathBuf>,
}

/// The first port to try, and how many after it.
const PORT: u16 = 8888;
const PORTS: u16 = 100;
/// The most workers that an endpoint may have: a guard against a slip of the finger.
const WORKERS: i64 = 1024;
/// Requests that may wait for a slot, an endpoint: about what a full worker gets through within the time that a request has.
const WAITING: usize = 4096;
/// How long after its deadline a function may go on before its worker is replaced.
const GRACE: Duration = Duration::from_secs(5);
/// Modules may take their time to be imported: the user can see it, and press Ctrl-C.
const START_TIMEOUT: Duration = Duration::from_secs(600);

fn address(text: &str) -> Result<IpAddr, String> {
    if text.eq_ignore_ascii_case("localhost") {
        return Ok(Ipv4Addr::LOCALHOST.into());
    }
    text.parse().map_err(|_| "an IP address is needed, as 127.0.0.1 or 0.0.0.0, or `localhost`".into())
}

/// Serves until Ctrl-C, SIGTERM or SIGHUP.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let project = scan(arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|cause| Failure::system("cannot start", &cause))?;
    runtime.block_on(serve(arguments, &project))
}

/// The project, with at least one load-balanced endpoint.
fn scan(arguments: &Arguments) -> Result<Project, Failure> {
    let app = std::env::var("FLASH_APP").ok();
    let project = flash_scan::scan(&arguments.path, app.as_deref())
        .map_err(|errors| Failure::all(Fault::Request, errors.into_iter().map(Trouble::from).collect()))?;
    for warning in &project.warnings {
        warn(&warning.clone().into());
    }
    let (served, queued): (Vec<_>, Vec<_>) = project.endpoints.iter().partition(|endpoint| endpoint.class.kind() == Kind::LoadBalanced);
    for endpoint in queued {
        warn(&Trouble::new(
            format!("endpoint `{}` is not served", endpoint.name),
            format!("it is queue-based ({}), which is not built yet", endpoint.class),
            "declare it as a LiveLoadBalancer to serve its functions at routes",
        ));
    }
    if served.is_empty() {
        let trouble = Trouble::new(
            format!("`{}` has no load-balanced endpoint to serve", arguments.path.display()),
            "`flash run` serves functions that are decorated with `@remote` of a LiveLoadBalancer or a LoadBalancerSlsResource",
            "name a file that has some: flash run app.py",
        );
        return Err(Failure::new(Fault::Request, trouble));
    }
    Ok(project)
}

async fn serve(arguments: &Arguments, project: &Project) -> Result<(), Failure> {
    let failed = |what: &'static str| move |cause| Failure::system(what, &cause);
    flash_workers::adopt_orphans().map_err(failed("cannot adopt orphans"))?;
    let mut signals = Signals::new().map_err(failed("cannot listen for signals"))?;
    let listener = listen(arguments).await?;
    let address = listener.local_addr().map_err(failed("cannot listen"))?;

    let endpoints = project.endpoints.iter().filter(|endpoint| endpoint.class.kind() == Kind::LoadBalanced);
    let endpoints: Vec<_> = endpoints.collect();
    let (log, _writer) = Log::start(endpoints.len() > 1);
    let choice = choose(arguments);
    let package = interpreter::package();
    if let Some(directory) = package.as_deref().and_then(interpreter::vendors) {
        warn(&Trouble::new(
            "the distribution `runpod-flash` is installed beside `openflash`",
            format!("both are imported as `runpod_flash`; the other one is in {}", directory.display()),
            format!("pip uninstall -y runpod-flash\npip install --force-reinstall --no-deps {}", interpreter::origin(directory)),
        ));
    }
    let program = match &arguments.runtime {
        Some(path) => Program::Native { path: path.clone(), arguments: Vec::new() },
        None => Interpreter { python: choice.python.clone(), package, routes: true }.into(),
    };
    let printed = log.clone();
    let base = Arc::new(Base::new(program, Arc::new(move |text| printed.printed(&text))));
    let zygote = base.zygote().await.map_err(|error| Failure::new(Fault::Request, Trouble::from(&error)))?;
    match &zygote.about.python {
        Some(version) => anstream::eprintln!("Python {version} at {} ({})", zygote.about.executable, choice.because),
        None => anstream::eprintln!("{} runs the functions (--runtime)", zygote.about.executable),
    }

    // Workers call functions of other endpoints here as well; nobody else knows the token.
    let token = address.ip().is_loopback().then(|| token().map_err(failed("cannot draw a random number"))).transpose()?;
    let settings = Settings::default();
    let mut gateway = Gateway::new(settings.clone(), epoch());
    if let Some(token) = &token {
        gateway = gateway.with_token(token.clone());
    }
    let observed = log.clone();
    let gateway = Arc::new(gateway.with_observer(Arc::new(move |finished| observed.request(&finished))));
    let host = token.map(|token| serde_json::json!({ "port": address.port(), "token": token }));
    for endpoint in &endpoints {
        let timeout = endpoint.timeout.unwrap_or(settings.timeout);
        let pool = Pool::start(endpoint.name.as_str(), base.clone(), config(endpoint, &host), pool_settings(timeout, arguments.workers));
        let routes = endpoint
            .functions
            .iter()
            .filter_map(|function| function.route.as_ref())
            .map(|Route { method, path }| (method.as_str().parse().expect("these are methods of HTTP"), path.clone()));
        let access = if host.is_some() { Access::Live } else { Access::Routes };
        gateway.add(Endpoint::new(pool, routes, access));
    }

    let pools = gateway.pools();
    let started = tokio::select! {
        started = all_ready(&pools) => started,
        () = signals.next() => Err(None),
    };
    if let Err(failure) = started {
        close(&pools, Duration::ZERO).await;
        return failure.map_or(Ok(()), Err);
    }
    list(&endpoints, address);
    let watchers = watch_pools(&pools);

    let (stop, stopped) = watch::channel(false);
    let mut server = tokio::spawn(flash_gateway::serve(listener, gateway.clone(), stopped, settings.timeout));
    tokio::select! {
        _ = &mut server => {}
        () = signals.next() => {}
    }
    drop(watchers);
    stop.send_replace(true);
    let drained = async {
        let _ = server.await; // it ends with the last connection
        close(&pools, Duration::ZERO).await;
    };
    tokio::select! {
        () = drained => {}
        // A second Ctrl-C: what still runs ends with this process.
        () = signals.next() => {}
    }
    Ok(())
}

fn choose(arguments: &Arguments) -> Choice {
    let path = std::path::absolute(&arguments.path).unwrap_or_else(|_| arguments.path.clone());
    let directory = if path.is_dir() { path.as_path() } else { path.parent().unwrap_or(&path) };
    let flash = std::env::current_exe().ok();
    interpreter::choose(arguments.python.as_deref(), std::env::var_os("VIRTUAL_ENV"), directory, flash.as_deref())
}

fn pool_settings(timeout: Duration, workers: u16) -> flash_workers::Settings {
    flash_workers::Settings {
        limits: Limits { slots: MAX_SLOTS, waiting: WAITING, grace: GRACE },
        workers: workers.into(),
        timeout,
        start_timeout: START_TIMEOUT,
        replace_stuck: true,
        unheard: 0,
    }
}

/// What a worker must know of its endpoint.
fn config(endpoint: &flash_manifest::Endpoint, host: &Option<serde_json::Value>) -> serde_json::Value {
    let functions = endpoint.functions.iter().filter_map(|function| {
        let route = function.route.as_ref()?;
        let module = &function.module;
        Some(serde_json::json!({
            "module": { "name": module.name, "file": module.file, "import_base": module.import_base },
            "qualname": function.qualname,
            "method": route.method.as_str(),
            "path": route.path.as_str(),
        }))
    });
    let functions: Vec<_> = functions.collect();
    serde_json::json!({ "endpoint": endpoint.name.as_str(), "functions": functions, "inline": true, "host": host })
}

async fn listen(arguments: &Arguments) -> Result<TcpListener, Failure> {
    let (first, count) = arguments.port.map_or((PORT, PORTS), |port| (port, 1));
    let mut last = None;
    for port in (first..=u16::MAX).take(count.into()) {
        match TcpListener::bind((arguments.host, port)).await {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => last = Some(error),
            Err(error) => {
                let trouble = Trouble::new(
                    format!("cannot listen on {}", SocketAddr::new(arguments.host, port)),
                    error.to_string(),
                    "choose another address with --host or port with --port",
                );
                return Err(Failure::new(Fault::Request, trouble));
            }
        }
    }
    let why = last.map_or_else(String::new, |error| error.to_string());
    let what = if count == 1 { format!("port {first} is taken") } else { format!("no port from {first} on is free") };
    Err(Failure::new(Fault::Request, Trouble::new(what, why, "choose another with --port, or leave it out to take the next free one")))
}

/// Waits until every endpoint can answer; tells of all that cannot.
async fn all_ready(pools: &[Pool]) -> Result<(), Option<Failure>> {
    let mut troubles: Vec<Trouble> = Vec::new();
    for pool in pools {
        let mut status = pool.status();
        let settled = status.wait_for(|status| !matches!(status, Status::Starting)).await;
        if let Ok(status) = settled
            && let Status::Failed(error) = &*status
        {
            let trouble = Trouble::from(error.as_ref());
            // Endpoints of one broken module fail alike.
            if troubles.iter().all(|told| told.what != trouble.what) {
                troubles.push(trouble);
            }
        }
    }
    if troubles.is_empty() { Ok(()) } else { Err(Some(Failure::all(Fault::Request, troubles))) }
}

/// Tells when an endpoint that served cannot get a worker any more.
fn watch_pools(pools: &[Pool]) -> JoinSet<()> {
    let mut watchers = JoinSet::new();
    for pool in pools {
        let mut status = pool.status();
        watchers.spawn(async move {
            while status.changed().await.is_ok() {
                if let Status::Failed(error) = &*status.borrow_and_update() {
                    warn(&Trouble::from(error.as_ref()));
                }
            }
        });
    }
    watchers
}

async fn close(pools: &[Pool], grace: Duration) {
    let mut closing = JoinSet::new();
    for pool in pools {
        let pool = pool.clone();
        closing.spawn(async move { pool.close(grace).await });
    }
    while closing.join_next().await.is_some() {}
}

fn list(endpoints: &[&flash_manifest::Endpoint], address: SocketAddr) {
    let width = endpoints.iter().map(|endpoint| endpoint.name.as_str().len()).max().unwrap_or_default();
    for endpoint in endpoints {
        let name = endpoint.name.as_str();
        let count = endpoint.functions.len();
        let routes = if count == 1 { "route" } else { "routes" };
        anstream::println!("  {name:width$}   {}   {count} {routes}", format!("http://{address}/lb/{name}").cyan());
    }
    if !address.ip().is_loopback() {
        anstream::eprintln!("Whoever can reach {address} can call these routes. Live calls are off.");
    }
}

fn token() -> std::io::Result<String> {
    let mut bytes = [0; 32];
    let mut filled = 0;
    while filled < bytes.len() {
        filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Differs from one run to the next, so that request ids do.
fn epoch() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_secs() as u32 ^ now.subsec_nanos() ^ std::process::id().rotate_left(16)
}

/// Ctrl-C, SIGTERM, and the terminal's end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `None` where who started this process wants it to outlast its terminal, as `nohup` does.
    hangup: Option<Signal>,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let hangup = if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())?, hangup })
    }

    async fn next(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = hangup => {}
        }
    }
}

/// Whether SIGHUP (1, the lowest bit of the mask) is ignored already.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

impl From<Diagnostic> for Trouble {
    fn from(diagnostic: Diagnostic) -> Self {
        let Diagnostic { location, excerpt, what, why, remedy, .. } = diagnostic;
        let at = location.map(|location| location.to_string()).into_iter().chain(excerpt.map(|line| format!("  {}", line.trim())));
        let at: Vec<String> = at.collect();
        Self { what, why, remedy, at: (!at.is_empty()).then(|| at.join("\n")), detail: None }
    }
}
