//! What is served beside endpoints, below a path of its own: a service that the gateway knows nothing of.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;

use crate::answer::Payload;

/// The body of a mounted service's answer.
pub type MountedBody = UnsyncBoxBody<Bytes, Infallible>;

/// A mounted service's answer, as it comes.
pub type Answering = Pin<Box<dyn Future<Output = Response<MountedBody>> + Send>>;

/// Answers all requests below its path. It finds the request's [`RequestId`] in the extensions, and has to keep limits of its own on bodies.
pub type Service = Arc<dyn Fn(Request<Incoming>) -> Answering + Send + Sync>;

/// What the answer to a request will carry as `x-request-id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(pub String);

/// A service and its path.
pub(crate) struct Mount {
    root: &'static str,
    service: Service,
}

impl Mount {
    /// `root` has no slash at its end.
    pub(crate) fn new(root: &'static str, service: Service) -> Self {
        Self { root, service }
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        path.strip_prefix(self.root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    pub(crate) async fn answer(&self, mut request: Request<Incoming>, id: &str) -> Response<Payload> {
        request.extensions_mut().insert(RequestId(id.to_owned()));
        (self.service)(request).await.map(Payload::Mounted)
    }
}
