//! Keeps what is served in step with the sources: looks when something has happened, scans, starts what has changed beside what serves,
//! and switches over once all of it is ready. Until then, and for as long as the sources are broken, the last good version serves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flash_control::service::give_up;
use flash_manifest::Endpoint;
use flash_workers::Imported;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::lines::to_errors;
use crate::log::Log;
use crate::report::{Failure, Fault, Trouble, warn};
use crate::run::burst::Burst;
use crate::run::contents::Contents;
use crate::run::dependencies::Dependencies;
use crate::run::place::{Look, Place};
use crate::run::plan::{further_routes, plan, reloaded};
use crate::run::project::{Target, served};
use crate::run::service::{Service, ready};
use crate::run::watch::Watch;

/// So many starts, one after the other, are given up as soon as the sources change once more: somebody saves while a start is slow.
const HASTY: u32 = 5;
/// Those after them, and installations, are left this long first: some program may write sources whenever it is imported.
const PATIENCE: Duration = Duration::from_secs(5);
/// A first start has this long before it is looked whether the sources change meanwhile: most are over by then.
const FIRST_PATIENCE: Duration = Duration::from_secs(1);

/// The project's sources, and what they held before they were scanned.
pub struct Sight {
    place: Place,
    known: Contents,
}

impl Sight {
    /// Looks at a project; `None` when it is not there.
    pub fn new(target: &Path) -> Option<Self> {
        let place = Place::of(target)?;
        let known = place.look(&Contents::default(), &BTreeSet::new(), &BTreeSet::new()).contents;
        Some(Self { place, known })
    }

    /// Waits until the sources hold something else, from when a start has had time enough to end by itself. For ever where they cannot be
    /// watched, which is told once there is something to serve.
    pub async fn changed(&self) {
        tokio::time::sleep(FIRST_PATIENCE).await;
        let (place, known) = (self.place.clone(), self.known.clone());
        let looked = spawn_blocking(move || {
            let nothing = BTreeSet::new();
            let mut watch = Watch::new().ok()?;
            let (_, look) = look(&place, &mut watch, &known, &nothing, &nothing).ok()?;
            Some((watch, !look.contents.changed_since(&known).is_empty()))
        });
        match looked.await.expect("looking at files does not panic") {
            Some((_, true)) => {}
            Some((watch, false)) => changed_again(Duration::ZERO, &self.place, &self.known, &watch, &Arc::new(BTreeSet::new())).await,
            None => std::future::pending().await,
        }
    }

    /// Notes what the sources hold now.
    pub async fn look_again(&mut self) {
        let (place, known) = (self.place.clone(), self.known.clone());
        let look = move || place.look(&known, &BTreeSet::new(), &BTreeSet::new()).contents;
        self.known = spawn_blocking(look).await.expect("looking at files does not panic");
    }
}

/// A reload that is done.
struct Done {
    before: Vec<Endpoint>,
    changed: BTreeSet<PathBuf>,
    took: Duration,
}

/// Reloads what is served for as long as it is polled.
pub struct Reloader {
    target: Target,
    place: Place,
    known: Contents,
    log: Log,
    dependencies: Dependencies,
    /// Files that were written during the last reload, and were not before: one that is written at each import is no endless reason.
    doubted: BTreeSet<PathBuf>,
    /// Whether it was told that the project is too large to be watched as a whole.
    narrow: bool,
    /// The last errors, as they were told.
    told: Option<String>,
    /// How many starts were given up of late, for what was saved meanwhile.
    given_up: u32,
    /// Imports the libraries ahead.
    preparing: Option<JoinHandle<()>>,
}

impl Reloader {
    pub fn new(target: Target, sight: Sight, log: Log, dependencies: Dependencies) -> Self {
        let Sight { place, known } = sight;
        Self { target, place, known, log, dependencies, doubted: BTreeSet::new(), narrow: false, told: None, given_up: 0, preparing: None }
    }

    /// Reloads until the sources cannot be watched any more, which it tells. May be dropped at any point: what it has started and not
    /// switched over to ends with it.
    pub async fn run(mut self, service: &mut Service) {
        let mut watch = match Watch::new() {
            Ok(watch) => watch,
            Err(trouble) => return warn(&trouble),
        };
        self.prepare_libraries(service);
        // What was saved while the first version started.
        let mut burst = Burst::default();
        burst.add(Instant::now());
        loop {
            let place = self.place.clone();
            let (known, written, imported) = (self.known.clone(), burst.written.clone(), Arc::new(imported_by(service)));
            let looking_for = imported.clone();
            let looked = spawn_blocking(move || {
                let looked = look(&place, &mut watch, &known, &written, &looking_for);
                (watch, looked)
            });
            let (back, looked) = looked.await.expect("looking at files does not panic");
            watch = back;
            let (at_first, Look { contents, elsewhere, narrow, .. }) = match looked {
                Ok(looked) => looked,
                Err(trouble) => return warn(&trouble),
            };
            if narrow && !std::mem::replace(&mut self.narrow, true) {
                warn(&self.place.too_large());
            }
            self.known.adopt(&elsewhere, &at_first);
            let changed = contents.changed_since(&self.known);
            if changed.is_empty() {
                self.known = contents;
                self.up_to_date();
            } else if let Some(done) = self.reload(contents, &changed, burst.began(), (&watch, &imported), service).await {
                let written = watch.written();
                self.doubt(&written);
                self.log_reload(done, service);
                // What the new workers have imported may be where nobody has looked yet.
                let imported = imported_by(service);
                if written.is_empty() && !(self.known.has_all(&imported) && watch.follows_folders_of(&imported)) {
                    burst = Burst::default();
                    continue;
                }
            }
            burst = watch.settled().await;
        }
    }

