//! The server's state, as the control API and rollouts see it: what is remembered, what is served, what is being changed.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use flash_environments::Environments;
use flash_gateway::{Gateway, Means, Meant};
use flash_jobs::Engines;
use flash_manifest::{Endpoint, Overrides};
use flash_store::{Begun, NewDeployment, Store, Timestamp};
use flash_workers::{Devices, Interpreter};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::apart::Apart;
use crate::builds::{Builds, Incoming};
use crate::keyring::Keyring;
use crate::logs::Logs;
use crate::passes::Passes;
use crate::refusal::Refusal;
use crate::service::Service;
use crate::{clock, secret};

/// So many deployments of an environment keep their builds, to go back to.
const KEPT: u32 = 10;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// An environment that no build needs, and that nobody has used for so long, is removed: it would be made again.
const UNUSED: Duration = DAY.saturating_mul(7);
/// A build that came within this time may be about to be deployed.
const FRESH_MS: i64 = 60 * 60 * 1000;

/// What the server says of itself.
#[derive(Clone, Debug)]
pub struct About {
    /// Its release.
    pub version: String,
    /// Where it listens, as URLs; endpoints are told to be at the first one.
    pub addresses: Vec<String>,
    /// Its interpreter's version.
    pub python: String,
    /// When it started.
    pub started: Timestamp,
    /// How long what is under way is waited for when it ends.
    pub drain: Duration,
}

/// What it is made of.
pub struct Parts {
    /// What is remembered.
    pub store: Arc<dyn Store>,
    /// Who may do what.
    pub keyring: Arc<Keyring>,
    /// Where callers come in.
    pub gateway: Arc<Gateway>,
    /// What runs functions that ask for nothing else.
    pub interpreter: Interpreter,
    /// Where functions' requirements are installed.
    pub environments: Environments,
    /// The folder of builds.
    pub builds: Builds,
    /// What keeps workers apart.
    pub apart: Apart,
    /// What endpoints print.
    pub logs: Logs,
    /// Where workers call other endpoints, as a URL ([`Control::means`]).
    pub workers_url: String,
    /// What runs jobs.
    pub engines: Engines,
}

/// The server's state.
pub struct Control {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) interpreter: Interpreter,
    pub(crate) environments: Environments,
    pub(crate) builds: Builds,
    pub(crate) apart: Apart,
    /// The GPUs, of which each worker that asks for some has its own.
    pub(crate) devices: Arc<Devices>,
    pub(crate) logs: Logs,
    pub(crate) workers_url: String,
    pub(crate) passes: Arc<Passes>,
    pub(crate) engines: Engines,
    pub(crate) about: About,
    /// The OpenAPI document of the control API.
    pub(crate) document: Bytes,
    serving: Mutex<Serving>,
    /// Environments that are being changed, and by which deployment.
    changing: Mutex<HashMap<Place, Option<u64>>>,
    pub(crate) rollouts: Mutex<JoinSet<()>>,
    /// Changes whenever a deployment may have.
    pub(crate) progress: watch::Sender<()>,
    /// Builds come and go one at a time.
    placing: Mutex<()>,
    stop: watch::Sender<bool>,
}

/// An app's environment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The app.
    pub app: String,
    /// The environment.
    pub environment: String,
}

/// All endpoints that are deployed, by id.
pub(crate) struct Serving {
    pub(crate) service: Service,
    pub(crate) deployed: BTreeMap<String, Deployed>,
}

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct Deployed {
    pub(crate) place: Place,
    pub(crate) name: String,
    /// The digest of its build.
    pub(crate) build: String,
    /// What is set beside the code.
    pub(crate) overrides: Overrides,
    /// What the code declares; `None` where the build cannot be read, for this reason.
    pub(crate) endpoint: Result<Endpoint, String>,
}

/// An environment in the hands of one who changes it, until this is dropped.
pub(crate) struct Changing {
    control: Arc<Control>,
    place: Place,
}

