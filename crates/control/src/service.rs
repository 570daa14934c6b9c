//! What is served: endpoints, each with its workers; started, switched over to, retired, ended. `flash run` and `flash serve` share it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flash_gateway::{Access, Gateway, Retired};
use flash_jobs::{Engines, Leaving, Queue};
use flash_manifest::{Endpoint, Kind, Route};
use flash_workers::{Base, Cancel, Error, Pool, Settings, Status};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// How long retired workers may take. Each request has a deadline of its own, and a worker that goes on past that is killed.
const RETIRED: Duration = Duration::from_secs(24 * 60 * 60);

/// Hears of endpoints, by their ids, that cannot get a worker any more.
pub type Tell = Arc<dyn Fn(&str, &Error) + Send + Sync>;

/// All endpoints that are served.
pub struct Service {
    gateway: Arc<Gateway>,
    /// What runs jobs; without it queue-based endpoints take none.
    engines: Option<Engines>,
    tell: Tell,
    served: Vec<Started>,
    retiring: Vec<Retiring>,
}

/// An endpoint that is to be served, and how.
#[derive(Clone)]
pub struct Wanted {
    /// What its URL is made of.
    pub id: String,
    /// What it declares.
    pub endpoint: Endpoint,
    /// What its workers are told of it.
    pub config: Value,
    /// How its workers are kept.
    pub settings: Settings,
    /// What they are forked from.
    pub base: Arc<Base>,
    /// Whether it takes live calls.
    pub access: Access,
    /// Whether anybody may call it, from anywhere.
    pub public: bool,
    /// How its jobs are run, where nothing else is asked for.
    pub policy: flash_queue::Policy,
}

/// An endpoint whose workers were started.
pub struct Started {
    wanted: Wanted,
    pool: Pool,
    /// Tells when it cannot get a worker any more, once it is served; ends with it.
    teller: JoinSet<()>,
}

/// Workers that finish what they have.
struct Retiring {
    /// The endpoint that they were of.
    id: String,
    /// `None` once they have ended: their base zygote goes with the last of their pools.
    pool: Arc<Mutex<Option<Pool>>>,
    /// Closes when they have.
    ended: watch::Receiver<()>,
    end: JoinHandle<()>,
}

impl Service {
    /// Serves nothing yet.
    pub fn new(gateway: Arc<Gateway>, engines: Option<Engines>, tell: Tell) -> Self {
        Self { gateway, engines, tell, served: Vec::new(), retiring: Vec::new() }
    }

    /// What is served.
    pub fn served(&self) -> &[Started] {
        &self.served
    }

    /// The endpoint of this id, where it is served.
    pub fn find(&self, id: &str) -> Option<&Started> {
        self.served.iter().find(|started| started.id() == id)
    }

    /// Serves what was started, in the place of the endpoints of its ids, and those in `stop` no longer: all at one moment. Requests
    /// that came before go on with the workers that they were for.
    pub fn switch(&mut self, started: Vec<Started>, stop: &BTreeSet<String>) {
        let gone: Vec<String> = stop.iter().cloned().collect();
        let (queued, routed): (Vec<_>, Vec<_>) = started.iter().partition(|started| self.engines.is_some() && started.is_queue_based());
        // Live calls of queue-based functions come through the gateway, whether there are jobs or not.
        let (live, queued_alone): (Vec<_>, Vec<_>) = queued.iter().partition(|started| started.wanted.access == Access::Live);
        // One whose kind has changed is gone as what it was.
        let ids = |started: &[&Started]| started.iter().map(|started| started.id().to_owned()).collect::<Vec<_>>();
        let (unrouted, unqueued) = ([&*gone, &ids(&queued_alone)].concat(), ids(&routed));
        let retired = self.gateway.switch(routed.into_iter().chain(live).map(gateway_endpoint).collect(), &unrouted);
        let leaving = match &self.engines {
            Some(engines) => engines.switch(queued.into_iter().map(queue).collect(), &unqueued, &gone),
            None => Vec::new(),
        };
        let new: BTreeSet<_> = started.iter().map(|started| started.id().to_owned()).collect();
        self.served.retain(|served| !new.contains(served.id()) && !stop.contains(served.id()));
        let tell = &self.tell;
        self.served.extend(started.into_iter().map(|started| started.told_to(tell)));
        self.retiring.retain(|retiring| !retiring.end.is_finished());
        self.retiring.extend(leave(retired, leaving));
    }

