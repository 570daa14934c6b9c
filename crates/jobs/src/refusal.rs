//! What a request to the job API is refused for, and how that is told.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It brings no key that is known.
    #[error("this endpoint takes an API key: Authorization: Bearer flash_...")]
    Unauthorized,
    /// There is no such endpoint here.
    #[error("there is no endpoint `{0}` here that takes jobs")]
    NoEndpoint(String),
    /// The endpoint has routes, and no queue.
    #[error("not allowed for QB API: endpoint `{0}` is load-balanced; its routes are below /lb/{0}")]
    NotQueueBased(String),
    /// It is given up by a deployment that goes on.
    #[error("endpoint `{0}` takes no more jobs: it was removed")]
    Removed(String),
    /// No such job, or one that is forgotten by now.
    #[error("there is no job `{0}`, or it has expired")]
    NoJob(String),
    /// No such operation.
    #[error(
        "there is no `{0}` here; there are run, runsync, status, status-sync, stream, cancel, retry, purge-queue, health, requests and metrics"
    )]
    NoOperation(String),
    /// The operation takes other methods.
    #[error("`{operation}` takes {allowed}")]
    Method {
        /// What was asked for.
        operation: &'static str,
        /// The methods, as `Allow` lists them.
        allowed: &'static str,
    },
    /// Something in the request is not as it must be.
    #[error("{what}")]
    Bad {
        /// What is wrong, and what would be right.
        what: String,
        /// Where.
        field: &'static str,
    },
    /// The key was used for another job.
    #[error("the idempotency key was used with another body, for job `{0}`")]
    KeyReused(String),
    /// What the job is does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// Nothing is taken now.
    #[error("{what}")]
    Unavailable {
        /// Why.
        what: String,
    },
    /// The edge's own: its status and its words.
    #[error("{1}")]
    Edge(StatusCode, String),
}

impl Refusal {
    /// A field that is not as it must be.
    pub(crate) fn bad(field: &'static str, what: impl Into<String>) -> Self {
        Self::Bad { what: what.into(), field }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::NoEndpoint(_) | Self::NoJob(_) | Self::NoOperation(_) | Self::Removed(_) => StatusCode::NOT_FOUND,
            Self::NotQueueBased(_) | Self::Bad { .. } => StatusCode::BAD_REQUEST,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::KeyReused(_) | Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Edge(status, _) => *status,
        }
    }

    /// What the caller gets.
    pub(crate) fn response(&self) -> Response<Bytes> {
        let mut body = serde_json::json!({ "error": self.to_string() });
        if let Self::Bad { field, .. } = self {
            body["field"] = (*field).into();
        }
        let mut response = json(self.status(), body.to_string().into());
        let headers = response.headers_mut();
        match self {
            Self::Unauthorized => drop(headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            Self::Method { allowed, .. } => drop(headers.insert(header::ALLOW, HeaderValue::from_static(allowed))),
            Self::Unavailable { .. } => drop(headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"))),
            _ => {}
        }
        response
    }
}

/// An answer of JSON.
pub(crate) fn json(status: StatusCode, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
