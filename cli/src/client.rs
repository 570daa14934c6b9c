//! A client of the control API: one request at a time, and what went wrong in words.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use flash_api::{Build, Endpoint, LogLine, Problem, ROOT, Server};
use http::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body, Error};

use crate::report::{Failure, Fault, Trouble, warn};

/// A server that does not accept a connection within this is not there.
const CONNECT: Duration = Duration::from_secs(10);
/// An answer is waited for this long, beyond what the request itself asks to wait.
const ANSWER: Duration = Duration::from_secs(60);
/// The longest answer that is read into memory.
const LONGEST: u64 = 64 << 20;

/// A server, and who we are to it.
pub struct Client {
    agent: Agent,
    /// As it is shown.
    url: String,
    /// Where it is asked.
    base: String,
    credential: Option<String>,
    /// Whether the user knows of which version the server is.
    told_version: AtomicBool,
}

impl Client {
    /// Of the server at `url`, such as `http://127.0.0.1:8000`, which is asked at `base` where that is elsewhere. Asks nothing yet.
    pub fn new(url: &str, base: Option<&str>, credential: Option<String>) -> Result<Self, Failure> {
        let url = url.trim_end_matches('/').to_owned();
        let base = base.map_or(url.clone(), str::to_owned);
        let uri: http::Uri = base.parse().map_err(|error| no_url(&url, &error))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
            return Err(no_url(&url, &"it does not begin with http:// or https:// and a host"));
        }
        let tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .root_certs(RootCerts::PlatformVerifier)
            .build();
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .tls_config(tls)
            .user_agent(concat!("flash/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT));
        if uri.host().is_some_and(is_loopback) {
            config = config.proxy(None); // this machine is reached without one
        }
        Ok(Self { agent: config.build().new_agent(), url, base, credential, told_version: AtomicBool::new(false) })
    }

    /// The server's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Asks for the server itself, which must be of this release.
    pub fn server(&self) -> Result<Server, Failure> {
        self.told_version.store(true, Ordering::Relaxed); // by an error, if at all
        let server: Server = self.get("/server")?;
        if server.version != OWN {
            return Err(refused(Trouble::new(
                format!("the server at {} is of another version", self.url),
                format!("it is {}, and this `flash` is {OWN}", server.version),
                SAME,
            )));
        }
        Ok(server)
    }

    /// Whether anything answers there. It is told nothing: it may be another than the one that is meant.
    pub fn is_there(&self) -> bool {
        self.ask("GET", "/server", Duration::from_secs(5), (), None).is_ok()
    }

    /// Whether the server says that it does not know our credential.
    pub fn is_stranger(&self) -> bool {
        self.request("GET", "/server", ANSWER, ()).is_ok_and(|answer| answer.status() == StatusCode::UNAUTHORIZED)
    }

    /// `GET` of a path below the API's root.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.json("GET", path, ANSWER, ())
    }

    /// Deployed endpoints, those that `query` names, at the URLs by which this client reaches them: the server knows but its own addresses.
    pub fn endpoints(&self, query: &str) -> Result<Vec<Endpoint>, Failure> {
        let mut endpoints: Vec<Endpoint> = self.get(&format!("/endpoints{query}"))?;
        for endpoint in &mut endpoints {
            let told: Option<http::Uri> = endpoint.url.parse().ok();
            if let Some(told) = told {
                endpoint.url = format!("{}{}", self.url, told.path());
            }
        }
        Ok(endpoints)
    }

    /// As [`Self::get`], of what takes as long as `wait` to answer.
    pub fn get_within<T: DeserializeOwned>(&self, path: &str, wait: Duration) -> Result<T, Failure> {
        self.json("GET", path, ANSWER + wait, ())
    }

    /// As [`Self::get`], and `None` where there is nothing of that name.
    pub fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Failure> {
        let mut answer = self.request("GET", path, ANSWER, ())?;
        if answer.status() == StatusCode::NOT_FOUND {
            self.problem(&mut answer)?; // it must be the API's own
            return Ok(None);
        }
        self.read(answer).map(Some)
    }

