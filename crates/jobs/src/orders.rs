//! What is done to jobs from outside, whoever asks: the job API, or an operator.

use flash_queue::State;
use flash_store::jobs::{Cancelled, Job, Large, Resent, Result};

use crate::engines::Engines;
use crate::object::Status;

impl Engines {
    /// What callers call a job that is in this state on the disk.
    pub fn status(&self, id: &str, state: State) -> Status {
        Status::of(state, state == State::Leased && self.shared.running.seen(id).is_some())
    }

    /// The worker that has begun a job.
    pub fn worker(&self, id: &str) -> Option<String> {
        self.shared.running.seen(id).map(|seen| seen.began.name)
    }

    /// Takes a job back. What runs is stopped: its worker is replaced, where it does not stop.
    ///
    /// # Errors
    /// Where the disk fails.
    pub async fn cancel(&self, id: &str) -> Result<Cancelled> {
        let (engines, id) = (self.clone(), id.to_owned());
        // Whoever asks may leave: its worker is told all the same.
        detached(async move {
            let cancelled = engines.shared.jobs.cancel(&id, engines.shared.running.ran(&id)).await?;
            match cancelled {
                Cancelled::Waiting => engines.tell_end(&id).await,
                Cancelled::Leased(lease) => {
                    engines.stop_lease(lease);
                    engines.tell_end(&id).await;
                }
                Cancelled::Ended(_) | Cancelled::Unknown => {}
            }
            Ok(cancelled)
        })
        .await
    }

    /// As [`Self::cancel`], and gives the job, which has ended, with a large output unread; `None` where there is none of this id. One that had ended and is sent again
    /// meanwhile is taken back as well.
    ///
    /// # Errors
    /// Where the disk fails.
    pub async fn cancelled(&self, id: &str) -> Result<Option<(Job, Option<Large>)>> {
        loop {
            self.cancel(id).await?;
            match self.shared.jobs.look(id).await? {
                Some((job, _)) if !job.life.state.has_ended() => {}
                found => return Ok(found),
            }
        }
    }

    /// Has a job run anew that has failed.
    ///
    /// # Errors
    /// Where the disk fails.
    pub async fn resend(&self, id: &str) -> Result<Resent> {
        let (engines, id) = (self.clone(), id.to_owned());
        detached(async move {
            let shared = &engines.shared;
            let resent = shared.jobs.retry(&id).await?;
            if resent == Resent::Ready {
                shared.streams.forget(&id);
                if let Some((job, _)) = shared.jobs.look(&id).await?
                    && let Some(engine) = engines.engine(&job.endpoint)
                {
                    if !job.policy.low_priority {
                        engine.is_wanted();
                    }
                    engine.look.notify_one();
                }
            }
            Ok(resent)
        })
        .await
    }

    /// Takes back what waits for an endpoint. Gives how many jobs that were.
    ///
    /// # Errors
    /// Where the disk fails: some may have been taken back.
    pub async fn purge(&self, endpoint: &str) -> Result<usize> {
        let (engines, endpoint) = (self.clone(), endpoint.to_owned());
        detached(async move {
            let shared = &engines.shared;
            let removed = shared.jobs.purge(&endpoint).await?;
            for id in if removed > 0 { shared.waiters.jobs() } else { Vec::new() } {
                if shared.jobs.look(&id).await?.is_some_and(|(job, _)| job.life.state.has_ended()) {
                    engines.tell_end(&id).await;
                }
            }
            shared.webhooks.notify_one();
            Ok(removed)
        })
        .await
    }
}

/// Does it to its end, though whoever waits for it leaves.
async fn detached<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(_) => Err(flash_store::jobs::Error::Closed), // the runtime ends, or a panic was told
    }
}
