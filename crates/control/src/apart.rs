//! What keeps the workers of deployed endpoints apart from this server, and how far.

use std::collections::HashSet;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use flash_manifest::Settings;
use flash_workers::{Isolation, Level, ResourceLimits, closed_to_others, end_survivors, forget_home, remove_leftovers};
use rustix::fs::Mode;

use crate::control::Place;
use crate::home::Home;

/// How endpoints' workers are kept apart.
#[derive(Debug)]
pub struct Apart {
    level: Level,
    launcher: PathBuf,
    directory: PathBuf,
    /// What lets nobody pass who has a user of their own.
    closed: Option<PathBuf>,
}

impl Apart {
    /// The strongest level that this server can bring about for workers that need these paths; `launcher` is the `flash` that does it. A server
    /// that is root opens its home for others to pass through: what is secret there has a mode that keeps them out.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub fn new(home: &Home, launcher: PathBuf, needed: &[&Path]) -> io::Result<Self> {
        let mut level = Level::available();
        let mut closed = None;
        if level.user {
            closed = closed_to_others(needed.iter().copied().chain(home.path().parent()));
            level.user = closed.is_none();
        }
        if level.user {
            // Else what is unpacked and installed would be closed where the server was started with a stricter one.
            rustix::process::umask(Mode::WGRP | Mode::WOTH);
            let (builds, environments) = (home.builds(), home.path().join("environments"));
            fs::create_dir_all(&environments)?;
            for directory in [home.path(), &builds, &environments, &home.workers()] {
                fs::set_permissions(directory, Permissions::from_mode(0o711))?;
            }
        }
        Ok(Self { level, launcher, directory: home.workers(), closed })
    }

    /// What is in force.
    pub fn level(&self) -> Level {
        self.level
    }

    /// The directory for which workers have no users of their own though the server is root.
    pub fn closed(&self) -> Option<&Path> {
        self.closed.as_deref()
    }

    /// What holds for an endpoint.
    pub(crate) fn isolation(&self, place: &Place, name: &str, sources: PathBuf, settings: &Settings) -> Isolation {
        let memory = settings.memory_mib.map(|mebibytes| u64::from(mebibytes) << 20);
        let limits = ResourceLimits { processors: settings.cpu, memory, ..ResourceLimits::of(settings.workers.most() as usize) };
        Isolation {
            launcher: self.launcher.clone(),
            level: self.level,
            directory: self.directory.clone(),
            endpoint: key(&place.app, &place.environment, name),
            sources,
            readable: Vec::new(),
            environment: settings.env.clone(),
            limits,
        }
    }

    /// Removes the HOME of an endpoint that was removed, once its workers have ended.
    pub(crate) fn forget(&self, place: &Place, name: &str) {
        forget_home(&self.directory, &key(&place.app, &place.environment, name));
    }

    /// Removes what is left of a server that was killed, and of endpoints that are no more.
    pub(crate) fn clean(&self, endpoints: &[flash_store::Endpoint]) {
        if self.level.user {
            let ended = end_survivors(&self.directory);
            if ended > 0 {
                tracing::warn!(processes = ended, "what functions had started outlived the server that was killed, and was ended");
            }
        }
        let known: HashSet<_> = endpoints.iter().map(|known| key(&known.app, &known.environment, &known.name)).collect();
        remove_leftovers(&self.directory, |home| known.contains(home));
    }
}

/// Not the endpoint's id: another app may have the same one later, and must not find this one's HOME.
fn key(app: &str, environment: &str, endpoint: &str) -> String {
    format!("{app}+{environment}+{endpoint}") // a plus is in none of the names
}