    /// `POST` with a JSON body.
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        self.json("POST", path, ANSWER, Json(body))
    }

    /// `POST` without a body, to which nothing is answered.
    pub fn order(&self, path: &str) -> Result<(), Failure> {
        let mut answer = self.request("POST", path, ANSWER, ())?;
        if answer.status().is_success() { Ok(()) } else { Err(self.refusal(&mut answer)) }
    }

    /// `PUT` without a body; and whether that has made something which was not there.
    pub fn put<T: DeserializeOwned>(&self, path: &str) -> Result<(bool, T), Failure> {
        let answer = self.request("PUT", path, ANSWER, ())?;
        let made = answer.status() == StatusCode::CREATED;
        Ok((made, self.read(answer)?))
    }

    /// `DELETE`.
    pub fn delete(&self, path: &str) -> Result<(), Failure> {
        let mut answer = self.request("DELETE", path, ANSWER, ())?;
        if answer.status().is_success() { Ok(()) } else { Err(self.refusal(&mut answer)) }
    }

    /// Sends an artifact, unless the server has it.
    pub fn upload(&self, digest: &str, artifact: &Path) -> Result<Build, Failure> {
        if let Some(build) = self.find(&format!("/builds/{digest}"))? {
            return Ok(build);
        }
        let opened = File::open(artifact);
        let file = opened.map_err(|cause| Failure::system(&format!("cannot read `{}`", artifact.display()), &cause))?;
        // As long as it takes: what stalls is for the server to end.
        self.json("PUT", &format!("/builds/{digest}"), Duration::from_secs(3600), file)
    }

    /// Reads lines of JSON as they come, until the server ends them or `each` says so.
    pub fn lines(&self, path: &str, mut each: impl FnMut(LogLine) -> bool) -> Result<(), Failure> {
        let mut answer = self.request("GET", path, Duration::MAX, ())?;
        if !answer.status().is_success() {
            return Err(self.refusal(&mut answer));
        }
        let reader = BufReader::new(answer.into_body().into_with_config().limit(u64::MAX).reader());
        for line in reader.lines() {
            let line = line.map_err(|cause| self.broken(&cause))?;
            let line = serde_json::from_str(&line).map_err(|cause| self.no_flash(&cause))?;
            if !each(line) {
                break;
            }
        }
        Ok(())
    }

    /// Sends a request to a deployed endpoint, at a URL as [`Self::endpoints`] gives it.
    pub fn call(&self, method: &str, url: &str, body: Option<Vec<u8>>, within: Duration) -> Result<http::Response<Vec<u8>>, Failure> {
        let target = url.strip_prefix(&self.url).unwrap_or(url);
        let mut request = http::Request::builder().method(method).uri(format!("{}{target}", self.base));
        if let Some(credential) = &self.credential {
            request = request.header("authorization", format!("Bearer {credential}"));
        }
        let answer = match body {
            Some(body) => run(&self.agent, request.header("content-type", "application/json").body(body), Some(within)),
            None => run(&self.agent, request.body(()), Some(within)),
        };
        let (head, mut body) = answer.map_err(|error| self.unreachable(&error))?.into_parts();
        let body = body.with_config().limit(LONGEST).read_to_vec().map_err(|cause| self.unreachable(&cause))?;
        Ok(http::Response::from_parts(head, body))
    }

    fn json<T: DeserializeOwned>(&self, method: &str, path: &str, within: Duration, body: impl Sent) -> Result<T, Failure> {
        let answer = self.request(method, path, within, body)?;
        self.read(answer)
    }

    fn read<T: DeserializeOwned>(&self, mut answer: http::Response<Body>) -> Result<T, Failure> {
        if !answer.status().is_success() {
            return Err(self.refusal(&mut answer));
        }
        let text = self.text(&mut answer)?;
        serde_json::from_str(&text).map_err(|cause| self.no_flash(&cause))
    }

    fn text(&self, answer: &mut http::Response<Body>) -> Result<String, Failure> {
        answer.body_mut().with_config().limit(LONGEST).read_to_string().map_err(|cause| self.unreachable(&cause))
    }

    fn request(&self, method: &str, path: &str, within: Duration, body: impl Sent) -> Result<http::Response<Body>, Failure> {
        let answer = self.ask(method, path, within, body, self.credential.as_deref())?;
        self.see_version(&answer);
        Ok(answer)
    }

    /// Warns once of a server whose answers may mean something else than they would here.
    fn see_version(&self, answer: &http::Response<Body>) {
        let Some(theirs) = answer.headers().get(flash_api::VERSION).and_then(|version| version.to_str().ok()) else { return };
        if compatible(OWN, theirs) || self.told_version.swap(true, Ordering::Relaxed) {
            return;
        }
        let what = format!("the server at {} is of another version", self.url);
        let why = format!("it is {theirs}, and this `flash` is {OWN}: what one says may mean something else to the other");
        warn(&Trouble::new(what, why, SAME));
    }

    fn ask(
        &self,
        method: &str,
        path: &str,
        within: Duration,
        body: impl Sent,
        credential: Option<&str>,
    ) -> Result<http::Response<Body>, Failure> {
        let within = (within != Duration::MAX).then_some(within);
        let mut request = http::Request::builder().method(method).uri(format!("{}{ROOT}{path}", self.base));
        if let Some(credential) = credential {
            request = request.header("authorization", format!("Bearer {credential}"));
        }
        let answer = body.send(&self.agent, request, within);
        answer.map_err(|error| self.unreachable(&error))
    }

    /// What the server says is wrong.
    fn refusal(&self, answer: &mut http::Response<Body>) -> Failure {
        match self.problem(answer) {
            Ok(problem) if problem.status == StatusCode::UNAUTHORIZED.as_u16() && self.credential.is_none() => {
                let why = "FLASH_API_KEY is not set, and the token in FLASH_HOME is for the server that runs from there alone";
                let remedy = "set FLASH_API_KEY to a key of that server (`flash key create`), or FLASH_HOME to the directory it runs from";
                refused(Trouble::new(problem.title, why, remedy))
            }
            Ok(problem) => refused(Trouble::new(problem.title, problem.detail, problem.remedy)),
            Err(failure) => failure,
        }
    }

    fn problem(&self, answer: &mut http::Response<Body>) -> Result<Problem, Failure> {
        let text = self.text(answer)?;
        serde_json::from_str(&text).map_err(|_| self.no_flash(&format!("it answers with {}", answer.status())))
    }

    fn unreachable(&self, error: &Error) -> Failure {
        let (why, remedy) = match error {
            Error::Io(cause) if is_plain(cause) => ("what answers does not speak TLS".into(), PLAIN),
            Error::Io(cause) => match untrusted(cause) {
                Some(why) => (format!("its TLS certificate is not trusted: {why}"), TRUST),
                None => (cause.to_string(), ANOTHER),
            },
            Error::Protocol(cause) => (format!("what answers does not speak HTTP: {cause}"), SPELLING),
            other => (other.to_string(), ANOTHER),
        };
        refused(Trouble::new(format!("the server at {} cannot be reached", self.url), why, remedy))
    }

    fn broken(&self, cause: &std::io::Error) -> Failure {
        refused(Trouble::new(
            format!("the server at {} broke off its answer", self.url),
            cause.to_string(),
            "see whether it still runs: `flash status`",
        ))
    }

    fn no_flash(&self, why: &dyn std::fmt::Display) -> Failure {
        refused(Trouble::new(
            format!("what answers at {} is no flash server, or one of another version", self.url),
            format!("its answer cannot be read: {why}"),
            "name the server with --server or FLASH_SERVER, and install its version of openflash",
        ))
    }
}

