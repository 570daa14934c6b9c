//! A rollout: from a deployment that was asked for to one that serves, or that has failed and changed nothing.
//!
//! ```text
//!  begin (store: rolling) ─▶ start workers beside the old ─▶ all ready ─▶ store: current ─▶ switch ─▶ drain the old
//!                                         └──────────────▶ store: failed; the new ones end, the old serve on
//! ```
//!
//! An endpoint with `rollout = "replace"` has its workers end before the new ones start; requests wait meanwhile. Where the new ones do not come
//! up, the old build's are started again.
//!
//! Until the store says `current`, a server that is killed comes back with the old deployment, and from then on with the new one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use flash_environments::Cancel;
use flash_gateway::Access;
use flash_manifest::{Diagnostic, Endpoint, Overrides, Settings};
use flash_store::{Event, NewDeployment};
use flash_workers::{Base, Interpreter, Isolation, Printed, Status};

use crate::builds::Tree;
use crate::control::{Changing, Control, Deployed, Place, blocking};
use crate::passes::Pass;
use crate::refusal::Refusal;
use crate::service::{self, Started, Wanted, give_up};
use crate::tail::Tail;
use crate::{clock, resolve};

/// What is to be deployed, and where.
pub(crate) struct Order {
    pub(crate) place: Place,
    /// The build's digest.
    pub(crate) build: String,
    /// By endpoint.
    pub(crate) settings: BTreeMap<String, Overrides>,
}

/// A build whose endpoints are started.
struct Build<'b> {
    digest: &'b str,
    /// What runs its functions.
    python: &'b Path,
    /// Where its last words go.
    tail: &'b Arc<Tail>,
}

/// Why a rollout has failed.
struct Failed {
    problem: String,
    /// What its workers printed last, and the tracebacks of what could not be imported.
    output: String,
}

struct Rollout {
    control: Arc<Control>,
    id: u64,
    order: Order,
    tree: Tree,
    /// Ids of the build's endpoints, by name.
    ids: HashMap<String, flash_store::Endpoint>,
}

impl Control {
    /// Begins a deployment; it goes on by itself. Gives its number.
    pub(crate) async fn deploy(self: &Arc<Self>, order: Order) -> Result<u64, Refusal> {
        let changing = self.change(&order.place)?;
        let tree = self.tree(&order.build).await?;
        self.check(&tree, &order.settings)?;
        let lacking = self.lacking(&tree, &order.settings).await?;
        if !lacking.is_empty() {
            let (what, why, remedy) = crate::builds::told(&lacking);
            return Err(Refusal::BadSettings { what, why, remedy });
        }
        let new = NewDeployment {
            app: order.place.app.clone(),
            environment: order.place.environment.clone(),
            build: order.build.clone(),
            settings: serde_json::to_string(&order.settings).expect("they are plain data"),
            endpoints: served(&tree).map(|endpoint| endpoint.name.to_string()).collect(),
            held: self.engines.jobs().endpoints(),
            created: clock::now(),
        };
        let (id, endpoints) = changing.begin(new).await?;
        let ids = endpoints.into_iter().map(|endpoint| (endpoint.name.clone(), endpoint)).collect();
        let rollout = Arc::new(Rollout { control: self.clone(), id, order, tree, ids });
        let mut rollouts = self.rollouts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        while rollouts.try_join_next().is_some() {} // those that are done
        rollouts.spawn(rollout.run(changing));
        Ok(id)
    }

    /// What this machine lacks of what the endpoints are set to have.
    pub(crate) async fn lacking(self: &Arc<Self>, tree: &Tree, settings: &BTreeMap<String, Overrides>) -> Result<Vec<Diagnostic>, Refusal> {
        let machine = self.work(|_| Ok(crate::machine())).await?;
        let lacks = |endpoint: &Endpoint| {
            let overrides = settings.get(endpoint.name.as_str()).cloned().unwrap_or_default();
            machine.lacks(endpoint.name.as_str(), &Settings::of(endpoint, &overrides))
        };
        Ok(served(tree).flat_map(lacks).map(|(_, problem)| problem).collect())
    }

    /// What a build declares, which must be there.
    pub(crate) async fn tree(self: &Arc<Self>, digest: &str) -> Result<Tree, Refusal> {
        let digest = digest.to_owned();
        self.work(move |control| {
            if control.build(&digest)?.is_none() {
                return Err(Refusal::Unknown { what: "build", name: digest });
            }
            control.builds.read(&digest)
        })
        .await
    }