    /// Has requests for these endpoints wait from now on, at most so many for each, until a switch puts others in their place. What is
    /// returned ends once the last of their workers has, those of former builds among them; it gives what started them, to do so again.
    /// Polling it needs no access to the service.
    pub fn hold(&mut self, ids: &BTreeSet<String>, most: usize) -> impl Future<Output = Vec<Wanted>> + Send + use<> {
        let names: Vec<String> = ids.iter().cloned().collect();
        let held = self.gateway.hold(&names, most);
        self.retiring.extend(held.into_iter().map(retire));
        let ends: Vec<_> =
            self.retiring.iter().filter(|retiring| ids.contains(&retiring.id)).map(|retiring| retiring.ended.clone()).collect();
        let wanted = self.served.iter().filter(|served| ids.contains(served.id())).map(|served| served.wanted.clone()).collect();
        async move {
            for mut end in ends {
                while end.changed().await.is_ok() {}
            }
            wanted
        }
    }

    /// Ends all workers; nothing is served any more. What they have begun is given up, so it comes after the server's end. Polling it needs
    /// no access to the service.
    pub fn close(&mut self) -> impl Future<Output = ()> + Send + use<> {
        let served = std::mem::take(&mut self.served);
        let (pools, ends): (Vec<_>, Vec<_>) = self.retiring.drain(..).map(|retiring| (retiring.pool, retiring.end)).unzip();
        async move {
            let pools = pools.iter().filter_map(|pool| pool.lock().unwrap_or_else(PoisonError::into_inner).take());
            close(served.into_iter().map(|served| served.pool).chain(pools)).await;
            for end in ends {
                end.abort(); // its workers have ended: nothing is left to be waited for
            }
        }
    }
}

impl Started {
    /// Starts its workers, by which it is not served yet.
    pub fn new(wanted: Wanted) -> Self {
        let pool = Pool::start(&wanted.id, wanted.base.clone(), wanted.config.clone(), wanted.settings.clone());
        Self { wanted, pool, teller: JoinSet::new() }
    }

    /// What its URL is made of.
    pub fn id(&self) -> &str {
        &self.wanted.id
    }

    /// What was asked for.
    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// Its workers.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    fn is_queue_based(&self) -> bool {
        self.wanted.endpoint.class.kind() == Kind::QueueBased
    }

    /// From now on its failures are told as they come.
    fn told_to(mut self, tell: &Tell) -> Self {
        let (mut status, tell, id) = (self.pool.status(), tell.clone(), self.wanted.id.clone());
        self.teller.spawn(async move {
            while status.changed().await.is_ok() {
                if let Status::Failed(error) = &*status.borrow_and_update() {
                    tell(&id, error);
                }
            }
        });
        self
    }
}