impl Control {
    /// Serves nothing yet.
    pub fn new(parts: Parts, about: About) -> Arc<Self> {
        let Parts { store, keyring, gateway, interpreter, environments, builds, apart, logs, workers_url, engines } = parts;
        let (failing, jobs) = (logs.clone(), engines.clone());
        logs.know_jobs(Arc::new(move |tag| jobs.tagged(tag)));
        let service = Service::new(
            gateway,
            Some(engines.clone()),
            Arc::new(move |id, error| failing.note(id, &format!("no worker can be started: {error}: {}", error.why()))),
        );
        Arc::new(Self {
            store,
            keyring,
            interpreter,
            environments,
            builds,
            apart,
            devices: Devices::new(crate::machine::gpus()),
            logs,
            document: crate::api::document(&about.version).into(),
            workers_url,
            passes: Arc::default(),
            engines,
            about,
            serving: Mutex::new(Serving { service, deployed: BTreeMap::new() }),
            changing: Mutex::default(),
            rollouts: Mutex::new(JoinSet::new()),
            progress: watch::Sender::new(()),
            placing: Mutex::default(),
            stop: watch::Sender::new(false),
        })
    }

    /// What workers mean by endpoints' names, for [`flash_gateway::serve_workers`]: those of the environment that their pass is for.
    pub fn means(self: &Arc<Self>) -> Means {
        let control = self.clone();
        Arc::new(move |head, name| {
            let Some(place) = control.passes.place(head) else { return Meant::Unknown };
            let serving = control.serving();
            let is = |deployed: &Deployed| deployed.place == place && deployed.name == name;
            // Most have their names as ids.
            if serving.deployed.get(name).is_some_and(is) {
                return Meant::Endpoint(name.to_owned());
            }
            let found = serving.deployed.iter().find(|(_, deployed)| is(deployed));
            found.map_or(Meant::Nothing, |(id, _)| Meant::Endpoint(id.clone()))
        })
    }

    /// Asks for the server's end. What the control API streams ends by itself then.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until its end is asked for.
    pub async fn stopped(&self) {
        // An error would mean that nobody is left to ask.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Lets jobs that run come to their end for at most `grace`, and begins no others. What has not ended is tried again by the next server.
    pub async fn drain(&self, grace: Duration) {
        self.engines.close(grace).await;
    }

    /// Gives rollouts up and ends all workers: it comes after the server's end.
    pub async fn close(&self) {
        self.stop();
        let mut rollouts = std::mem::take(&mut *self.rollouts.lock().unwrap_or_else(PoisonError::into_inner));
        while rollouts.join_next().await.is_some() {} // they hear of the stop, and note that they failed
        let closed = self.serving().service.close();
        closed.await;
    }

    pub(crate) fn serving(&self) -> MutexGuard<'_, Serving> {
        // It is changed by whole steps.
        self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changing(&self) -> MutexGuard<'_, HashMap<Place, Option<u64>>> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a deployment is not done yet, whatever the store says.
    pub(crate) fn is_rolling(&self, deployment: u64) -> bool {
        self.changing().values().any(|rolling| *rolling == Some(deployment))
    }

    /// Takes an environment, to change it.
    pub(crate) fn change(self: &Arc<Self>, place: &Place) -> Result<Changing, Refusal> {
        if self.is_stopping() {
            return Err(Refusal::Stopping);
        }
        let mut changing = self.changing();
        if changing.contains_key(place) {
            let Place { app, environment } = place.clone();
            return Err(Refusal::Busy { app, environment });
        }
        changing.insert(place.clone(), None);
        Ok(Changing { control: self.clone(), place: place.clone() })
    }

    /// Asks the store, on a thread that may block.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn Store) -> flash_store::Result<T> + Send + 'static,
    ) -> Result<T, Refusal> {
        let store = self.store.clone();
        Ok(blocking(move || question(&*store)).await?)
    }