    /// Serves what was current when the last server ended; its workers start meanwhile. What can not be served is told of.
    ///
    /// # Errors
    /// Where the store does not say what that was.
    pub fn reconcile(&self) -> flash_store::Result<()> {
        let ended = problem("the server ended while it was rolled out", "it was killed, or the machine was");
        self.store.fail_rolling(&ended, &event("failed: the server ended meanwhile"))?;
        let known = self.store.builds()?.into_iter().map(|build| build.digest).collect();
        if let Err(error) = self.builds.clean(&known) {
            tracing::warn!(%error, "what a server that was killed has left could not be removed");
        }
        let endpoints = self.store.endpoints()?;
        self.apart.clean(&endpoints);
        if let Err(error) = self.logs.keep(|id| endpoints.iter().any(|endpoint| endpoint.id == id)) {
            tracing::warn!(%error, "logs of endpoints that are gone could not be removed");
        }
        for deployment in self.store.current()? {
            let place = Place { app: deployment.app, environment: deployment.environment };
            let settings: BTreeMap<String, Overrides> = serde_json::from_str(&deployment.settings).unwrap_or_default();
            let tree = self.kept(&deployment.build);
            if let Err(why) = &tree {
                tracing::error!(app = place.app, environment = place.environment, why, "a deployment cannot be served");
            }
            // Made anew where it is gone.
            let interpreter = tree.as_ref().map_err(Clone::clone).and_then(|tree| {
                let made = self.interpreter_of(&deployment.build, tree, &|_| {}, &Cancel::default());
                made.map_err(|error| format!("{error}: {}", error.why()))
            });
            let tree = interpreter.as_ref().map_err(Clone::clone).and(tree);
            let (python, tail) = (interpreter.unwrap_or_default(), Arc::default());
            let mut started = Vec::new();
            for known in endpoints.iter().filter(|endpoint| endpoint.deployment == Some(deployment.id)) {
                let overrides = settings.get(&known.name).cloned().unwrap_or_default();
                let endpoint = tree.as_ref().map_err(Clone::clone).and_then(|tree| {
                    let found = served(tree).find(|endpoint| endpoint.name.as_str() == known.name);
                    found.cloned().ok_or_else(|| "its build does not have it".to_owned())
                });
                if let Ok(endpoint) = &endpoint {
                    let build = Build { digest: &deployment.build, python: &python, tail: &tail };
                    started.push(Started::new(self.wanted(&known.id, &place, endpoint, &overrides, &build)));
                }
                let (place, name, build) = (place.clone(), known.name.clone(), deployment.build.clone());
                let deployed = Deployed { place, name, build, overrides, is_outdated: false, endpoint };
                self.serving().deployed.insert(known.id.clone(), deployed);
            }
            self.serving().service.switch(started, &BTreeSet::new());
        }
        Ok(())
    }

    /// A build that is to be served as it was; errs with why it cannot be.
    fn kept(&self, digest: &str) -> Result<Tree, String> {
        let lost = || format!("its build {} is lost or damaged on the server's disk; deploy it again: flash deploy", &digest[..12]);
        let said = |refusal: Refusal| refusal.problem(None).detail;
        self.build(digest).map_err(said)?.ok_or_else(lost)?;
        self.builds.read(digest).map_err(said)
    }

