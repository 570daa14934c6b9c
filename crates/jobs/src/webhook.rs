//! Telling others of a job's end: from what the queue keeps of it, until somebody has taken it or it was tried often enough.

mod address;
mod signature;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flash_store::jobs::{Error, Webhook};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::DefaultConnector;

pub(crate) use address::acceptable;
pub use signature::Secret;

use crate::engines::{Engines, Shared};
use crate::object::Object;

/// How long to wait after each try. After the last one it is given up: some eleven hours.
const WAITS: [Duration; 8] = [
    Duration::from_secs(10),
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 3600),
    Duration::from_secs(3 * 3600),
    Duration::from_secs(5 * 3600),
];
/// A receiver that has not answered by then has failed.
const TIMEOUT: Duration = Duration::from_secs(20);
/// So many are under way at a time: each has a thread that blocks.
const AT_A_TIME: usize = 16;
/// Of those with a large output: what is sent is signed as a whole, and so in memory.
const LARGE_AT_A_TIME: usize = 2;
/// What is due is looked for so often, if nobody says that there is something.
const LOOK: Duration = Duration::from_secs(2);

/// What came of a try.
#[derive(Debug, PartialEq, Eq)]
enum Tried {
    Taken,
    /// The receiver wants no more of it.
    Gone,
    /// It may not go there.
    Refused(String),
    Failed(String),
}

/// Tells ends until the server stops.
pub(crate) async fn deliver(engines: Engines) {
    let shared = engines.shared.clone();
    let (agent, large) = (agent(shared.settings.private_webhooks), Arc::new(Semaphore::new(LARGE_AT_A_TIME)));
    let (mut under_way, mut tries): (HashSet<String>, JoinSet<String>) = (HashSet::new(), JoinSet::new());
    loop {
        let room = AT_A_TIME - tries.len();
        let due = if room > 0 { shared.jobs.webhooks(AT_A_TIME).await.unwrap_or_default() } else { Vec::new() };
        let due: Vec<Webhook> = due.into_iter().filter(|webhook| !under_way.contains(&webhook.id)).take(room).collect();
        for webhook in due {
            under_way.insert(webhook.id.clone());
            let (shared, agent, large) = (shared.clone(), agent.clone(), large.clone());
            tries.spawn(async move {
                try_one(&shared, agent, &large, &webhook).await;
                webhook.id
            });
        }
        tokio::select! {
            () = engines.stopped() => return,
            () = shared.webhooks.notified() => {}
            Some(done) = tries.join_next() => {
                // A panic was told; its id stays, so that it is not tried for ever.
                if let Ok(id) = done {
                    under_way.remove(&id);
                }
            }
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn try_one(shared: &Arc<Shared>, agent: Agent, large: &Semaphore, webhook: &Webhook) {
    let is_large = matches!(shared.jobs.look(&webhook.id).await, Ok(Some((_, Some(_)))));
    let _place = if is_large { large.acquire().await.ok() } else { None };
    let job = shared.jobs.get(&webhook.id).await.map(|job| job.filter(|job| job.life.state.has_ended()));
    let tried = match &job {
        // Tried again as others are: at once would be again and again.
        Err(error) => {
            tracing::debug!(job = webhook.id, %error, "a webhook's job cannot be read");
            Tried::Failed(error.to_string())
        }
        // A job that is there no longer has nothing to tell.
        Ok(None) => Tried::Gone,
        Ok(Some(job)) => {
            let (body, url) = (Object::stored(job).json(), webhook.url.clone());
            // The same for all tries of one end; a job that is sent again has another one.
            let id = format!("{}.{}", webhook.id, job.life.attempt);
            let (timestamp, secret) = (unix_time(), shared.secret.clone());
            let post = move || post(&agent, &url, &id, timestamp, &secret, &body);
            tokio::task::spawn_blocking(post).await.unwrap_or_else(|error| Tried::Failed(error.to_string()))
        }
    };
    let again = match &tried {
        Tried::Taken | Tried::Gone | Tried::Refused(_) => None,
        Tried::Failed(_) => WAITS.get(webhook.tries as usize).map(|wait| shared.now() + *wait),
    };
    if let (Tried::Failed(why) | Tried::Refused(why), Ok(Some(job))) = (&tried, &job) {
        let goes_on = if again.is_some() { "it is tried again" } else { "it is given up" };
        let tries = webhook.tries + 1;
        (shared.note)(&job.endpoint, &format!("the webhook of job {} was not taken (try {tries}): {why}; {goes_on}", webhook.id));
    }
    // Until it is written, it is under way: else it would be sent again and again.
    while let Err(error) = shared.jobs.webhook_done(&webhook.id, again).await {
        tracing::debug!(job = webhook.id, %error, "that a webhook was tried could not be written");
        if error == Error::Closed {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn agent(private: bool) -> Agent {
    // Redirects lead elsewhere than what was checked, and a proxy would look names up by itself.
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).unversioned_rustls_crypto_provider(provider()).build();
    let config = Agent::config_builder()
        .max_redirects(0)
        .proxy(None)
        .http_status_as_error(false)
        .timeout_global(Some(TIMEOUT))
        .user_agent(concat!("flash/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls)
        .build();
    if private {
        Agent::with_parts(config, DefaultConnector::default(), DefaultResolver::default())
    } else {
        Agent::with_parts(config, DefaultConnector::default(), address::PublicAlone::default())
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn post(agent: &Agent, url: &str, id: &str, timestamp: i64, secret: &Secret, body: &Bytes) -> Tried {
    let sent = agent
        .post(url)
        .header("content-type", "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", timestamp.to_string())
        .header("webhook-signature", secret.sign(id, timestamp, body))
        .send(&body[..]);
    match sent {
        Ok(answer) if answer.status().is_success() => Tried::Taken,
        Ok(answer) if answer.status() == 410 => Tried::Gone,
        Ok(answer) => Tried::Failed(format!("the answer was {}", answer.status())),
        Err(ureq::Error::Io(cause)) if cause.get_ref().is_some_and(|inner| inner.is::<address::Private>()) => {
            Tried::Refused(cause.to_string())
        }
        Err(ureq::Error::Io(cause)) => Tried::Failed(cause.to_string()),
        Err(error) => Tried::Failed(error.to_string()),
    }
}

/// The time of day, by which receivers tell a message from one that somebody sends again.
fn unix_time() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| i64::try_from(time.as_secs()).unwrap_or(0))
}