/// Waits until all can answer; errs with the id of each that cannot, and why.
pub async fn ready(started: &[Started]) -> Result<(), Vec<(String, Arc<Error>)>> {
    let mut errors = Vec::new();
    for started in started {
        let mut status = started.pool.status();
        let settled = status.wait_for(|status| !matches!(status, Status::Starting)).await;
        if let Ok(status) = settled
            && let Status::Failed(error) = &*status
        {
            errors.push((started.id().to_owned(), error.clone()));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Ends what was started and is not to be served.
pub async fn give_up(started: Vec<Started>) {
    close(started.into_iter().map(|started| started.pool)).await;
}

/// What a worker must know of its endpoint. `reload`: it tells what it imports; `host`: where it calls functions of other live endpoints.
pub fn config(endpoint: &Endpoint, reload: bool, host: Option<&Value>) -> Value {
    let functions = endpoint.functions.iter().map(|function| {
        let module = &function.module;
        let module = serde_json::json!({
            "name": module.name, "file": module.file, "import_base": module.import_base, "import_path": module.import_path()
        });
        match &function.route {
            Some(Route { method, path }) => {
                serde_json::json!({ "module": module, "qualname": function.qualname, "method": method.as_str(), "path": path.as_str() })
            }
            None => serde_json::json!({ "module": module, "qualname": function.qualname, "job": true }),
        }
    });
    let functions: Vec<_> = functions.collect();
    serde_json::json!({
        "endpoint": endpoint.name.as_str(), "functions": functions, "inline": true, "env": endpoint.env, "reload": reload, "host": host
    })
}

fn gateway_endpoint(started: &Started) -> flash_gateway::Endpoint {
    let Wanted { endpoint, access, .. } = &started.wanted;
    let routes = endpoint.functions.iter().filter_map(|function| function.route.as_ref());
    let routes = routes.map(|Route { method, path }| (method.as_str().parse().expect("these are methods of HTTP"), path.clone()));
    let cancel = if endpoint.cancel_on_disconnect { Cancel::Anyway } else { Cancel::UnlessBegun };
    let made = flash_gateway::Endpoint::new(started.pool.clone(), routes, *access).with_cancel(cancel);
    if started.wanted.public { made.open_to_all() } else { made }
}

fn queue(started: &Started) -> Queue {
    let Wanted { id, endpoint, public, policy, .. } = &started.wanted;
    let function = |function: &flash_manifest::Function| flash_jobs::Function {
        name: function.qualname.clone(),
        attempts: function.retries.map(|retries| u32::from(retries) + 1),
    };
    let functions = endpoint.functions.iter().map(function).collect();
    Queue { id: id.clone(), pool: started.pool.clone(), functions, policy: policy.clone(), public: *public }
}

/// Lets the workers finish what they have.
fn retire(mut retired: Retired) -> Retiring {
    let pool = retired.pool().clone();
    retiring(pool, async move { retired.unused().await })
}

/// Lets the workers finish the requests and the jobs that they have. Those of a live endpoint may have both.
fn leave(retired: Vec<Retired>, leaving: Vec<Leaving>) -> Vec<Retiring> {
    let mut leaving: BTreeMap<String, Leaving> = leaving.into_iter().map(|leaving| (leaving.pool().name().to_owned(), leaving)).collect();
    let mut all = Vec::new();
    for mut retired in retired {
        let pool = retired.pool().clone();
        all.push(match leaving.remove(pool.name()) {
            Some(leaving) => retiring(pool, async move {
                let ((), ()) = tokio::join!(retired.unused(), leaving.unused());
            }),
            None => retire(retired),
        });
    }
    all.extend(leaving.into_values().map(|leaving| retiring(leaving.pool().clone(), async move { leaving.unused().await })));
    all
}

fn retiring(pool: Pool, unused: impl Future<Output = ()> + Send + 'static) -> Retiring {
    let id = pool.name().to_owned();
    let held = Arc::new(Mutex::new(Some(pool.clone())));
    let holding = held.clone();
    let (ending, ended) = watch::channel(());
    let end = tokio::spawn(async move {
        unused.await;
        pool.close(RETIRED).await;
        holding.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(ending);
    });
    Retiring { id, pool: held, ended, end }
}

async fn close(pools: impl Iterator<Item = Pool>) {
    let mut closing: JoinSet<()> = pools.map(|pool| async move { pool.close(Duration::ZERO).await }).collect();
    while closing.join_next().await.is_some() {}
}