    /// What an endpoint's workers are forked from.
    fn base(&self, build: &Build<'_>, isolation: Isolation, pass: Option<Pass>, gpus: u32) -> Arc<Base> {
        let Interpreter { package, routes, .. } = &self.interpreter;
        let interpreter = Interpreter { python: build.python.to_owned(), package: package.clone(), routes: *routes };
        let (tail, logs) = (build.tail.clone(), self.logs.clone());
        let sink = move |printed: Printed<'_>| {
            let _ = &pass; // taken back with the last process that was forked from it
            tail.add(&printed);
            logs.printed(&printed);
        };
        let base = Base::new(interpreter, Arc::new(sink)).waiting_for(self.logs.room());
        Arc::new(base.isolated(isolation).with_devices(self.devices.clone(), gpus as usize))
    }

    /// The interpreter that a build's functions run in: where they have requirements, that of an environment with these, which is made if
    /// need be. Blocks.
    fn interpreter_of(
        &self,
        build: &str,
        tree: &Tree,
        progress: &dyn Fn(&str),
        cancel: &Cancel,
    ) -> Result<PathBuf, flash_environments::Error> {
        let Some(lock) = &tree.lock else { return Ok(self.interpreter.python.clone()) };
        if let Some(known) = &tree.interpreter {
            return Ok(known.clone());
        }
        let made = self.environments.get(lock, &self.interpreter.python, progress, cancel)?.python;
        if let Err(error) = self.builds.note_interpreter(build, &made) {
            tracing::debug!(%error, "the next start will look for the environment again");
        }
        Ok(made)
    }

    /// Whether a build can be deployed here with these settings.
    pub(crate) fn check(&self, tree: &Tree, settings: &BTreeMap<String, Overrides>) -> Result<(), Refusal> {
        check(tree, settings)?;
        startable(tree, settings)?;
        let Some(wanted) = &tree.python else { return Ok(()) };
        let (wanted, ours) = (wanted.to_string(), &self.about.python);
        if *ours == wanted || ours.starts_with(&format!("{wanted}.")) {
            return Ok(());
        }
        Err(Refusal::BadArtifact {
            what: format!("the build is for Python {wanted}, and the server runs {ours}"),
            why: "its requirements were locked for that version: others may be other packages, or none".into(),
            remedy: format!("build it for the server's: --python-version {}", ours.rsplit_once('.').map_or(&**ours, |(minor, _)| minor)),
        })
    }

    fn wanted(&self, id: &str, place: &Place, endpoint: &Endpoint, overrides: &Overrides, build: &Build<'_>) -> Wanted {
        let settings = Settings::of(endpoint, overrides);
        let isolation = self.apart.isolation(place, endpoint.name.as_str(), self.builds.sources(build.digest), &settings);
        let endpoint = endpoint.with(overrides);
        let mut config = service::config(&endpoint, false, None);
        config["slots"] = settings.max_concurrency.into();
        let pass = self.passes.issue(place);
        match &pass {
            Ok(pass) => {
                let public = self.about.addresses.first();
                config["deployment"] = serde_json::json!({ "url": self.workers_url, "token": pass.secret(), "public": public });
            }
            // It serves all the same.
            Err(error) => tracing::error!(%error, endpoint = id, "its workers cannot call other endpoints: no secret could be drawn"),
        }
        Wanted {
            id: id.to_owned(),
            config,
            settings: resolve::pool(&settings, endpoint.class.kind()),
            base: self.base(build, isolation, pass.ok(), settings.gpu),
            // Whatever class it was declared with: no deployment has `/execute`.
            access: Access::Routes,
            public: settings.public,
            policy: resolve::policy(&settings),
            endpoint,
        }
    }
}

impl Rollout {
    /// `_changing` is given back when all is done.
    async fn run(self: Arc<Self>, _changing: Changing) {
        let id = self.id;
        let Err(Failed { problem, output }) = self.roll().await else {
            if let Err(refusal) = self.control.work(Control::collect_builds).await {
                tracing::warn!(%refusal, "builds that nobody needs could not be collected");
            }
            return;
        };
        let failed = self.control.ask(move |store| store.fail(id, &problem, &output, &event("failed: what served before serves on")));
        if let Err(refusal) = failed.await {
            // The next deployment there tries again, and so does the next start.
            tracing::error!(deployment = id, %refusal, "the end of a deployment could not be written");
        }
    }

    async fn roll(self: &Arc<Self>) -> Result<(), Failed> {
        let tail = Arc::new(Tail::default());
        let python = self.interpreter().await?;
        let build = Build { digest: &self.order.build, python: &python, tail: &tail };
        let differing = self.differing();
        self.note(&match differing.len() {
            0 => "no endpoint differs from what serves".to_owned(),
            _ => format!("starting {}", list(differing.iter().map(|endpoint| endpoint.name.as_str()))),
        })
        .await?;
        let (mut started, mut replaced) = (Vec::new(), Vec::new());
        if let Err(Failed { problem, output: trace }) = self.bring_up(differing, &build, &mut started, &mut replaced).await {
            give_up(started).await;
            let printed = tail.last().await;
            self.bring_back(replaced).await;
            let output = [printed, trace].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n");
            return Err(Failed { problem, output });
        }
        tail.close();
        for started in &started {
            self.control.logs.note(started.id(), &format!("deployment {} serves, build {}", self.id, &self.order.build[..12]));
        }
        self.switch(started);
        Ok(())
    }

