//! An endpoint as the gateway sees it.

use flash_manifest::PathPattern;
use flash_workers::{Cancel, Pool};
use http::Method;
use tokio::sync::watch;

use crate::matcher::Routes;

/// Whether an endpoint takes live calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Routes only: there is no `/execute`, whatever a request says.
    Routes,
    /// Routes, and `/execute` for whoever has the session's token.
    Live,
}

/// Routes and the workers behind them.
pub struct Endpoint {
    pub(crate) name: String,
    pub(crate) routes: Routes,
    /// Whether there are any: a queue-based endpoint has none.
    pub(crate) has_routes: bool,
    pub(crate) access: Access,
    pub(crate) pool: Pool,
    pub(crate) cancel: Cancel,
    /// Whether anybody may call it, from anywhere.
    pub(crate) public: bool,
    /// Closes when nobody holds the endpoint any more.
    in_use: watch::Sender<()>,
}

/// An endpoint that new requests do not find any more. Those that found it go on with its workers.
pub struct Retired {
    pool: Pool,
    in_use: watch::Receiver<()>,
}

impl Endpoint {
    /// An endpoint whose routes stand in the order of the pool's functions.
    pub fn new(pool: Pool, routes: impl IntoIterator<Item = (Method, PathPattern)>, access: Access) -> Self {
        let (name, in_use) = (pool.name().to_owned(), watch::Sender::new(()));
        let routes: Vec<_> = routes.into_iter().collect();
        let has_routes = !routes.is_empty();
        Self { name, routes: Routes::new(routes), has_routes, access, pool, cancel: Cancel::default(), public: false, in_use }
    }

    /// Says what becomes of requests to routes whose callers leave. A live call says it for itself.
    #[must_use]
    pub fn with_cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }

    /// Lets anybody call it, from anywhere, where others must show a key ([`crate::Gateway::with_admission`]).
    #[must_use]
    pub fn open_to_all(mut self) -> Self {
        self.public = true;
        self
    }

    /// Its workers.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(crate) fn retired(&self) -> Retired {
        Retired { pool: self.pool.clone(), in_use: self.in_use.subscribe() }
    }
}

impl Retired {
    /// Its workers, which are still there.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Waits until the last request that found the endpoint has been given to its workers, and answered unless it is a live call:
    /// nothing new comes to them after that. It takes no longer than the gateway's limits on bodies and answers.
    pub async fn unused(&mut self) {
        while self.in_use.changed().await.is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use flash_workers::{Base, Interpreter, Limits, Workers};

    use super::*;
    use crate::gateway::{Gateway, Settings};

    /// One whose workers never start: requests are none of its tests' concern.
    fn endpoint(name: &str) -> Endpoint {
        let interpreter = Interpreter { python: "no-such-python".into(), package: None, routes: true };
        let settings = flash_workers::Settings {
            limits: Limits { slots: 1, waiting: 1, grace: Duration::ZERO },
            workers: Workers::fixed(0),
            timeout: Duration::ZERO,
            start_timeout: Duration::ZERO,
            replace_stuck: false,
            unheard: 0,
        };
        let pool = Pool::start(name, Arc::new(Base::new(interpreter, Arc::new(|_| {}))), serde_json::Value::Null, settings);
        Endpoint::new(pool, [], Access::Routes)
    }

    fn is_done(future: impl Future<Output = ()>) -> bool {
        pin!(future).poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
    }

    #[tokio::test]
    async fn a_switch_replaces_adds_and_removes() {
        let gateway = Gateway::new(Settings::default(), 0);
        assert!(gateway.switch(vec![endpoint("kept"), endpoint("changed"), endpoint("gone")], &[]).is_empty());
        let (kept, changed) = (gateway.endpoint("kept").unwrap(), gateway.endpoint("changed").unwrap());
        let retired = gateway.switch(vec![endpoint("changed"), endpoint("new")], &["gone".to_owned()]);
        let mut names: Vec<_> = retired.iter().map(|retired| retired.pool().name()).collect();
        names.sort_unstable();
        assert_eq!(names, ["changed", "gone"]);
        assert!(Arc::ptr_eq(&gateway.endpoint("kept").unwrap(), &kept));
        assert!(!Arc::ptr_eq(&gateway.endpoint("changed").unwrap(), &changed));
        assert!(gateway.endpoint("new").is_some() && gateway.endpoint("gone").is_none());
    }

    #[tokio::test]
    async fn a_retired_endpoint_is_in_use_until_the_last_request_that_found_it_is_done() {
        let gateway = Gateway::new(Settings::default(), 0);
        gateway.add(endpoint("a"));
        let (one, other) = (gateway.endpoint("a"), gateway.endpoint("a"));
        let mut retired = gateway.switch(vec![endpoint("a")], &[]).remove(0);
        assert!(!is_done(retired.unused()));
        drop(one);
        assert!(!is_done(retired.unused()));
        drop(other);
        assert!(is_done(retired.unused()));
    }
}