const OWN: &str = env!("CARGO_PKG_VERSION");
const SAME: &str = "install the server's version of openflash here, or this one there";
const ANOTHER: &str = "start one with `flash serve`, or name another with --server or FLASH_SERVER";
const TRUST: &str = "use a certificate of an authority that this system trusts, or name the file of that authority in SSL_CERT_FILE; see \
                     that the URL has the name which the certificate is for";
const PLAIN: &str = "write http:// where the server has no certificate; or see that the URL has the right port";
const SPELLING: &str = "see that the URL has the right port, and begins with https:// where the server has a certificate";

/// Whether two releases understand each other: before 1.0 those of one minor version do, then those of one major version.
fn compatible(one: &str, other: &str) -> bool {
    let line = |version: &str| -> Option<(u64, u64)> {
        let mut numbers = version.split(['.', '-', '+']).map(|number| number.parse::<u64>().ok());
        let (major, minor) = (numbers.next()??, numbers.next()??);
        Some((major, if major == 0 { minor } else { 0 }))
    };
    match (line(one), line(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

/// Whether what answers a greeting of TLS is something else.
fn is_plain(cause: &std::io::Error) -> bool {
    let error = cause.get_ref().and_then(|error| error.downcast_ref());
    matches!(error, Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)))
}

/// What is wrong with the server's certificate, where that is why there is no connection.
fn untrusted(cause: &std::io::Error) -> Option<String> {
    use rustls::CertificateError as Wrong;
    let rustls::Error::InvalidCertificate(wrong) = cause.get_ref()?.downcast_ref()? else { return None };
    Some(match wrong {
        // The others: one of the authority's name is known, with another key.
        Wrong::UnknownIssuer
        | Wrong::BadSignature
        | Wrong::UnsupportedSignatureAlgorithmContext { .. }
        | Wrong::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => "no authority that is known here has signed it".into(),
        Wrong::NotValidForName => "it is for another name".into(),
        Wrong::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "it is an authority's own (CA:TRUE), as `openssl req -x509` makes them; add -addext basicConstraints=critical,CA:FALSE".into()
        }
        Wrong::Other(other) => other.to_string(),
        known => known.to_string(),
    })
}

