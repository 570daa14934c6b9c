//! What is served beside endpoints, each below a path of its own: services that the gateway knows nothing of.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;

use crate::answer::Payload;

/// The body of a mounted service's answer.
pub type MountedBody = UnsyncBoxBody<Bytes, Infallible>;

/// What a service that takes bodies as a whole answers.
pub enum Reply {
    /// All of it is there.
    Whole(Bytes),
    /// It comes in pieces.
    Pieces(MountedBody),
}

impl From<Bytes> for Reply {
    fn from(body: Bytes) -> Self {
        Self::Whole(body)
    }
}

impl From<Reply> for Payload {
    fn from(reply: Reply) -> Self {
        match reply {
            Reply::Whole(body) => body.into(),
            Reply::Pieces(body) => Self::Mounted(body),
        }
    }
}

/// A mounted service's answer, as it comes.
pub type Answering<B = MountedBody> = Pin<Box<dyn Future<Output = Response<B>> + Send>>;

/// Answers all requests below its path. It finds the request's [`RequestId`] in the extensions, and has to keep limits of its own on bodies.
pub type Service = Arc<dyn Fn(Request<Incoming>) -> Answering + Send + Sync>;

/// Answers requests whose bodies are there as a whole.
pub trait Whole: Send + Sync {
    /// The longest body that this request may have; or the answer, where it is not to be read.
    ///
    /// # Errors
    /// The answer.
    fn admit(&self, head: &Parts, caller: Caller) -> Result<usize, Box<Response<Bytes>>>;

    /// Answers it.
    fn answer(self: Arc<Self>, request: Request<Bytes>, caller: Caller) -> Answering<Reply>;

    /// Says why a body is not taken.
    fn refuse(&self, status: StatusCode, text: &str) -> Response<Bytes>;
}

/// What the answer to a request will carry as `x-request-id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(pub String);

/// What the gateway knows of who sends a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Whether it may call what is not open to all: it came from this machine, or brings a key.
    pub admitted: bool,
    /// The request's number, as in [`crate::Finished`].
    pub tag: u64,
}

/// A service and its path, which has no slash at its end.
pub struct Mount {
    root: &'static str,
    pub(crate) serves: Serves,
}

pub(crate) enum Serves {
    Requests(Service),
    Whole(Arc<dyn Whole>),
}

impl Mount {
    /// A service that reads bodies by itself, and admits by itself.
    pub fn new(root: &'static str, service: Service) -> Self {
        Self { root, serves: Serves::Requests(service) }
    }

    /// A service that takes bodies as a whole.
    pub fn whole(root: &'static str, service: Arc<dyn Whole>) -> Self {
        Self { root, serves: Serves::Whole(service) }
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        path.strip_prefix(self.root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

pub(crate) async fn answer(service: &Service, mut request: Request<Incoming>, id: &str) -> Response<Payload> {
    request.extensions_mut().insert(RequestId(id.to_owned()));
    service(request).await.map(Payload::Mounted)
}