    /// Brings what is served in step with what the sources hold now, if they are sound. `None` when nothing is served anew.
    async fn reload(
        &mut self,
        contents: Contents,
        changed: &BTreeSet<PathBuf>,
        began: Option<Instant>,
        (watch, imported): (&Watch, &Arc<BTreeSet<PathBuf>>),
        service: &mut Service,
    ) -> Option<Done> {
        let target = self.target.clone();
        let scanned = spawn_blocking(move || target.scan()).await.expect("scanning files does not panic");
        let project = match scanned {
            Ok(project) => project,
            Err(failure) => {
                self.tell(&failure);
                return None;
            }
        };
        self.target.warn(&project);
        let endpoints = served(&project);
        let overlays = tokio::select! {
            overlays = self.dependencies.overlays(&endpoints) => overlays,
            () = changed_again(PATIENCE, &self.place, &contents, watch, imported) => return None,
        };
        service.set_overlays(overlays);
        let wanted: BTreeMap<_, _> = endpoints.iter().map(|endpoint| (endpoint.name.as_str(), service.config(endpoint))).collect();
        let plan = plan(&service.running(), &wanted, changed);
        if plan.is_empty() {
            self.known = contents;
            self.up_to_date();
            return None;
        }
        let started = service.start(endpoints.iter().copied().filter(|endpoint| plan.start.contains(endpoint.name.as_str())));
        let patience = if self.given_up < HASTY { Duration::ZERO } else { PATIENCE };
        let settled = tokio::select! {
            settled = ready(&started) => Some(settled),
            () = changed_again(patience, &self.place, &contents, watch, imported) => None,
        };
        let Some(settled) = settled else {
            give_up(started).await;
            self.given_up += 1;
            return None;
        };
        self.given_up = 0;
        if let Err(troubles) = settled {
            give_up(started).await;
            self.tell(&Failure::all(Fault::Request, troubles));
            return None;
        }
        let before = service.endpoints().cloned().collect();
        service.switch(started, &plan.stop, &endpoints);
        self.told = None;
        self.known = contents;
        self.prepare_libraries(service);
        let took = began.map(|began| began.elapsed()).unwrap_or_default();
        Some(Done { before, changed: changed.clone(), took })
    }

    /// What was written during a reload may have been imported before or after that: it counts as changed.
    fn doubt(&mut self, written: &BTreeSet<PathBuf>) {
        let doubted = written.difference(&self.doubted).cloned().collect();
        self.known.doubt(&doubted);
        self.doubted = doubted;
    }

    fn log_reload(&self, done: Done, service: &Service) {
        let Done { before, changed, took } = done;
        let several = service.endpoints().len() > 1;
        let new = further_routes(service.endpoints(), &before, several);
        let gone = further_routes(&before, service.endpoints(), several);
        self.log.name_endpoints(several);
        self.log.note(&reloaded(self.place.root(), &changed, took, &new, &gone));
        let named = |endpoint: &Endpoint| (endpoint.name.clone(), endpoint.functions.len());
        if !service.endpoints().map(named).eq(before.iter().map(named)) {
            self.log.text(&service.list());
        }
    }

    fn prepare_libraries(&mut self, service: &Service) {
        if self.preparing.as_ref().is_none_or(JoinHandle::is_finished) {
            self.preparing = Some(service.prepare_libraries());
        }
    }

    /// Tells what is wrong, unless it was the last thing that was told.
    fn tell(&mut self, failure: &Failure) {
        let text = failure.text();
        if self.told.as_ref() == Some(&text) {
            tracing::debug!("not reloaded, for the same reason");
            return;
        }
        failure.show();
        to_errors("flash: not reloaded: the last good version serves on\n");
        self.told = Some(text);
    }

    /// Nothing is to be done: says so to those who wait for it.
    fn up_to_date(&mut self) {
        let given_up = std::mem::take(&mut self.given_up) > 0;
        if self.told.take().is_some() || given_up {
            self.log.note("the sources are mended: what serves is up to date");
        }
    }
}

/// What the sources held at first, and what they hold now that all of their folders are watched.
fn look(
    place: &Place,
    watch: &mut Watch,
    before: &Contents,
    written: &BTreeSet<PathBuf>,
    imported: &BTreeSet<PathBuf>,
) -> Result<(Contents, Look), Trouble> {
    let mut look = place.look(before, written, imported);
    let at_first = look.contents.clone();
    while watch.follow(&look.folders)? {
        look = place.look(before, written, imported);
    }
    Ok((at_first, look))
}

/// Waits until the sources hold something else than `contents`, from when a start has taken `patience`.
async fn changed_again(patience: Duration, place: &Place, contents: &Contents, watch: &Watch, imported: &Arc<BTreeSet<PathBuf>>) {
    tokio::time::sleep(patience).await;
    let mut burst = Burst::default();
    loop {
        burst = watch.rested(&burst).await;
        let (place, before, written, imported) = (place.clone(), contents.clone(), burst.written.clone(), imported.clone());
        // What was written again as it was, by the modules themselves say, is no change.
        let changed = move || !place.look(&before, &written, &imported).contents.changed_since(&before).is_empty();
        if spawn_blocking(changed).await.expect("looking at files does not panic") {
            return;
        }
    }
}

/// The files that workers have imported, as far as they say.
fn imported_by(service: &Service) -> BTreeSet<PathBuf> {
    let known = |imported| match imported {
        Imported::Files(files) => files,
        Imported::Unknown => BTreeSet::new(),
    };
    service.running().into_values().flat_map(|running| known(running.imported)).collect()
}
