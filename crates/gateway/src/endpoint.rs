//! An endpoint as the gateway sees it.

use flash_manifest::PathPattern;
use flash_workers::{Cancel, Pool};
use http::Method;
use tokio::sync::watch;

use crate::hold::Hold;
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
    /// Where requests wait while its workers are exchanged.
    pub(crate) held: Option<Hold>,
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
        let routes = Routes::new(routes);
        Self { name, routes, has_routes, access, pool, cancel: Cancel::default(), public: false, held: None, in_use }
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

    /// One of its name that has requests wait, at most so many at a time.
    pub(crate) fn holding(&self, most: usize) -> Self {
        let (pool, public) = (self.pool.clone(), self.public);
        Self { public, held: Some(Hold::new(most)), ..Self::new(pool, [], self.access) }
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
    use std::time::{Duration, Instant};

    use flash_workers::{Base, Interpreter, Limits, Workers};
    use http::Response;

    use super::*;
    use crate::answer::Payload;
    use crate::gateway::{Gateway, Settings};
    use crate::request_id::RequestId;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// One whose workers never start: requests are none of its tests' concern.
    fn endpoint(name: &str) -> Endpoint {
        with_timeout(name, Duration::ZERO)
    }

    /// One for whose requests there is time.
    fn lasting(name: &str) -> Endpoint {
        with_timeout(name, PATIENCE)
    }

    fn with_timeout(name: &str, timeout: Duration) -> Endpoint {
        let interpreter = Interpreter { python: "no-such-python".into(), package: None, routes: true };
        let settings = flash_workers::Settings {
            limits: Limits { slots: 1, ahead: 0, waiting: 1, grace: Duration::ZERO },
            workers: Workers::fixed(0),
            timeout,
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
    async fn who_asks_for_a_held_endpoint_waits_for_what_takes_its_place() {
        let gateway = Gateway::new(Settings::default(), 0);
        gateway.add(Endpoint { public: true, ..lasting("a") });
        let before = gateway.endpoint("a").expect("it is there");
        let mut retired = gateway.hold(&["a".to_owned(), "other".to_owned()], 1);
        assert_eq!(retired.len(), 1);
        let held = || gateway.endpoint("a").expect("it is there still");
        assert!(held().held.is_some() && held().public, "who may call it stays as it was");
        let (arrived, id) = (Instant::now(), RequestId::new(0, 0));
        let mut waits = pin!(gateway.released("a", held(), arrived, &id));
        let mut context = Context::from_waker(Waker::noop());
        assert!(waits.as_mut().poll(&mut context).is_pending());
        assert_eq!(gateway.released("a", held(), arrived, &id).await.err().map(|refused| refused.status().as_u16()), Some(503));
        assert!(!is_done(retired[0].unused()), "a request that came before is under way");
        drop(before);
        assert!(is_done(retired[0].unused()), "who waits is none of the old workers' requests");
        gateway.switch(vec![lasting("a")], &[]);
        let Poll::Ready(Ok(found)) = waits.as_mut().poll(&mut context) else { panic!("nobody holds it any more") };
        assert!(Arc::ptr_eq(&found, &held()) && found.held.is_none());
    }

    #[tokio::test]
    async fn who_waits_for_an_endpoint_that_goes_or_for_too_long_is_told() {
        let gateway = Gateway::new(Settings::default(), 0);
        gateway.add(lasting("a"));
        gateway.hold(&["a".to_owned()], 8);
        let (arrived, id) = (Instant::now(), RequestId::new(0, 0));
        let status = |waited: Result<Arc<Endpoint>, Response<Payload>>| waited.err().map(|refused| refused.status().as_u16());
        let late = arrived.checked_sub(PATIENCE).expect("the machine runs for longer");
        assert_eq!(status(gateway.released("a", gateway.endpoint("a").unwrap(), late, &id).await), Some(504));
        let mut waits = pin!(gateway.released("a", gateway.endpoint("a").unwrap(), arrived, &id));
        let mut context = Context::from_waker(Waker::noop());
        assert!(waits.as_mut().poll(&mut context).is_pending());
        gateway.switch(Vec::new(), &["a".to_owned()]);
        let Poll::Ready(waited) = waits.as_mut().poll(&mut context) else { panic!("it is gone") };
        assert_eq!(status(waited), Some(404));
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
