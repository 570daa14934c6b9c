//! The server's state, as the control API and rollouts see it: what is remembered, what is served, what is being changed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
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
    /// Builds that come, are mended or go: each in one pair of hands.
    placing: Placing,
    /// Deployments that roll and are to be given up.
    cancelled: watch::Sender<HashSet<u64>>,
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
    /// Whether its build's files were replaced since its workers started, which may see the former ones alone.
    pub(crate) is_outdated: bool,
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
            placing: Placing::default(),
            cancelled: watch::Sender::default(),
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

    /// The deployments that roll, by number.
    pub(crate) fn rolling(&self) -> Vec<u64> {
        let mut rolling: Vec<u64> = self.changing().values().filter_map(|rolling| *rolling).collect();
        rolling.sort_unstable();
        rolling
    }

    /// The one that rolls in an environment.
    pub(crate) fn rolling_in(&self, place: &Place) -> Option<u64> {
        self.changing().get(place).copied().flatten()
    }

    /// Has a rollout given up. False, and nothing done, where it is not under way.
    pub(crate) fn cancel(&self, deployment: u64) -> bool {
        let changing = self.changing(); // so that it does not end meanwhile
        let rolls = changing.values().any(|rolling| *rolling == Some(deployment));
        if rolls {
            self.cancelled.send_if_modified(|cancelled| cancelled.insert(deployment));
        }
        rolls
    }

    /// Waits until a rollout is to be given up; gives the problem that this is.
    pub(crate) async fn given_up(&self, deployment: u64) -> String {
        let mut cancelled = self.cancelled.subscribe();
        tokio::select! {
            () = self.stopped() => crate::rollout::problem("the server was stopped while it was rolled out", "somebody asked for its end"),
            _ = cancelled.wait_for(|cancelled| cancelled.contains(&deployment)) => {
                crate::rollout::problem("the deployment was cancelled", "somebody asked for that while it was rolled out")
            }
        }
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

    /// A build that the server has, whole: one that the disk has lost a part of is unpacked anew. Where that cannot be, it is as if the
    /// build were not there, so that it is sent again.
    pub(crate) fn build(&self, digest: &str) -> Result<Option<flash_store::Build>, Refusal> {
        let Some(build) = self.store.build(digest)? else { return Ok(None) };
        if self.builds.damage(digest).is_none() {
            return Ok(Some(build));
        }
        let _placing = self.placing.take(digest);
        self.mended(digest, build)
    }

    /// The same for who holds the build already.
    fn mended(&self, digest: &str, build: flash_store::Build) -> Result<Option<flash_store::Build>, Refusal> {
        let Some(damaged) = self.builds.damage(digest) else { return Ok(Some(build)) }; // or it was mended meanwhile
        let file = damaged.display();
        match self.builds.renew(digest) {
            Ok(()) => {
                tracing::warn!(build = digest, %file, "a build was damaged on the disk, and is unpacked anew from its artifact");
                self.note_renewed(digest);
                Ok(Some(build))
            }
            Err(error) if matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) => {
                Err(crate::builds::system(&error))
            }
            Err(error) => {
                tracing::error!(build = digest, %file, %error, "a build is damaged on the disk, and so is its artifact: deploy it again");
                Ok(None)
            }
        }
    }

    /// What serves from a build's former files is to be started anew by the next deployment, whatever else is the same.
    fn note_renewed(&self, digest: &str) {
        for deployed in self.serving().deployed.values_mut().filter(|deployed| deployed.build == digest) {
            deployed.is_outdated = true;
        }
    }

    /// Keeps an upload as a build; one that is there already is left as it is.
    pub(crate) fn keep(&self, incoming: Incoming, digest: String) -> Result<flash_store::Build, Refusal> {
        let _placing = self.placing.take(&digest);
        if let Some(build) = self.store.build(&digest)?
            && let Some(build) = self.mended(&digest, build)?
        {
            return Ok(build);
        }
        let (manifest, bytes) = self.builds.place(incoming, &digest)?;
        self.note_renewed(&digest);
        let endpoints = manifest.endpoints.iter().map(|endpoint| endpoint.name.to_string()).collect();
        let build = flash_store::Build { digest, bytes, app: manifest.app.to_string(), endpoints, created: clock::now() };
        self.store.add_build(&build)?;
        Ok(build)
    }

    /// Removes builds that nobody will go back to.
    pub(crate) fn collect_builds(&self) -> Result<(), Refusal> {
        let Timestamp(now) = clock::now();
        for digest in self.store.collect_builds(KEPT, Timestamp(now - FRESH_MS))? {
            let _placing = self.placing.take(&digest);
            if self.store.build(&digest)?.is_some() {
                continue; // it was sent again meanwhile
            }
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

/// Which builds are being placed, mended or removed: one that takes long holds up nobody but those who want the same one.
#[derive(Default)]
struct Placing {
    digests: Mutex<HashSet<String>>,
    changed: Condvar,
}

impl Placing {
    /// Waits until nobody else has the build. Blocks.
    fn take(&self, digest: &str) -> Placed<'_> {
        let digests = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_while(digests, |digests| digests.contains(digest));
        waited.unwrap_or_else(PoisonError::into_inner).insert(digest.to_owned());
        Placed { placing: self, digest: digest.to_owned() }
    }
}

/// A build in the hands of one, until this is dropped.
struct Placed<'p> {
    placing: &'p Placing,
    digest: String,
}

impl Drop for Placed<'_> {
    fn drop(&mut self) {
        self.placing.digests.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.digest);
        self.placing.changed.notify_all();
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
        let mut changing = self.control.changing();
        if let Some(Some(deployment)) = changing.remove(&self.place) {
            self.control.cancelled.send_if_modified(|cancelled| cancelled.remove(&deployment));
        }
        drop(changing);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_that_takes_long_holds_up_those_who_want_it_and_nobody_else() {
        let placing = Placing::default();
        let first = placing.take("a");
        drop(placing.take("b")); // it would hang
        std::thread::scope(|scope| {
            let (taken, told) = std::sync::mpsc::channel();
            let placing = &placing;
            scope.spawn(move || {
                let _second = placing.take("a");
                taken.send(()).expect("it is waited for");
            });
            assert!(told.recv_timeout(Duration::from_millis(50)).is_err(), "two have one build");
            drop(first);
            told.recv().expect("it is free");
        });
    }
}
