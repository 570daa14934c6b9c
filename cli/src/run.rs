//! `flash run`: the endpoints of a file or a project, served on this machine until Ctrl-C, and kept in step with their
//! sources.

mod burst;
mod contents;
mod dependencies;
mod first;
mod jobs;
mod listen;
mod place;
mod plan;
mod project;
mod reload;
mod searching;
mod service;

mod watch;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use flash_gateway::{Gateway, Settings};
use flash_manifest::{Endpoint, Kind, Project};
use flash_workers::{Base, Interpreter, Orphans, Program};
use tokio::sync::watch::channel;

use crate::drain::drain;
use crate::interpreter::{self, Choice};
use crate::lines::{detach_errors, to_errors};
use crate::log::Log;
use crate::report::{Failure, Fault, Trouble, warn};
use crate::run::dependencies::Dependencies;
use crate::run::first::First;
use crate::run::jobs::Queue;
use crate::run::listen::listen;
use crate::run::project::{Target, served};
use crate::run::reload::{Reloader, Sight};
use crate::run::service::{Service, Setting};
use crate::signals::Signals;
use crate::token::{self, TokenFile};

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
    /// The environment whose settings in flash.toml hold; without it those for all environments
    #[arg(long, env = "FLASH_ENV", value_name = "NAME")]
    env: Option<String>,
    /// How many workers each endpoint has; each keeps its own state in module globals
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=WORKERS))]
    workers: u16,
    /// Serve the sources as they are now, whatever becomes of them
    #[arg(long)]
    no_reload: bool,
    /// Run the functions by a program that speaks docs/wire.md, in Python's place
    #[arg(long, hide = true, value_name = "PROGRAM")]
    runtime: Option<PathBuf>,
    /// Believe `Forwarded` and `X-Forwarded-Host`, `-Proto` and `-Prefix`, for the addresses in OpenAPI documents; the proxy in front must
    /// set all of these headers, or remove them
    #[arg(long)]
    trust_proxy: bool,
    /// Let webhooks of jobs go to addresses of this machine and of private networks
    #[arg(long, env = "FLASH_PRIVATE_WEBHOOKS")]
    private_webhooks: bool,
    /// Write the token that live calls take to this file, which only you can read; it is removed at the end
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// The most workers that an endpoint may have: a guard against a slip of the finger.
const WORKERS: i64 = 1024;

pub fn address(text: &str) -> Result<IpAddr, String> {
    if text.eq_ignore_ascii_case("localhost") {
        return Ok(Ipv4Addr::LOCALHOST.into());
    }
    text.parse().map_err(|_| "an IP address is needed, as 127.0.0.1 or 0.0.0.0, or `localhost`".into())
}

/// Serves until Ctrl-C, SIGTERM or SIGHUP.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    // Looked at before it is read: what changes from here on is seen later.
    let sight = if arguments.no_reload { None } else { Sight::new(&arguments.path) };
    let mut target = Target::new(&arguments.path, crate::project::environment(arguments.env.as_deref())?);
    let project = target.scan()?;
    target.warn(&project);
    let is_queue_based = |endpoint: &Endpoint| endpoint.class.kind() == Kind::QueueBased;
    let queue = match Queue::make() {
        Ok(queue) => Some(queue),
        Err(trouble) => {
            if project.endpoints.iter().any(is_queue_based) {
                warn(&trouble);
            }
            None
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|cause| Failure::system("cannot start", &cause))?;
    let orphans = Orphans::adopt().map_err(|cause| Failure::system("cannot adopt orphans", &cause))?;
    let done = runtime.block_on(orphans.reaping(serve(arguments, target, project, sight, queue.as_ref())));
    let done = done.unwrap_or_else(|cause| Err(Failure::system("cannot listen for signals", &cause)));
    drop(runtime); // before the queue: its tasks may still write
    orphans.end();
    done
}

