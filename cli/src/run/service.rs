//! The project's endpoints as `flash run` serves them: all in one setting, on one interpreter.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flash_control::service::{self, Started, Wanted};
use flash_gateway::{Access, Gateway, Settings};
use flash_jobs::Engines;
use flash_manifest::{Endpoint, Kind};
use flash_queue::Policy;
use flash_workers::{Base, Limits, MAX_SLOTS, Status, Workers};
use owo_colors::OwoColorize as _;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::lines::to_errors;
use crate::report::{Trouble, warn};
use crate::run::dependencies::Overlays;
use crate::run::plan::Running;

/// Requests that may wait for a slot, an endpoint: about what a full worker gets through within the time that a request has.
const WAITING: usize = 4096;
/// How long after its deadline a function may go on before its worker is replaced.
const GRACE: Duration = Duration::from_secs(5);
/// An import that takes longer than this is told of, and again after twice the time.
const SLOW: Duration = Duration::from_secs(2);
/// But once a minute at least.
const RARELY: Duration = Duration::from_secs(60);
/// How long a job may run, unless its endpoint says so.
const QUEUED_TIMEOUT: Duration = Duration::from_secs(600);
/// Modules may take their time to be imported: the user can see it, and press Ctrl-C.
const START_TIMEOUT: Duration = Duration::from_secs(600);

/// What endpoints have in common.
pub struct Setting {
    /// Where callers come in.
    pub gateway: Arc<Gateway>,
    /// What runs jobs; without it there are live calls alone.
    pub engines: Option<Engines>,
    /// Its limits.
    pub limits: Settings,
    /// What workers are forked from.
    pub base: Arc<Base>,
    /// Where workers call functions of other endpoints; `None` where there are no live calls.
    pub host: Option<Value>,
    /// How many workers each has.
    pub workers: u16,
    /// Whether workers tell what they import.
    pub reload: bool,
    /// Where it listens.
    pub address: SocketAddr,
}

/// All endpoints that are served.
pub struct Service {
    setting: Setting,
    overlays: Overlays,
    /// In the order of the project.
    endpoints: Vec<Endpoint>,
    service: service::Service,
}

impl Service {
    /// Serves nothing yet.
    pub fn new(setting: Setting) -> Self {
        let service =
            service::Service::new(setting.gateway.clone(), setting.engines.clone(), Arc::new(|_, error| warn(&Trouble::from(error))));
        Self { setting, overlays: Overlays::new(), endpoints: Vec::new(), service }
    }

    /// Says what is installed for endpoints that start from now on.
    pub fn set_overlays(&mut self, overlays: Overlays) {
        self.overlays = overlays;
    }

