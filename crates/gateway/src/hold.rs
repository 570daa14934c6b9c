//! Requests that wait while an endpoint's workers are exchanged. They have not been matched to a route yet, nor have their bodies been read:
//! both are done by what serves afterwards.

use std::sync::Arc;
use std::time::Instant;

use flash_workers::Outcome;
use http::{Response, StatusCode};
use tokio::sync::{Semaphore, watch};

use crate::answer::{self, Payload};
use crate::endpoint::Endpoint;
use crate::gateway::Gateway;
use crate::request_id::RequestId;

/// An endpoint's, while it is held.
pub(crate) struct Hold {
    /// Closes when another endpoint stands in its place, or none does.
    released: watch::Sender<()>,
    /// Places for those that wait.
    places: Arc<Semaphore>,
}

impl Hold {
    pub(crate) fn new(most: usize) -> Self {
        Self { released: watch::Sender::new(()), places: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))) }
    }
}

impl Gateway {
    /// What serves in the place of an endpoint that is held, once it is not any more; or the answer where that takes too long.
    pub(crate) async fn released(
        &self,
        name: &str,
        mut endpoint: Arc<Endpoint>,
        arrived: Instant,
        id: &RequestId,
    ) -> Result<Arc<Endpoint>, Response<Payload>> {
        let timeout = endpoint.pool.timeout();
        let deadline = (arrived + timeout).into();
        while let Some(hold) = &endpoint.held {
            let Ok(_place) = hold.places.clone().try_acquire_owned() else {
                return Err(answer::outcome(&endpoint.name, Outcome::Refused, timeout, id));
            };
            let mut released = hold.released.subscribe();
            drop(endpoint); // or it would never be
            let waited = tokio::time::timeout_at(deadline, async { while released.changed().await.is_ok() {} }).await;
            if waited.is_err() {
                return Err(answer::outcome(name, Outcome::Unserved, timeout, id));
            }
            endpoint = self.endpoint(name).ok_or_else(|| answer::detail(StatusCode::NOT_FOUND, "Not Found"))?;
        }
        Ok(endpoint)
    }
}