    /// Starts what differs, waits until it is ready, and has the store say that it serves. Errs with the problem and tracebacks; what was started
    /// by then, and what has ended for it, is to be seen to.
    async fn bring_up(
        &self,
        differing: Vec<&Endpoint>,
        build: &Build<'_>,
        started: &mut Vec<Started>,
        replaced: &mut Vec<Wanted>,
    ) -> Result<(), Failed> {
        let (instead, beside): (Vec<_>, Vec<_>) = differing.into_iter().partition(|endpoint| self.replaces(endpoint));
        started.extend(self.start(&beside, build));
        self.ready(started).await?;
        if !instead.is_empty() {
            // Last, so that they are away for as short as can be, and not at all where another endpoint does not come up.
            *replaced = self.hold(&instead).await?;
            started.extend(self.start(&instead, build));
            self.ready(started).await?;
        }
        let (id, names, serves) = (self.id, self.ids.keys().cloned().collect::<Vec<_>>(), event("serves"));
        match self.control.ask(move |store| store.make_current(id, &names, &serves)).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Failed::from(problem("it does not roll any more", "its environment was removed"))),
            Err(refusal) => Err(Failed::from(refusal)),
        }
    }

    async fn ready(&self, started: &[Started]) -> Result<(), Failed> {
        tokio::select! {
            settled = service::ready(started) => settled.map_err(|errors| self.not_ready(&errors)),
            problem = self.control.given_up(self.id) => Err(Failed::from(problem)),
        }
    }

    /// The endpoints that differ from what serves, or do not serve as they should.
    fn differing(&self) -> Vec<&Endpoint> {
        let serving = self.control.serving();
        let differs = |endpoint: &&Endpoint| {
            let (known, overrides) = self.identity(endpoint);
            let id = &known.id;
            let same = serving
                .deployed
                .get(id)
                .is_some_and(|deployed| deployed.build == self.order.build && deployed.overrides == overrides && !deployed.is_outdated);
            !(same && serving.service.find(id).is_some_and(|served| matches!(*served.pool().status().borrow(), Status::Ready)))
        };
        served(&self.tree).filter(differs).collect()
    }

    /// Whether an endpoint's workers must have ended before new ones start.
    fn replaces(&self, endpoint: &Endpoint) -> bool {
        let (known, overrides) = self.identity(endpoint);
        Settings::of(endpoint, &overrides).rollout == flash_manifest::Rollout::Replace
            && self.control.serving().service.find(&known.id).is_some()
    }

    fn start(&self, endpoints: &[&Endpoint], build: &Build<'_>) -> Vec<Started> {
        let start = |endpoint: &&Endpoint| {
            let (known, overrides) = self.identity(endpoint);
            Started::new(self.control.wanted(&known.id, &self.order.place, endpoint, &overrides, build))
        };
        endpoints.iter().map(start).collect()
    }

    /// Has requests for these endpoints wait, and their workers end once they have answered what they have. Gives what started those.
    async fn hold(&self, endpoints: &[&Endpoint]) -> Result<Vec<Wanted>, Failed> {
        let text = format!("ending what serves of {}", list(endpoints.iter().map(|endpoint| endpoint.name.as_str())));
        self.note(&text).await?;
        let ids = endpoints.iter().map(|endpoint| self.identity(endpoint).0.id.clone()).collect();
        // Each request has a deadline, so this ends; a server that stops waits no longer for them either.
        let ended = self.control.serving().service.hold(&ids, resolve::WAITING);
        Ok(ended.await)
    }

    /// Starts again what has ended for workers that did not come up. Requests that wait go to it; they need not wait until it is ready.
    async fn bring_back(&self, replaced: Vec<Wanted>) {
        if replaced.is_empty() {
            return;
        }
        for wanted in &replaced {
            self.control.logs.note(&wanted.id, &format!("deployment {} did not come up: what served before is started again", self.id));
        }
        self.control.serving().service.switch(replaced.into_iter().map(Started::new).collect(), &BTreeSet::new());
        let again = event("starting what served before again");
        let id = self.id;
        if let Err(refusal) = self.control.ask(move |store| store.note(id, &again)).await {
            tracing::warn!(%refusal, "a step of a deployment could not be noted");
        }
    }

    /// All at one moment: what was started serves, and what left the project does no longer.
    fn switch(&self, started: Vec<Started>) {
        let mut serving = self.control.serving();
        let ours = |deployed: &Deployed| deployed.place == self.order.place;
        let kept: BTreeSet<&String> = self.ids.values().map(|known| &known.id).collect();
        let gone: BTreeSet<String> =
            serving.deployed.iter().filter(|(id, deployed)| ours(deployed) && !kept.contains(id)).map(|(id, _)| id.clone()).collect();
        serving.deployed.retain(|id, _| !gone.contains(id));
        for endpoint in served(&self.tree) {
            let (known, overrides) = self.identity(endpoint);
            let deployed = Deployed {
                place: self.order.place.clone(),
                name: endpoint.name.to_string(),
                build: self.order.build.clone(),
                overrides,
                is_outdated: false,
                endpoint: Ok(endpoint.clone()),
            };
            serving.deployed.insert(known.id.clone(), deployed);
        }
        serving.service.switch(started, &gone);
    }

    fn identity(&self, endpoint: &Endpoint) -> (&flash_store::Endpoint, Overrides) {
        let name = endpoint.name.as_str();
        (&self.ids[name], self.order.settings.get(name).cloned().unwrap_or_default())
    }

    /// The interpreter for the build, with its requirements; what is done for it is told.
    async fn interpreter(self: &Arc<Self>) -> Result<PathBuf, Failed> {
        let (rollout, cancel) = (self.clone(), Cancel::default());
        let given_up = cancel.clone();
        let made = blocking(move || {
            let told = |text: &str| {
                if let Err(error) = rollout.control.store.note(rollout.id, &event(text)) {
                    tracing::warn!(%error, "a step of a deployment could not be noted");
                }
                rollout.control.progress.send_replace(());
            };
            rollout.control.interpreter_of(&rollout.order.build, &rollout.tree, &told, &cancel)
        });
        let mut made = std::pin::pin!(made);
        let done = tokio::select! {
            done = &mut made => done,
            problem = self.control.given_up(self.id) => {
                given_up.cancel();
                let _ = made.await; // whatever has become of it
                return Err(Failed { problem, output: String::new() });
            }
        };
        done.map_err(|error| {
            let (what, why, remedy) = (error.to_string(), error.why(), error.remedy());
            Failed::from(Refusal::NotReady { what, why, remedy })
        })
    }

    async fn note(&self, text: &str) -> Result<(), Failed> {
        let (id, event) = (self.id, event(text));
        self.control.ask(move |store| store.note(id, &event)).await?;
        self.control.progress.send_replace(());
        Ok(())
    }

    /// Tells their logs, too.
    fn not_ready(&self, errors: &[(String, Arc<flash_workers::Error>)]) -> Failed {
        let paths = Paths::of(&self.control.builds.sources(&self.order.build));
        let name = |id: &str| self.ids.iter().find(|(_, known)| known.id == id).map_or(id.to_owned(), |(name, _)| name.clone());
        let (mut names, mut whys, mut remedies, mut traces) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (id, error) in errors {
            names.push(name(id));
            for (why, remedy, trace) in reasons(error) {
                let (why, trace) = (paths.within_project(&why), trace.map(|trace| paths.within_project(trace.trim_end())));
                self.control.logs.note(id, &format!("deployment {} failed, build {}: {why}", self.id, &self.order.build[..12]));
                for line in trace.iter().flat_map(|trace| trace.lines()) {
                    self.control.logs.note(id, line);
                }
                // Endpoints of one broken module fail alike.
                if !whys.contains(&why) {
                    whys.push(why);
                    remedies.push(paths.within_project(&remedy));
                    traces.extend(trace);
                }
            }
        }
        traces.dedup();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let refusal = Refusal::NotReady {
            what: format!("{} did not come up", list(names.into_iter())),
            why: whys.join("\n"),
            remedy: remedies.join("\n"),
        };
        Failed { problem: json(&refusal), output: traces.join("\n") }
    }
}

