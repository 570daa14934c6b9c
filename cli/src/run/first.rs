//! The first start: what is saved meanwhile has it begun anew, for it may hang in what has just been mended.

use std::future::pending;

use flash_control::service::{Started, give_up};
use flash_manifest::Project;
use tokio::task::spawn_blocking;

use crate::lines::to_errors;
use crate::log::Log;
use crate::report::{Failure, Fault};
use crate::run::dependencies::Dependencies;
use crate::run::project::{Target, served};
use crate::run::reload::Sight;
use crate::run::service::{Service, ready};
use crate::signals::Signals;

/// So many starts are given up; the next one is waited for whatever is saved: some program may write sources whenever it is imported.
const HASTY: u32 = 5;

/// What is started first.
pub struct First<'s> {
    pub target: &'s mut Target,
    /// What the sources held before they were scanned; without it, nobody looks at them again.
    pub sight: Option<&'s mut Sight>,
    pub service: &'s mut Service,
    pub dependencies: &'s mut Dependencies,
    pub log: &'s Log,
    pub signals: &'s mut Signals,
}

impl First<'_> {
    /// Starts a project's endpoints, as the sources hold them when their workers are ready. `None` where a signal ends it before.
    ///
    /// # Errors
    /// When they do not start; none of them runs then.
    pub async fn start(&mut self, mut project: Project) -> Result<Option<(Project, Vec<Started>)>, Failure> {
        let mut given_up = 0;
        loop {
            let endpoints = served(&project);
            let overlays = tokio::select! {
                overlays = self.dependencies.overlays(&endpoints) => overlays,
                () = self.signals.next() => return Ok(None),
            };
            self.service.set_overlays(overlays);
            self.log.name_endpoints(endpoints.len() > 1);
            let started = self.service.start(endpoints.iter().copied());
            let watched = if given_up < HASTY { self.sight.as_deref_mut() } else { None };
            let settled = tokio::select! {
                settled = ready(&started) => Some(settled),
                newer = saved(self.target, watched) => {
                    project = newer;
                    None
                }
                () = self.signals.next() => {
                    give_up(started).await;
                    return Ok(None);
                }
            };
            match settled {
                Some(Ok(())) => return Ok(Some((project, started))),
                Some(Err(troubles)) => {
                    give_up(started).await;
                    return Err(Failure::all(Fault::Request, troubles));
                }
                None => {
                    give_up(started).await;
                    given_up += 1;
                    to_errors("flash: the sources have changed: starting anew\n");
                    self.target.warn(&project);
                }
            }
        }
    }
}

/// Waits until something else is saved that can be served, and tells of what cannot be.
async fn saved(target: &Target, sight: Option<&mut Sight>) -> Project {
    let Some(sight) = sight else { return pending().await };
    loop {
        sight.changed().await;
        sight.look_again().await;
        let target = target.clone();
        match spawn_blocking(move || target.scan()).await.expect("scanning files does not panic") {
            Ok(project) => return project,
            Err(failure) => {
                failure.show();
                to_errors("flash: not started anew: what was there before is still being started\n");
            }
        }
    }
}
