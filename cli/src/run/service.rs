//! What is served: endpoints, each with its workers; started, switched over to, retired, ended.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use flash_gateway::{Access, Gateway, Retired, Settings};
use flash_manifest::{Endpoint, Route};
use flash_workers::{Base, Cancel, Limits, MAX_SLOTS, Pool, Status};
use owo_colors::OwoColorize as _;
use serde_json::Value;
use tokio::task::{JoinHandle, JoinSet};

use crate::report::{Trouble, warn};
use crate::run::plan::Running;

/// Requests that may wait for a slot, an endpoint: about what a full worker gets through within the time that a request has.
const WAITING: usize = 4096;
/// How long after its deadline a function may go on before its worker is replaced.
const GRACE: Duration = Duration::from_secs(5);
/// How long retired workers may take. Each request has a deadline of its own, and a worker that goes on past that is killed.
const RETIRED: Duration = Duration::from_secs(24 * 60 * 60);
/// Modules may take their time to be imported: the user can see it, and press Ctrl-C.
const START_TIMEOUT: Duration = Duration::from_secs(600);

/// What endpoints have in common.
pub struct Setting {
    /// Where callers come in.
    pub gateway: Arc<Gateway>,
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
    served: Vec<Started>,
    retiring: Vec<Retiring>,
}

/// An endpoint whose workers were started.
pub struct Started {
    endpoint: Endpoint,
    config: Value,
    pool: Pool,
    /// Tells when it cannot get a worker any more, once it is served; ends with it.
    teller: JoinSet<()>,
}

/// Workers that finish what they have.
struct Retiring {
    pool: Pool,
    end: JoinHandle<()>,
}

impl Service {
    /// Serves nothing yet.
    pub fn new(setting: Setting) -> Self {
        Self { setting, served: Vec::new(), retiring: Vec::new() }
    }

    /// What runs, by name.
    pub fn running(&self) -> BTreeMap<&str, Running<'_>> {
        let running = self.served.iter().map(|Started { endpoint, config, pool, .. }| {
            let running = Running { config, imported: pool.imported() };
            (endpoint.name.as_str(), running)
        });
        running.collect()
    }

    /// The endpoints.
    pub fn endpoints(&self) -> impl ExactSizeIterator<Item = &Endpoint> {
        self.served.iter().map(|started| &started.endpoint)
    }

    /// Starts the workers of endpoints, which are not served by that.
    pub fn start<'e>(&self, endpoints: impl IntoIterator<Item = &'e Endpoint>) -> Vec<Started> {
        let start = |endpoint: &Endpoint| {
            let config = self.config(endpoint);
            let settings = self.pool_settings(endpoint.timeout.unwrap_or(self.setting.limits.timeout));
            let pool = Pool::start(endpoint.name.as_str(), self.setting.base.clone(), config.clone(), settings);
            Started { endpoint: endpoint.clone(), config, pool, teller: JoinSet::new() }
        };
        endpoints.into_iter().map(start).collect()
    }

    /// Serves what was started and is ready, in the place of the endpoints of its names, and those in `stop` no longer; the order is
    /// that of `project`. Requests that came before go on with the workers that they were for.
    pub fn switch(&mut self, started: Vec<Started>, stop: &BTreeSet<String>, project: &[&Endpoint]) {
        let access = if self.setting.host.is_some() { Access::Live } else { Access::Routes };
        let endpoints = started.iter().map(|started| gateway_endpoint(started, access)).collect();
        let stop: Vec<String> = stop.iter().cloned().collect();
        let retired = self.setting.gateway.switch(endpoints, &stop);
        let name = |started: &Started| started.endpoint.name.clone();
        let new: BTreeSet<_> = started.iter().map(name).collect();
        self.served.retain(|served| !new.contains(&name(served)) && !stop.iter().any(|gone| gone == served.endpoint.name.as_str()));
        self.served.extend(started.into_iter().map(Started::told_of));
        for served in &mut self.served {
            // Lines and spellings may be others though its workers stay.
            if let Some(endpoint) = project.iter().find(|endpoint| endpoint.name == served.endpoint.name) {
                served.endpoint = (*endpoint).clone();
            }
        }
        self.served.sort_by_key(|served| project.iter().position(|endpoint| endpoint.name == served.endpoint.name));
        self.retiring.retain(|retiring| !retiring.end.is_finished());
        self.retiring.extend(retired.into_iter().map(retire));
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
            let routes = if count == 1 { "route" } else { "routes" };
            format!("  {name:width$}   {}   {count} {routes}\n", format!("http://{address}/lb/{name}").cyan())
        };
        let docs = format!("  {:width$}   {}\n", "docs", format!("http://{}/docs", self.setting.address).cyan());
        self.endpoints().map(line).chain([docs]).collect()
    }

    /// Ends all workers. What they have begun is given up, so it comes after the server's end.
    pub async fn close(self) {
        let (pools, ends): (Vec<_>, Vec<_>) = self.retiring.into_iter().map(|retiring| (retiring.pool, retiring.end)).unzip();
        close(self.served.into_iter().map(|served| served.pool).chain(pools)).await;
        for end in ends {
            end.abort(); // its workers have ended: nothing is left to be waited for
        }
    }

    fn pool_settings(&self, timeout: Duration) -> flash_workers::Settings {
        flash_workers::Settings {
            limits: Limits { slots: MAX_SLOTS, waiting: WAITING, grace: GRACE },
            workers: self.setting.workers.into(),
            timeout,
            start_timeout: START_TIMEOUT,
            replace_stuck: true,
            unheard: 0,
        }
    }

    /// What a worker must know of its endpoint.
    pub fn config(&self, endpoint: &Endpoint) -> Value {
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
        let (reload, host) = (self.setting.reload, &self.setting.host);
        serde_json::json!({
            "endpoint": endpoint.name.as_str(), "functions": functions, "inline": true, "reload": reload, "host": host
        })
    }
}