/// Why workers do not start: each reason with its remedy, and the traceback where there is one.
fn reasons(error: &flash_workers::Error) -> Vec<(String, String, Option<&str>)> {
    let flash_workers::Error::CannotLoad(report) = error else {
        return vec![(format!("{error}: {}", error.why()), error.remedy(), None)];
    };
    let one = |report: &'_ flash_workers::Report| {
        let at = report.at.as_ref().map_or_else(String::new, |at| format!(" ({at})"));
        (format!("{}: {}{at}", report.what, report.why), report.remedy.clone())
    };
    let traces = report.all().map(|report| report.traceback.as_deref());
    report.all().map(one).zip(traces).map(|((why, remedy), trace)| (why, remedy, trace)).collect()
}

/// How paths of a build's sources begin on this machine; who deploys them has them elsewhere.
struct Paths(Vec<String>);

impl Paths {
    fn of(sources: &Path) -> Self {
        let mut beginnings: Vec<String> =
            sources.canonicalize().iter().map(PathBuf::as_path).chain([sources]).map(|path| format!("{}/", path.display())).collect();
        beginnings.dedup();
        Self(beginnings)
    }

    /// A text in which files of the build are called as in its project.
    fn within_project(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, beginning| text.replace(beginning, ""))
    }
}

impl From<String> for Failed {
    fn from(problem: String) -> Self {
        Self { problem, output: String::new() }
    }
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Self { problem: json(&refusal), output: String::new() }
    }
}

