//! What the functions of a script depend on: installed before the first call that needs it, for all of an endpoint at once, as they share
//! a worker. One that comes later has a new worker take the old one's place: packages that are imported cannot be exchanged.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use flash_gateway::{Endpoint, Gateway, Notes, OpenEndpoint, Prepared, Retired, Unprepared};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::packages::{self, Needed};

/// How long calls that run in a worker whose place was taken may go on.
const RETIRED: Duration = Duration::from_secs(24 * 60 * 60);

/// What the endpoints of a session have installed.
pub struct Dependencies {
    gateway: Weak<Gateway>,
    open: OpenEndpoint,
    python: PathBuf,
    endpoints: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Has>>>>,
}

/// What one endpoint has.
#[derive(Default)]
struct Has {
    requirements: BTreeSet<String>,
    /// Where it is, but for what the interpreter has itself.
    overlay: Option<PathBuf>,
    /// What could not be had, and was not needed by the function that was called.
    refused: Option<BTreeSet<String>>,
}

/// A context's `dependencies` (`docs/wire.md`).
#[derive(Deserialize)]
struct Needs {
    requirements: BTreeSet<String>,
    /// Whether the function that is called needs what is missing; else another of its endpoint does.
    required: bool,
    /// Whether they come to what the endpoint has, rather than to take its place: a worker knows of the functions that it has imported.
    adds: bool,
}

impl Dependencies {
    pub fn new(gateway: Weak<Gateway>, open: OpenEndpoint, python: PathBuf) -> Arc<Self> {
        Arc::new(Self { gateway, open, python, endpoints: Mutex::default() })
    }

    /// See [`flash_gateway::Prepare`].
    pub fn prepare(self: &Arc<Self>, endpoint: &str, context: &Bytes, notes: Notes) -> Option<Prepared> {
        let mut context: Map<String, Value> = serde_json::from_slice(context).ok()?; // a worker that gets it will say so
        let needs = context.remove("dependencies").and_then(|needs| serde_json::from_value::<Needs>(needs).ok());
        let has = {
            let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
            match &needs {
                Some(_) => endpoints.entry(endpoint.to_owned()).or_default().clone(),
                None => endpoints.get(endpoint)?.clone(),
            }
        };
        let (this, name) = (self.clone(), endpoint.to_owned());
        Some(Box::pin(async move {
            // Calls that come meanwhile wait here.
            let mut has = has.lock().await;
            let anew = match needs {
                Some(needs) => this.install(&name, &mut has, needs, &context, &notes).await?,
                None => false,
            };
            if let Some(overlay) = &has.overlay {
                context.insert("overlay".into(), overlay.to_string_lossy().into());
            }
            let context = serde_json::to_vec(&context).expect("it was JSON before");
            this.set_context(&name, context.into(), anew, &notes)
        }))
    }

    /// Installs what is needed. Says whether the endpoint's overlay is another than before.
    async fn install(
        &self,
        endpoint: &str,
        has: &mut Has,
        needs: Needs,
        context: &Map<String, Value>,
        notes: &Notes,
    ) -> Result<bool, Unprepared> {
        if needs.requirements.is_subset(&has.requirements) {
            return Ok(false);
        }
        let mut wanted = needs.requirements;
        if needs.adds {
            wanted.extend(has.requirements.iter().cloned());
        }
        if !needs.required && has.refused.as_ref() == Some(&wanted) {
            return Ok(false);
        }
        let needed = Needed { requirements: wanted.iter().cloned().collect(), ..self.needed(context) };
        match packages::overlay(needed, |line| drop(notes.send(line + "\n"))).await {
            Ok(overlay) => {
                let overlay = overlay.map(|overlay| overlay.packages);
                has.requirements = wanted;
                has.refused = None;
                Ok(std::mem::replace(&mut has.overlay, overlay.clone()) != overlay)
            }
            Err(error) if needs.required => Err(Unprepared { what: error.to_string(), why: error.why(), remedy: error.remedy() }),
            Err(error) => {
                let text =
                    format!("flash: `{endpoint}` runs without what another of its functions depends on: {error}\n  why: {}\n", error.why());
                let _ = notes.send(text); // its caller may have left
                has.refused = Some(wanted);
                Ok(false)
            }
        }
    }

    /// What the caller's context says of where packages are installed.
    fn needed(&self, context: &Map<String, Value>) -> Needed {
        let texts = |value: &Value| value.as_array().into_iter().flatten().filter_map(|text| Some(text.as_str()?.to_owned())).collect();
        let variables = context.get("environ").and_then(Value::as_object).into_iter().flatten();
        let variables = variables.filter_map(|(name, value)| Some((OsString::from(name), OsString::from(value.as_str()?))));
        Needed {
            python: self.python.clone(),
            requirements: Vec::new(),
            keep: &[],
            path: context.get("sys_path").map(texts),
            directory: context.get("cwd").and_then(Value::as_str).map(PathBuf::from),
            variables: variables.collect(),
        }
    }

    /// Gives the endpoint's worker its context: a new worker, where the one that is there has begun with other packages.
    fn set_context(&self, name: &str, context: Bytes, anew: bool, notes: &Notes) -> Result<Arc<Endpoint>, Unprepared> {
        let ending = || Unprepared {
            what: format!("`{name}` was not called"),
            why: "the session ends".into(),
            remedy: "call before the script's end".into(),
        };
        let gateway = self.gateway.upgrade().ok_or_else(ending)?;
        let mut endpoint = gateway.live_endpoint(name, None).ok_or_else(ending)?;
        if anew && endpoint.pool().has_context() {
            let slots = endpoint.pool().slots();
            drop(endpoint);
            for retired in gateway.switch(vec![(self.open)(name, Some(slots))], &[]) {
                tokio::spawn(retire(retired));
            }
            let text = format!(
                "flash: `{name}` has a new worker, in which its functions' dependencies are installed; what they kept in module globals is lost\n"
            );
            let _ = notes.send(text); // its caller may have left
            endpoint = gateway.live_endpoint(name, Some(slots)).ok_or_else(ending)?;
        }
        endpoint.pool().set_context(context);
        Ok(endpoint)
    }
}

/// Ends the worker once the calls that are with it are answered.
async fn retire(mut retired: Retired) {
    retired.unused().await;
    retired.pool().close(RETIRED).await;
}
