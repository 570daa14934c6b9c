//! What is deployed, as it is shown; and what a deployment would change of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flash_api::{Change, Changes, EndpointState, Function, JobCounts, Parameter, Plan, WorkerCounts};
use flash_manifest::{Diagnostic, Endpoint, Kind, SettingKey, Settings};
use flash_workers::{Error, Pool, Ready, State};

use crate::control::{Control, Deployed, Place, Serving};
use crate::refusal::Refusal;
use crate::rollout::{Order, served};
use crate::service::Started;

impl Control {
    /// All endpoints, by id.
    pub(crate) fn endpoints(&self) -> Vec<flash_api::Endpoint> {
        let serving = self.serving();
        serving.deployed.iter().map(|(id, deployed)| self.shown(&serving, id, deployed)).collect()
    }

    fn shown(&self, serving: &Serving, id: &str, deployed: &Deployed) -> flash_api::Endpoint {
        let base = self.about.addresses.first().map_or("", String::as_str);
        let settings = deployed.endpoint.as_ref().ok().map(|endpoint| Settings::of(endpoint, &deployed.overrides));
        let (state, error) = match (&deployed.endpoint, serving.service.find(id)) {
            (Err(why), _) => (EndpointState::Failed, Some(why.clone())),
            (Ok(_), None) => (EndpointState::Failed, Some("it is not served".into())),
            (Ok(_), Some(started)) => match started.pool().snapshot().state {
                State::Starting => (EndpointState::Starting, None),
                State::Ready => (EndpointState::Ready, None),
                State::CrashLoop { failures, next_try_in, last_error } => {
                    let seconds = next_try_in.as_secs_f64();
                    let error = format!("{}; {failures} times in a row, the next try is in {seconds:.1} s", said(&last_error));
                    (EndpointState::CrashLoop, Some(error))
                }
                State::Failed(error) => (EndpointState::Failed, Some(said(&error))),
            },
        };
        let pool = serving.service.find(id).map(Started::pool);
        let workers = settings.as_ref().map(|settings| settings.workers).unwrap_or_default();
        let workers = WorkerCounts { min: workers.least(), max: workers.most(), ..pool.map(counts).unwrap_or_default() };
        let ready = pool.and_then(Pool::last_ready);
        let queued = deployed.endpoint.as_ref().is_ok_and(|endpoint| endpoint.class.kind() == Kind::QueueBased);
        flash_api::Endpoint {
            id: id.to_owned(),
            name: deployed.name.clone(),
            app: deployed.place.app.clone(),
            environment: deployed.place.environment.clone(),
            url: if queued { format!("{base}/v2/{id}") } else { format!("{base}/lb/{id}") },
            build: deployed.build.clone(),
            rolling: self.rolling_in(&deployed.place),
            state,
            error,
            workers,
            jobs: queued.then(|| jobs(self.engines.counts(id))),
            timeout_ms: settings.as_ref().map_or(0, |settings| settings.timeout.as_millis() as u64),
            public: settings.as_ref().is_some_and(|settings| settings.public),
            functions: deployed.endpoint.iter().flat_map(|endpoint| functions(endpoint, ready.as_deref())).collect(),
            remarks: settings.iter().filter_map(remark).collect(),
        }
    }

    /// What a deployment would change.
    pub(crate) async fn changes(self: &Arc<Self>, order: &Order) -> Result<Changes, Refusal> {
        let tree = self.tree(&order.build).await?;
        self.check(&tree, &order.settings)?;
        let lacking = self.lacking(&tree, &order.settings).await?;
        let refused = |Diagnostic { what, why, remedy, .. }| Refusal::BadSettings { what, why, remedy }.problem(None);
        let problems = lacking.into_iter().map(refused).collect();
        let serving = self.serving();
        let ours: BTreeMap<&str, &Deployed> = serving
            .deployed
            .values()
            .filter(|deployed| deployed.place == order.place)
            .map(|deployed| (deployed.name.as_str(), deployed))
            .collect();
        let mut changes = Vec::new();
        let mut kept = BTreeSet::new();
        for endpoint in served(&tree) {
            let name = endpoint.name.as_str();
            kept.insert(name);
            let overrides = order.settings.get(name).cloned().unwrap_or_default();
            let new = Settings::of(endpoint, &overrides);
            changes.push(match ours.get(name) {
                None => Change::Create { endpoint: name.to_owned() },
                Some(deployed) => match differences(deployed, &order.build, endpoint, &new) {
                    what if what.is_empty() => Change::Keep { endpoint: name.to_owned() },
                    what => Change::Update { endpoint: name.to_owned(), what },
                },
            });
        }
        let gone = ours.keys().filter(|name| !kept.contains(**name));
        changes.extend(gone.map(|name| Change::Remove { endpoint: (*name).to_owned() }));
        Ok(Changes { changes, problems })
    }