/// The endpoints that are served: those with routes.
pub(crate) fn served(tree: &Tree) -> impl Iterator<Item = &Endpoint> {
    tree.endpoints.iter()
}

/// Settings for what the build does not have are a slip.
pub(crate) fn check(tree: &Tree, settings: &BTreeMap<String, Overrides>) -> Result<(), Refusal> {
    let names = || tree.endpoints.iter().map(|endpoint| endpoint.name.as_str());
    let wrong: Vec<_> = settings.values().flat_map(|overrides| overrides.check()).map(|(_, problem)| problem).collect();
    if !wrong.is_empty() {
        let (what, why, remedy) = crate::builds::told(&wrong);
        return Err(Refusal::BadSettings { what, why, remedy });
    }
    let Some(unknown) = settings.keys().find(|name| !names().any(|known| known == *name)) else { return Ok(()) };
    let remedy = flash_manifest::nearest(unknown, names())
        .map_or_else(|| format!("those that it has: {}", list(names())), |near| format!("did you mean `{near}`?"));
    let why = "settings are for the endpoints of the build that is deployed".to_owned();
    Err(Refusal::BadSettings { what: format!("the build has no endpoint `{unknown}`"), why, remedy })
}

/// The longest that a variable may be with its name, `=` and the zero at its end: the kernel starts nothing with a longer one.
const LONGEST_VARIABLE: usize = 128 * 1024;

/// No process can be started with a variable that is too long.
fn startable(tree: &Tree, settings: &BTreeMap<String, Overrides>) -> Result<(), Refusal> {
    for endpoint in served(tree) {
        let name = endpoint.name.as_str();
        let overrides = settings.get(name).cloned().unwrap_or_default();
        let env = Settings::of(endpoint, &overrides).env;
        let Some((key, value)) = env.iter().find(|(key, value)| key.len() + value.len() + 2 > LONGEST_VARIABLE) else { continue };
        return Err(Refusal::BadSettings {
            what: format!("`{key}` in the env of {name} has {} bytes", value.len()),
            why: format!("the system starts no process with a variable of more than {} bytes, its name included", LONGEST_VARIABLE - 2),
            remedy: "put it into a file of the project, or have the function fetch it".into(),
        });
    }
    Ok(())
}

/// A step that happens now.
pub(crate) fn event(text: &str) -> Event {
    Event { time: clock::now(), text: text.to_owned() }
}

/// Why a rollout failed that no endpoint is to blame for, as it is remembered.
pub(crate) fn problem(what: &str, why: &str) -> String {
    let (what, why, remedy) = (what.to_owned(), why.to_owned(), "deploy it again: flash deploy".to_owned());
    json(&Refusal::NotReady { what, why, remedy })
}

fn json(refusal: &Refusal) -> String {
    serde_json::to_string(&refusal.problem(None)).expect("it is plain data")
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// How long the last words of workers that have ended are waited for.
pub(crate) const LAST_WORDS: Duration = Duration::from_millis(500);