async fn serve(
    arguments: &Arguments,
    mut target: Target,
    project: Project,
    mut sight: Option<Sight>,
    queue: Option<&Queue>,
) -> Result<(), Failure> {
    let failed = |what: &'static str| move |cause| Failure::system(what, &cause);
    let mut signals = Signals::new().map_err(failed("cannot listen for signals"))?;
    let listener = listen(arguments.host, arguments.port).await?;
    let address = listener.local_addr().map_err(failed("cannot listen"))?;

    let (log, _writer) = Log::start();
    detach_errors();
    let base = tokio::select! {
        base = start_base(arguments, &log) => base?,
        () = signals.next() => return Ok(()),
    };
    let about = base.zygote().await.map_err(|error| Failure::new(Fault::Request, Trouble::from(&error)))?.about;
    let mut dependencies = Dependencies::new(about.python.is_some().then(|| PathBuf::from(&about.executable)));
    // Workers call functions of other endpoints here as well; nobody else knows the token, but for who may read its file.
    let token = address.ip().is_loopback().then(|| token::draw().map_err(failed("cannot draw a random number"))).transpose()?;
    let _token_file = arguments.token_file.as_ref().map(|path| TokenFile::write(path, token.as_deref())).transpose()?;
    let limits = Settings { trust_proxy: arguments.trust_proxy, ..Settings::default() };
    let mut gateway = Gateway::new(limits.clone(), epoch()).with_overview(project.app.name.as_str().to_owned());
    if let Some(token) = &token {
        gateway = gateway.with_token(token.clone());
    }
    let observed = log.clone();
    let gateway = Arc::new(gateway.with_observer(Arc::new(move |finished| observed.request(&finished))));
    let engines = queue.map(|queue| queue.start(&gateway, &log, arguments.private_webhooks));
    let host = token.map(|token| serde_json::json!({ "port": address.port(), "token": token }));
    let setting = Setting {
        gateway: gateway.clone(),
        engines: engines.clone(),
        limits: limits.clone(),
        base,
        host,
        workers: arguments.workers,
        reload: sight.is_some(),
        address,
    };
    let mut service = Service::new(setting);
    let mut first = First {
        target: &mut target,
        sight: sight.as_mut(),
        service: &mut service,
        dependencies: &mut dependencies,
        log: &log,
        signals: &mut signals,
    };
    let Some((project, started)) = first.start(project).await? else { return Ok(()) };
    service.switch(started, &BTreeSet::new(), &served(&project));
    log.text(&service.list());
    if !address.ip().is_loopback() {
        to_errors(&format!("Whoever can reach {address} can call these routes. Live calls are off.\n"));
    }
    if let Some(path) = &arguments.token_file {
        to_errors(&format!("Live calls take the token in {}\n", path.display()));
    }

    let (stop, stopped) = channel(false);
    let mut server = tokio::spawn(flash_gateway::serve(listener, gateway, stopped, limits.timeout));
    let reloads = async {
        if let Some(sight) = sight {
            Reloader::new(target, sight, log.clone(), dependencies).run(&mut service).await;
        }
        std::future::pending().await
    };
    tokio::select! {
        _ = &mut server => {}
        () = signals.next() => {}
        () = reloads => {}
    }
    let said = format!("Requests and jobs under way are finished first, for at most {} s", limits.timeout.as_secs());
    let under_way = async {
        let jobs = async {
            if let Some(engines) = &engines {
                engines.close(limits.timeout).await;
            }
        };
        let (_, ()) = tokio::join!(&mut server, jobs); // an error would be a panic, after which nothing is left to drain
    };
    drain(&stop, under_way, &said, service.close(), &mut signals).await;
    Ok(())
}

/// The base zygote of the interpreter, or of the program in its place.
async fn start_base(arguments: &Arguments, log: &Log) -> Result<Arc<Base>, Failure> {
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
    let base = Arc::new(Base::new(program, Arc::new(move |text| printed.printed(&text))).waiting_for(log.room()));
    let zygote = base.zygote().await.map_err(|error| Failure::new(Fault::Request, Trouble::from(&error)))?;
    match &zygote.about.python {
        Some(version) => to_errors(&format!("Python {version} at {} ({})\n", zygote.about.executable, choice.because)),
        None => to_errors(&format!("{} runs the functions (--runtime)\n", zygote.about.executable)),
    }
    Ok(base)
}

fn choose(arguments: &Arguments) -> Choice {
    let path = std::path::absolute(&arguments.path).unwrap_or_else(|_| arguments.path.clone());
    let directory = if path.is_dir() { path.as_path() } else { path.parent().unwrap_or(&path) };
    let flash = std::env::current_exe().ok();
    interpreter::choose(arguments.python.as_deref(), std::env::var_os("VIRTUAL_ENV"), directory, flash.as_deref())
}

/// Differs from one run to the next, so that request ids do.
pub fn epoch() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_secs() as u32 ^ now.subsec_nanos() ^ std::process::id().rotate_left(16)
}
