//! The zygote with the libraries: between the base zygote and those of endpoints, so that an endpoint whose modules have changed pays
//! for its own modules alone.
//!
//! It holds what the endpoints' modules imported the last time beside themselves. It is left out where that could make a difference:
//! for an endpoint whose modules set the environment, where a library cannot be imported by itself or makes forking unsafe, and as soon
//! as something is installed or removed.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::OpenOptions;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::Error;
use crate::zygote::{Adopted, Zygote, control_pair};

/// Libraries may take their time; nobody waits for this.
const LIMIT: Duration = Duration::from_secs(600);

/// A pool, as it is told apart here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Importer(u64);

impl Importer {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// What endpoints import, and the zygote that has imported it.
#[derive(Debug, Default)]
pub(crate) struct Libraries {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    noted: BTreeMap<Importer, Vec<String>>,
    /// Endpoints that must import libraries after what their modules have done.
    alone: BTreeSet<String>,
    made: Option<Made>,
    /// What could not be imported by itself: it is not tried again.
    refused: Vec<String>,
}

#[derive(Debug)]
struct Made {
    zygote: Zygote,
    names: HashSet<String>,
    places: BTreeMap<PathBuf, i64>,
}

impl Libraries {
    /// An endpoint's zygote has imported these, beside the project's own modules; `None` where libraries must not be imported before those.
    pub(crate) fn note(&self, endpoint: &str, importer: Importer, names: Option<Vec<String>>) {
        let mut state = self.lock();
        if let Some(names) = names {
            state.alone.remove(endpoint);
            state.noted.insert(importer, names);
        } else {
            state.alone.insert(endpoint.to_owned());
            state.noted.remove(&importer);
        }
    }

    /// A pool is no more.
    pub(crate) fn forget(&self, importer: Importer) {
        self.lock().noted.remove(&importer);
    }

    /// The zygote, as long as it is what importing afresh would give this endpoint.
    pub(crate) fn zygote(&self, endpoint: &str) -> Option<Zygote> {
        let mut state = self.lock();
        state.made = state.made.take().filter(Made::is_current);
        state.made.as_ref().filter(|_| !state.alone.contains(endpoint)).map(|made| made.zygote.clone())
    }

    /// Makes the zygote, where it is not there or lacks something.
    pub(crate) async fn prepare(&self, base: &Zygote) {
        let Some(names) = self.wanted() else { return };
        match make(base, &names).await {
            Ok(Some(made)) => {
                tracing::debug!(count = names.len(), "the libraries are imported ahead");
                self.lock().made = Some(made);
            }
            Ok(None) => {
                tracing::debug!("the libraries are not fit to be forked");
                self.lock().refused = names;
            }
            Err(error) => {
                tracing::debug!(%error, "the libraries cannot be imported by themselves");
                self.lock().refused = names;
            }
        }
    }

    /// What is to be imported into a new one; `None` where none is needed, or none can be made.
    fn wanted(&self) -> Option<Vec<String>> {
        let state = self.lock();
        let mut names: Vec<String> = Vec::new();
        let mut seen = HashSet::new();
        for noted in state.noted.values() {
            names.extend(noted.iter().filter(|name| seen.insert(*name)).cloned());
        }
        let lacks = state.made.as_ref().is_none_or(|made| names.iter().any(|name| !made.names.contains(name)));
        (lacks && !names.is_empty() && names != state.refused).then_some(names)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Made {
    /// Whether it is there, and nothing was installed or removed since it was made.
    fn is_current(&self) -> bool {
        !self.zygote.is_gone() && self.places.iter().all(|(place, changed)| modified(place) == Some(*changed))
    }
}

/// `None` where it could be made, and is not fit to be forked.
async fn make(base: &Zygote, names: &[String]) -> Result<Option<Made>, Error> {
    let (ours, theirs) = control_pair().map_err(Error::System)?;
    // What they print, they have printed to those who imported them first.
    let nowhere = OpenOptions::new().write(true).open("/dev/null").map_err(Error::System)?;
    let descriptors = vec![theirs, nowhere.try_clone().map_err(Error::System)?.into(), nowhere.into()];
    let order = serde_json::json!({ "role": "libraries", "config": names });
    let process = base.fork(&order, descriptors, LIMIT).await?;
    let adopted = tokio::time::timeout(LIMIT, base.adopt(process, ours)).await;
    let Adopted { zygote, ready, .. } = adopted.map_err(|_| Error::NotReady { limit: LIMIT })??;
    if !ready.unsafe_because.is_empty() || ready.libraries.is_none() {
        return Ok(None);
    }
    Ok(Some(Made { zygote, names: names.iter().cloned().collect(), places: ready.places }))
}

/// When a directory was modified last, in nanoseconds; `None` when it is not there.
fn modified(place: &Path) -> Option<i64> {
    let metadata = std::fs::metadata(place).ok()?;
    Some(metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(names: &[&str]) -> Option<Vec<String>> {
        Some(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn what_any_endpoint_imports_is_wanted_once_in_the_order_of_import() {
        let libraries = Libraries::default();
        assert_eq!(libraries.wanted(), None);
        let (one, other) = (Importer::new(), Importer::new());
        libraries.note("one", one, owned(&["zlib", "numpy", "numpy.linalg"]));
        libraries.note("other", other, owned(&["json", "numpy"]));
        assert_eq!(libraries.wanted(), owned(&["zlib", "numpy", "numpy.linalg", "json"]));
        libraries.forget(one);
        assert_eq!(libraries.wanted(), owned(&["json", "numpy"]));
    }

    #[test]
    fn an_endpoint_that_must_import_by_itself_speaks_for_itself_alone() {
        let libraries = Libraries::default();
        let (one, other) = (Importer::new(), Importer::new());
        libraries.note("one", one, owned(&["numpy"]));
        libraries.note("other", other, owned(&["torch"]));
        libraries.note("other", other, None);
        assert_eq!(libraries.wanted(), owned(&["numpy"]));
        assert_eq!(libraries.lock().alone, ["other".to_owned()].into());
        libraries.note("other", other, owned(&["torch"]));
        assert_eq!(libraries.wanted(), owned(&["numpy", "torch"]));
        assert_eq!(libraries.lock().alone, [].into());
    }

    #[test]
    fn what_was_refused_is_not_tried_again() {
        let libraries = Libraries::default();
        let one = Importer::new();
        libraries.note("one", one, owned(&["needy"]));
        libraries.lock().refused = owned(&["needy"]).unwrap();
        assert_eq!(libraries.wanted(), None);
        libraries.note("one", one, owned(&["numpy"]));
        assert_eq!(libraries.wanted(), owned(&["numpy"]));
    }
}