    /// Does what blocks, with all of the state at hand.
    pub(crate) async fn work<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let control = self.clone();
        blocking(move || work(&control)).await
    }

    /// Keeps an upload as a build; one that is there already is left as it is.
    pub(crate) fn keep(&self, incoming: Incoming, digest: String) -> Result<flash_store::Build, Refusal> {
        let _alone = self.placing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(build) = self.store.build(&digest)?.filter(|build| self.builds.has(&build.digest)) {
            return Ok(build);
        }
        let (manifest, bytes) = self.builds.place(incoming, &digest)?;
        let endpoints = manifest.endpoints.iter().map(|endpoint| endpoint.name.to_string()).collect();
        let build = flash_store::Build { digest, bytes, app: manifest.app.to_string(), endpoints, created: clock::now() };
        self.store.add_build(&build)?;
        Ok(build)
    }

    /// Removes builds that nobody will go back to.
    pub(crate) fn collect_builds(&self) -> Result<(), Refusal> {
        let _alone = self.placing.lock().unwrap_or_else(PoisonError::into_inner);
        let Timestamp(now) = clock::now();
        for digest in self.store.collect_builds(KEPT, Timestamp(now - FRESH_MS))? {
            // What is left goes at the next start.
            if let Err(error) = self.builds.remove(&digest) {
                tracing::warn!(digest, %error, "a build that nobody needs could not be removed");
            }
        }
        Ok(())
    }

    /// Removes what nobody needs any more, now and once a day, until it is dropped.
    pub async fn tidy(self: &Arc<Self>) {
        loop {
            let done = self.work(|control| control.collect_builds().and_then(|()| control.prune_environments())).await;
            if let Err(refusal) = done {
                tracing::warn!(%refusal, "what nobody needs could not be removed");
            }
            tokio::time::sleep(DAY).await;
        }
    }

    /// Removes environments that no build needs and nobody has used for long.
    fn prune_environments(&self) -> Result<(), Refusal> {
        let cannot = |why: String| Refusal::System { what: "an environment that nobody needs cannot be removed".into(), why };
        let needed = self.builds.interpreters().map_err(|cause| cannot(cause.to_string()))?;
        let before = SystemTime::now() - UNUSED;
        for removed in self.environments.prune(&needed, before).map_err(|error| cannot(format!("{error}: {}", error.why())))? {
            tracing::info!(path = %removed.display(), "an environment that nobody has used for a week was removed");
        }
        Ok(())
    }

    /// Remembers a new key. Gives its secret, which nobody can tell again.
    pub(crate) async fn make_key(self: &Arc<Self>, name: String, scope: flash_api::Scope) -> Result<flash_api::NewKey, Refusal> {
        /// All of them are compared with at each request.
        const MOST: usize = 1000;
        self.work(move |control| {
            let drawn = |cause: std::io::Error| Refusal::System { what: "no secret could be drawn".into(), why: cause.to_string() };
            if control.store.keys()?.len() >= MOST {
                return Err(Refusal::TooMany { what: "key", limit: MOST });
            }
            let secret = format!("{}{}", crate::keyring::PREFIX, secret::draw().map_err(drawn)?);
            let id = secret::hex(&secret::random::<4>().map_err(drawn)?);
            let (hash, created) = (secret::hash(secret.as_bytes()), clock::now());
            let key = flash_store::Key { id, name, scope: crate::refusal::name(scope).into(), hash, created };
            control.store.add_key(&key)?;
            control.keyring.add(key.id.clone(), hash, scope);
            let key = flash_api::Key { id: key.id, name: key.name, scope, created: clock::text(created) };
            Ok(flash_api::NewKey { key, secret })
        })
        .await
    }
}

impl Changing {
    /// Begins a deployment there.
    pub(crate) async fn begin(&self, new: NewDeployment) -> Result<(u64, Vec<flash_store::Endpoint>), Refusal> {
        let build = new.build.clone();
        let begun = self.control.ask(move |store| match store.begin(&new)? {
            // Nobody rolls it out, for the environment is in our hands: its end could not be written then, as on a full disk.
            Begun::Busy(id) => {
                let problem = crate::rollout::problem("its end could not be written", "the disk was full, or the like");
                store.fail(id, &problem, "", &crate::rollout::event("failed"))?;
                store.begin(&new)
            }
            begun => Ok(begun),
        });
        match begun.await? {
            Begun::Rolling(id, endpoints) => {
                self.control.changing().insert(self.place.clone(), Some(id));
                Ok((id, endpoints))
            }
            Begun::NoBuild => Err(Refusal::Unknown { what: "build", name: build }),
            Begun::Busy(_) => Err(Refusal::Busy { app: self.place.app.clone(), environment: self.place.environment.clone() }),
        }
    }
}

impl Drop for Changing {
    fn drop(&mut self) {
        self.control.changing().remove(&self.place);
        self.control.progress.send_replace(());
    }
}

/// Does what blocks where that disturbs nobody.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()), // it is never cancelled
    }
}