/// What a request carries.
trait Sent {
    fn send(self, agent: &Agent, request: http::request::Builder, within: Option<Duration>) -> Result<http::Response<Body>, Error>;
}

impl Sent for () {
    fn send(self, agent: &Agent, request: http::request::Builder, within: Option<Duration>) -> Result<http::Response<Body>, Error> {
        run(agent, request.body(()), within)
    }
}

struct Json<'body, T>(&'body T);

impl<T: Serialize> Sent for Json<'_, T> {
    fn send(self, agent: &Agent, request: http::request::Builder, within: Option<Duration>) -> Result<http::Response<Body>, Error> {
        let body = serde_json::to_vec(self.0).map_err(Error::Json)?;
        run(agent, request.header("content-type", "application/json").body(body), within)
    }
}

impl Sent for File {
    fn send(self, agent: &Agent, request: http::request::Builder, within: Option<Duration>) -> Result<http::Response<Body>, Error> {
        let length = self.metadata()?.len();
        let request = request.header("content-type", "application/gzip").header("content-length", length);
        run(agent, request.body(ureq::SendBody::from_owned_reader(self.take(length))), within)
    }
}

fn run(
    agent: &Agent,
    request: Result<http::Request<impl ureq::AsSendBody>, http::Error>,
    within: Option<Duration>,
) -> Result<http::Response<Body>, Error> {
    let request = agent.configure_request(request?).timeout_global(within).build();
    agent.run(request)
}

/// Whether a host of a URL means this machine.
pub fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A name as a part of a path, or a value in a query.
pub fn segment(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn no_url(url: &str, why: &dyn std::fmt::Display) -> Failure {
    let trouble = Trouble::new(format!("`{url}` is not the URL of a server"), why.to_string(), "write it as http://127.0.0.1:8000");
    Failure::new(Fault::Usage, trouble)
}

fn refused(trouble: Trouble) -> Failure {
    Failure::new(Fault::Request, trouble)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_understand_each_other_as_semantic_versions_say() {
        for (one, other) in [("0.1.0", "0.1.9"), ("1.2.3", "1.9.0"), ("1.0.0", "1.0.0-rc.1"), ("odd", "odd")] {
            assert!(compatible(one, other) && compatible(other, one), "{one} {other}");
        }
        for (one, other) in [("0.1.0", "0.2.0"), ("0.1.0", "1.1.0"), ("1.0.0", "2.0.0"), ("0.1.0", "odd"), ("0.1.0", "")] {
            assert!(!compatible(one, other) && !compatible(other, one), "{one} {other}");
        }
    }
}