    /// What runs, by name.
    pub fn running(&self) -> BTreeMap<&str, Running<'_>> {
        let running = self.service.served().iter().map(|started| {
            let running = Running { config: &started.wanted().config, imported: started.pool().imported() };
            (started.id(), running)
        });
        running.collect()
    }

    /// The endpoints.
    pub fn endpoints(&self) -> impl ExactSizeIterator<Item = &Endpoint> {
        self.endpoints.iter()
    }

    /// Starts the workers of endpoints, which are not served by that.
    pub fn start<'e>(&self, endpoints: impl IntoIterator<Item = &'e Endpoint>) -> Vec<Started> {
        let start = |endpoint: &Endpoint| {
            Started::new(Wanted {
                id: endpoint.name.as_str().to_owned(),
                endpoint: endpoint.clone(),
                config: self.config(endpoint),
                settings: self.pool_settings(endpoint),
                base: self.setting.base.clone(),
                access: if self.setting.host.is_some() { Access::Live } else { Access::Routes },
                public: true,
                policy: Policy { execution_timeout: endpoint.timeout.unwrap_or(QUEUED_TIMEOUT), ..Policy::default() },
            })
        };
        endpoints.into_iter().map(start).collect()
    }

    /// Serves what was started and is ready, in the place of the endpoints of its names, and those in `stop` no longer; what is served
    /// then is `project`. Requests that came before go on with the workers that they were for.
    pub fn switch(&mut self, started: Vec<Started>, stop: &BTreeSet<String>, project: &[&Endpoint]) {
        self.service.switch(started, stop);
        self.endpoints = project.iter().copied().cloned().collect();
    }

    /// Has the libraries of all endpoints imported ahead, for the next reload.
    pub fn prepare_libraries(&self) -> JoinHandle<()> {
        let base = self.setting.base.clone();
        tokio::spawn(async move { base.prepare_libraries().await })
    }

    /// Where the endpoints are, a line each, and the page that shows them.
    pub fn list(&self) -> String {
        let width = self.endpoints().map(|endpoint| endpoint.name.as_str().len()).max().unwrap_or_default();
        let line = |endpoint: &Endpoint| {
            let (name, address) = (endpoint.name.as_str(), self.setting.address);
            let count = endpoint.functions.len();
            let (place, what) = match endpoint.class.kind() {
                Kind::LoadBalanced => (format!("http://{address}/lb/{name}").cyan().to_string(), "route"),
                Kind::QueueBased if self.setting.engines.is_some() => {
                    (format!("http://{address}/v2/{name}").cyan().to_string(), "function")
                }
                Kind::QueueBased => ("queue-based: live calls alone".to_owned(), "function"),
            };
            format!("  {name:width$}   {place}   {count} {what}{}\n", if count == 1 { "" } else { "s" })
        };
        let docs = format!("  {:width$}   {}\n", "docs", format!("http://{}/docs", self.setting.address).cyan());
        self.endpoints().map(line).chain([docs]).collect()
    }

    /// Ends all workers. What they have begun is given up, so it comes after the server's end.
    pub async fn close(mut self) {
        self.service.close().await;
    }

    fn pool_settings(&self, endpoint: &Endpoint) -> flash_workers::Settings {
        let (slots, timeout) = match endpoint.class.kind() {
            Kind::LoadBalanced => (MAX_SLOTS, self.setting.limits.timeout),
            Kind::QueueBased => (1, QUEUED_TIMEOUT),
        };
        let slots = endpoint.max_concurrency.map_or(slots, usize::from);
        let timeout = endpoint.timeout.unwrap_or(timeout);
        flash_workers::Settings {
            limits: Limits { slots, ahead: 0, waiting: WAITING, grace: GRACE },
            workers: Workers::fixed(self.setting.workers.into()),
            timeout,
            start_timeout: START_TIMEOUT,
            replace_stuck: true,
            unheard: 0,
        }
    }

    /// What a worker must know of its endpoint.
    pub fn config(&self, endpoint: &Endpoint) -> Value {
        let mut config = service::config(endpoint, self.setting.reload, self.setting.host.as_ref());
        if let Some(overlay) = self.overlays.get(endpoint.name.as_str()) {
            config["overlay"] = overlay.to_string_lossy().into();
        }
        config
    }
}

/// Waits until all can answer; tells of each that cannot, and meanwhile of each that takes long.
pub async fn ready(started: &[Started]) -> Result<(), Vec<Trouble>> {
    let settled = tokio::select! {
        settled = service::ready(started) => settled,
        never = tell_slow(started) => match never {},
    };
    settled.map_err(|errors| {
        let mut troubles: Vec<Trouble> = Vec::new();
        for trouble in errors.iter().flat_map(|(_, error)| Trouble::all_of(error)) {
            // Endpoints of one broken module fail alike.
            if troubles.iter().all(|told| told.what != trouble.what) {
                troubles.push(trouble);
            }
        }
        troubles
    })
}

/// Says which modules are being imported for long, and the line that is run there: more and more rarely.
async fn tell_slow(started: &[Started]) -> Infallible {
    let (since, mut wait) = (Instant::now(), SLOW);
    loop {
        tokio::time::sleep(wait).await;
        for started in started.iter().filter(|started| matches!(*started.pool().status().borrow(), Status::Starting)) {
            let line = started.pool().importing().await;
            let (name, seconds) = (started.id(), since.elapsed().as_secs());
            let at = line.map_or_else(String::new, |line| format!(", which are at {line}"));
            to_errors(&format!("flash: still importing the modules of {name}{at} ({seconds} s)\n"));
        }
        wait = since.elapsed().min(RARELY);
    }
}
