//! Jobs under `flash run`: the job API, with a queue that ends with the process, as the state of its workers does.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use flash_gateway::{Gateway, Mount};
use flash_jobs::{Engines, Secret, Settings};
use flash_store::jobs::{self, Jobs, Synchronous};
use tempfile::TempDir;

use crate::log::Log;
use crate::report::Trouble;

/// A queue in a folder of its own, which goes with this.
pub struct Queue {
    jobs: Jobs,
    secret: Secret,
    // Dropped after the queue.
    _folder: TempDir,
}

impl Queue {
    /// Makes one. Blocks.
    pub fn make() -> Result<Self, Trouble> {
        let trouble = |why: String| {
            let what = "queue-based endpoints take no jobs below /v2: their queue cannot be made";
            Trouble::new(what, why, format!("see that `{}` can be written, or set TMPDIR", std::env::temp_dir().display()))
        };
        let owners = Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().prefix("flash-run-").permissions(owners).tempdir();
        let folder = folder.map_err(|error| trouble(error.to_string()))?;
        // Nobody asks for these jobs once the process has ended: there is nothing to be kept from a power cut.
        let settings = jobs::Settings { synchronous: Synchronous::Off, ..jobs::Settings::default() };
        let jobs = Jobs::open(folder.path(), settings).map_err(|error| trouble(format!("{error}: {}", error.why())))?;
        let drawn = Secret::draw().map_err(|error| trouble(error.to_string()))?;
        let secret = Secret::read(&drawn).expect("a secret that is drawn is one");
        Ok(Self { jobs, secret, _folder: folder })
    }

    /// Mounts the job API. What runs jobs must be closed before this is dropped. Must be called on the runtime that is to run them.
    pub fn start(&self, gateway: &Gateway, log: &Log, private_webhooks: bool) -> Engines {
        let settings = Settings { private_webhooks, ..Settings::default() };
        let noted = log.clone();
        let note = Arc::new(move |endpoint: &str, text: &str| noted.note(&format!("{endpoint}: {text}")));
        let engines = Engines::start(self.jobs.clone(), settings, self.secret.clone(), note);
        let known = engines.clone();
        log.know_jobs(Box::new(move |tag| known.tagged(tag)));
        gateway.mount(vec![Mount::whole(flash_jobs::ROOT, flash_jobs::api(&engines))]);
        engines
    }
}