    /// Serves endpoints no longer that the store has forgotten, served or not.
    pub(crate) async fn take_down(self: &Arc<Self>, forgotten: Vec<flash_store::Endpoint>) -> Result<(), Refusal> {
        let ids: BTreeSet<String> = forgotten.iter().map(|endpoint| endpoint.id.clone()).collect();
        {
            let mut serving = self.serving();
            serving.deployed.retain(|id, _| !ids.contains(id));
            serving.service.switch(Vec::new(), &ids);
        }
        self.work(move |control| {
            for flash_store::Endpoint { app, environment, name, .. } in forgotten {
                control.apart.forget(&Place { app, environment }, &name);
            }
            Ok(())
        })
        .await
    }
}

/// `ready` is what a worker says of them, in their order.
fn functions(endpoint: &Endpoint, ready: Option<&Ready>) -> Vec<Function> {
    let shown = |(place, function): (usize, &flash_manifest::Function)| Function {
        name: function.qualname.clone(),
        module: function.module.name.clone(),
        method: function.route.as_ref().map(|route| route.method.to_string()),
        path: function.route.as_ref().map(|route| route.path.to_string()),
        plan: ready.and_then(|ready| ready.routes.get(place)).map(|route| plan(&route.plan)),
    };
    endpoint.functions.iter().enumerate().map(shown).collect()
}

fn plan(plan: &flash_workers::Plan) -> Plan {
    let parameter = |parameter: &flash_workers::Parameter| Parameter {
        name: parameter.name.clone(),
        place: parameter.place.clone(),
        key: parameter.key.clone(),
        required: parameter.required,
        many: parameter.many,
    };
    Plan { body: plan.body.map(|body| body.as_str().to_owned()), parameters: plan.parameters.iter().map(parameter).collect() }
}

/// What there is of a pool's workers, and what they have to do.
fn counts(pool: &Pool) -> WorkerCounts {
    let seen = pool.snapshot();
    let [ready, starting, in_flight, waiting] =
        [seen.ready, seen.starting, seen.in_flight, seen.waiting].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    WorkerCounts { ready, starting, in_flight, waiting, ..WorkerCounts::default() }
}

fn jobs(counts: flash_jobs::JobCounts) -> JobCounts {
    let flash_jobs::JobCounts { in_queue, in_progress, completed, failed, retried } = counts;
    JobCounts { in_queue, in_progress, completed, failed, retried }
}

fn said(error: &Error) -> String {
    format!("{error}: {}", error.why())
}

/// What is recorded, and has no effect here.
fn remark(settings: &Settings) -> Option<String> {
    settings.image.as_ref().map(|image| format!("the image `{image}` is recorded, and not pulled: functions run in the server's Python"))
}

/// A phrase for each thing that differs.
fn differences(deployed: &Deployed, build: &str, endpoint: &Endpoint, new: &Settings) -> Vec<String> {
    let mut what = Vec::new();
    let Ok(before) = &deployed.endpoint else { return vec!["what serves is broken".into()] };
    if deployed.build != build {
        let routes = |endpoint: &Endpoint| {
            endpoint.functions.iter().filter_map(|function| function.route.as_ref()).map(ToString::to_string).collect::<BTreeSet<_>>()
        };
        let (old, new) = (routes(before), routes(endpoint));
        what.push("sources".into());
        what.extend(new.difference(&old).map(|route| format!("new: {route}")));
        what.extend(old.difference(&new).map(|route| format!("gone: {route}")));
    }
    let old = Settings::of(before, &deployed.overrides);
    for key in SettingKey::ALL {
        let shown = |settings: &Settings| settings.shown(key).unwrap_or_else(|| "nothing".into());
        if key == SettingKey::Env {
            what.extend(variables(&old.env, &new.env));
            continue;
        }
        let (old_text, new_text) = (shown(&old), shown(new));
        if old_text != new_text {
            what.push(format!("{key} {old_text} -> {new_text}"));
        }
    }
    what
}

/// A phrase for each variable that differs, by their names. Their values may be secrets.
fn variables(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Vec<String> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let said = |name: &String| match (old.get(name), new.get(name)) {
        (None, _) => Some(format!("env {name} added")),
        (_, None) => Some(format!("env {name} removed")),
        (before, after) => (before != after).then(|| format!("env {name} changed")),
    };
    names.into_iter().filter_map(said).collect()
}
