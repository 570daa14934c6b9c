//! What a request asks for, by its path and method.

use std::borrow::Cow;

use http::Method;
use percent_encoding::percent_decode_str;

use crate::refusal::Refusal;

/// Below it the job API stands.
pub const ROOT: &str = "/v2";

/// What is asked of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation<'path> {
    Run,
    Runsync,
    Status(&'path str),
    StatusSync(&'path str),
    Stream(&'path str),
    Cancel(&'path str),
    Retry(&'path str),
    PurgeQueue,
    Health,
    Requests,
    Metrics,
}

/// An endpoint, and what is asked of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked<'path> {
    pub(crate) endpoint: Cow<'path, str>,
    pub(crate) operation: Operation<'path>,
}

/// The endpoint of a path, though the rest may be nothing that is known.
pub(crate) fn endpoint(path: &str) -> Cow<'_, str> {
    let rest = path.strip_prefix(ROOT).and_then(|rest| rest.strip_prefix('/')).unwrap_or_default();
    percent_decode_str(rest.split('/').next().unwrap_or_default()).decode_utf8_lossy()
}

/// Reads `/v2/{endpoint}/{operation}[/{job}]`.
pub(crate) fn read<'path>(method: &Method, path: &'path str) -> Result<Asked<'path>, Refusal> {
    let unknown = |name: &str| Refusal::NoOperation(name.to_owned());
    let rest = path.strip_prefix(ROOT).and_then(|rest| rest.strip_prefix('/')).unwrap_or_default();
    let mut parts = rest.trim_end_matches('/').split('/');
    let (_, name, job) = (parts.next(), parts.next().unwrap_or_default(), parts.next());
    if parts.next().is_some() {
        return Err(unknown(rest));
    }
    let operation = match (name, job) {
        ("run", None) => Operation::Run,
        ("runsync", None) => Operation::Runsync,
        ("status", Some(job)) => Operation::Status(job),
        ("status-sync", Some(job)) => Operation::StatusSync(job),
        ("stream", Some(job)) => Operation::Stream(job),
        ("cancel", Some(job)) => Operation::Cancel(job),
        ("retry", Some(job)) => Operation::Retry(job),
        ("purge-queue", None) => Operation::PurgeQueue,
        ("health", None) => Operation::Health,
        ("requests", None) => Operation::Requests,
        ("metrics", None) => Operation::Metrics,
        ("status" | "status-sync" | "stream" | "cancel" | "retry", None) => {
            return Err(Refusal::bad("job", format!("`{name}` takes a job's id: {ROOT}/{{endpoint}}/{name}/{{job}}")));
        }
        _ => return Err(unknown(name)),
    };
    let allowed = operation.allowed();
    if !allowed.split(", ").any(|one| one == method.as_str()) {
        return Err(Refusal::Method { operation: operation.name(), allowed });
    }
    Ok(Asked { endpoint: endpoint(path), operation })
}

impl Operation<'_> {
    /// Its methods: both where clients use both.
    const fn allowed(self) -> &'static str {
        match self {
            Self::Run | Self::Runsync | Self::Cancel(_) | Self::Retry(_) | Self::PurgeQueue => "POST",
            Self::Status(_) | Self::StatusSync(_) | Self::Stream(_) => "GET, HEAD, POST",
            Self::Health | Self::Requests | Self::Metrics => "GET, HEAD",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Runsync => "runsync",
            Self::Status(_) => "status",
            Self::StatusSync(_) => "status-sync",
            Self::Stream(_) => "stream",
            Self::Cancel(_) => "cancel",
            Self::Retry(_) => "retry",
            Self::PurgeQueue => "purge-queue",
            Self::Health => "health",
            Self::Requests => "requests",
            Self::Metrics => "metrics",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_what_is_asked_of_which_endpoint() {
        for (method, path, expected) in [
            ("POST", "/v2/embedder/run", Operation::Run),
            ("POST", "/v2/embedder/runsync", Operation::Runsync),
            ("GET", "/v2/embedder/status/a-u1", Operation::Status("a-u1")),
            ("POST", "/v2/embedder/status/a-u1", Operation::Status("a-u1")),
            ("GET", "/v2/embedder/status-sync/a", Operation::StatusSync("a")),
            ("POST", "/v2/embedder/stream/a/", Operation::Stream("a")),
            ("POST", "/v2/embedder/cancel/a", Operation::Cancel("a")),
            ("POST", "/v2/embedder/retry/a", Operation::Retry("a")),
            ("POST", "/v2/embedder/purge-queue", Operation::PurgeQueue),
            ("GET", "/v2/embedder/health", Operation::Health),
            ("GET", "/v2/embedder/requests", Operation::Requests),
            ("HEAD", "/v2/embedder/metrics", Operation::Metrics),
        ] {
            let asked = read(&method.parse().unwrap(), path).unwrap();
            assert_eq!(asked, Asked { endpoint: "embedder".into(), operation: expected }, "{method} {path}");
        }
    }

    #[test]
    fn what_nobody_can_do_is_told_with_what_one_can() {
        for (method, path, expected) in [
            ("GET", "/v2/e/run", "`run` takes POST"),
            ("DELETE", "/v2/e/status/a", "`status` takes GET, HEAD, POST"),
            ("GET", "/v2/e/status", "`status` takes a job's id: /v2/{endpoint}/status/{job}"),
            ("GET", "/v2/e/status/a/b", "there is no `e/status/a/b` here; there are run"),
            ("POST", "/v2/e/jog", "there is no `jog` here; there are run"),
            ("POST", "/v2/e", "there is no `` here; there are run"),
            ("POST", "/v2", "there is no `` here; there are run"),
        ] {
            let refusal = read(&method.parse().unwrap(), path).unwrap_err().to_string();
            assert!(refusal.starts_with(expected), "{method} {path}: {refusal}");
        }
    }
}