impl Started {
    /// From now on its failures are told as they come.
    fn told_of(mut self) -> Self {
        let mut status = self.pool.status();
        self.teller.spawn(async move {
            while status.changed().await.is_ok() {
                if let Status::Failed(error) = &*status.borrow_and_update() {
                    warn(&Trouble::from(error.as_ref()));
                }
            }
        });
        self
    }
}

/// Waits until all can answer; tells of each that cannot.
pub async fn ready(started: &[Started]) -> Result<(), Vec<Trouble>> {
    let mut troubles: Vec<Trouble> = Vec::new();
    for Started { pool, .. } in started {
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
    if troubles.is_empty() { Ok(()) } else { Err(troubles) }
}

/// Ends what was started and is not to be served.
pub async fn give_up(started: Vec<Started>) {
    close(started.into_iter().map(|started| started.pool)).await;
}

fn gateway_endpoint(started: &Started, access: Access) -> flash_gateway::Endpoint {
    let routes = started.endpoint.functions.iter().filter_map(|function| function.route.as_ref());
    let routes = routes.map(|Route { method, path }| (method.as_str().parse().expect("these are methods of HTTP"), path.clone()));
    let cancel = if started.endpoint.cancel_on_disconnect { Cancel::Anyway } else { Cancel::UnlessBegun };
    flash_gateway::Endpoint::new(started.pool.clone(), routes, access).with_cancel(cancel)
}

/// Lets the workers finish what they have.
fn retire(mut retired: Retired) -> Retiring {
    let pool = retired.pool().clone();
    let end = tokio::spawn(async move {
        retired.unused().await;
        retired.pool().close(RETIRED).await;
    });
    Retiring { pool, end }
}

async fn close(pools: impl Iterator<Item = Pool>) {
    let mut closing: JoinSet<()> = pools.map(|pool| async move { pool.close(Duration::ZERO).await }).collect();
    while closing.join_next().await.is_some() {}
}
