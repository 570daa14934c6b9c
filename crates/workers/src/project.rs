//! The zygote with an endpoint's modules, and the processes that are forked from it.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use crate::devices::Share;
use crate::error::Error;
use crate::importing::Importing;
use crate::link::Link;
use crate::page::Page;
use crate::pool::Inner;
use crate::printed::Pipes;
use crate::process::Process;
use crate::ready::Ready;
use crate::zygote::{Adopted, Zygote, control_pair};

/// How long a zygote that is of no use may take to end before workers start all the same.
const UNSAFE_END: Duration = Duration::from_secs(5);

/// What is known of it.
#[derive(Debug, Default)]
pub(crate) enum Project {
    /// There is none: it was not needed yet, or it was evicted.
    #[default]
    Absent,
    /// Forking it would not be safe: each worker imports for itself.
    Unsafe,
    /// It is there, unless it has died.
    There(Zygote),
}

impl Inner {
    /// Forks a worker and waits until it is ready, and answers.
    /// With it comes what it has to itself of the machine, to be kept until it has ended.
    pub(crate) async fn start_worker(&self) -> Result<(Link, Ready, Option<Share>), Error> {
        let share = self.base.share()?;
        let (link, descriptors) = Link::new()?;
        let forked = self.fork("worker", descriptors, share.as_ref()).await?;
        self.importing.send_replace(Importing::new(&forked, link.page()).ok().map(Arc::new));
        let ready = link.until_ready(self, forked).await;
        self.importing.send_replace(None);
        let (link, ready) = ready?;
        // Their order is all that a request's route means to it.
        let promised = self.config["functions"].as_array().map_or(0, Vec::len);
        if ready.routes.len() != promised {
            return Err(Error::Protocol);
        }
        Ok((link, ready, share))
    }

    /// Forks a process that has this endpoint's modules, or imports them first where they do not bear forking.
    pub(crate) async fn fork(&self, role: &str, descriptors: Vec<OwnedFd>, share: Option<&Share>) -> Result<Process, Error> {
        let base = self.base.zygote().await?;
        let order = self.order(role, share);
        let imports_ahead = self.config["functions"].as_array().is_some_and(|functions| !functions.is_empty());
        let zygote = if imports_ahead { self.project_zygote(&base, share).await?.unwrap_or(base) } else { base };
        zygote.fork(&order, descriptors, self.settings.start_timeout).await
    }

    fn order(&self, role: &str, share: Option<&Share>) -> serde_json::Value {
        let own = |name: &str| self.config["env"].get(name).is_some(); // is set with the modules, and stronger
        let environment: BTreeMap<_, _> = share.iter().flat_map(|share| share.environment()).filter(|(name, _)| !own(name)).collect();
        serde_json::json!({ "role": role, "config": self.config, "environment": environment })
    }

    /// Has a zygote forked by `maker` that imports this endpoint's modules.
    /// The devices are the worker's that it is to be the zygote of: modules may look for some, or load what they hold.
    async fn import_in(&self, maker: &Zygote, share: Option<&Share>) -> Result<Adopted, Error> {
        let (ours, theirs) = control_pair().map_err(Error::System)?;
        let (pipes, [out, err]) = Pipes::new()?;
        self.base.print_all(pipes, Some(self.name.clone()));
        let order = self.order("zygote", share);
        let page = Page::new().map_err(Error::System)?;
        let shared = page.descriptor().try_clone_to_owned().map_err(Error::System)?;
        let forked = maker.fork(&order, vec![theirs, out, err, shared], self.settings.start_timeout).await?;
        self.importing.send_replace(Importing::new(&forked, &page).ok().map(Arc::new));
        let adopted = tokio::time::timeout(self.settings.start_timeout, maker.adopt(forked, ours)).await;
        self.importing.send_replace(None);
        adopted.map_err(|_| Error::NotReady { limit: self.settings.start_timeout })?
    }

    /// The zygote with this endpoint's modules, made when it is needed and not there; `None` where forking it is not safe.
    async fn project_zygote(&self, base: &Zygote, share: Option<&Share>) -> Result<Option<Zygote>, Error> {
        let mut project = self.project.lock().await;
        match &*project {
            Project::Unsafe => return Ok(None),
            Project::There(zygote) if !zygote.is_gone() => return Ok(Some(zygote.clone())),
            Project::There(_) | Project::Absent => {}
        }
        let ahead = self.base.libraries().zygote(&self.name);
        let mut adopted = self.import_in(ahead.as_ref().unwrap_or(base), share).await?;
        if ahead.is_some() && adopted.ready.libraries.is_none() {
            // Its modules have come to set the environment, which libraries that are imported afterwards may read.
            adopted = self.import_in(base, share).await?;
        }
        let Adopted { zygote, ready, end } = adopted;
        self.base.libraries().note(&self.name, self.importer, ready.libraries);
        self.description.outdate();
        let changes = ready.unsafe_because;
        if !changes.is_empty() {
            let text = format!(
                "flash: importing the modules of {} left {}, so its workers are not forked but import afresh\n",
                self.name,
                changes.join(" and ")
            );
            self.print(None, 2, &text);
            *project = Project::Unsafe;
            drop(zygote);
            // A port, a lock, a device: what its modules hold, the worker's could not have meanwhile.
            let _ = tokio::time::timeout(UNSAFE_END, end).await;
            return Ok(None);
        }
        *project = Project::There(zygote.clone());
        self.look.notify_one(); // it may be for a description alone: who evicts it must know of it
        Ok(Some(zygote))
    }

    /// Whether it is there, and nobody is about to use it.
    pub(crate) fn has_zygote(&self) -> bool {
        self.project.try_lock().is_ok_and(|project| matches!(&*project, Project::There(zygote) if !zygote.is_gone()))
    }

    /// Has it end, and with it all that were forked from it: nobody must have been. False where it is not there, or in use.
    pub(crate) fn evict(&self) -> bool {
        let Ok(mut project) = self.project.try_lock() else { return false };
        let is_idle = self.description.is_idle();
        if is_idle && let Project::There(_) = *project {
            *project = Project::Absent;
            return true;
        }
        false
    }
}
