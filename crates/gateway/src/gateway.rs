//! The life of a request.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flash_wire::{Content, RequestHead, encode_form};
use flash_workers::{Body as BodyPlan, Outcome, Pool, Request as Work, Status};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header, request::Parts};
use hyper::body::{Body as _, Incoming};
use memchr::memchr;
use percent_encoding::percent_decode_str;

use crate::answer::{self, Payload};
use crate::body::Bodies;
use crate::endpoint::{Access, Endpoint, Retired};
use crate::entry::Entry;
use crate::execute::{self, Tag};
use crate::form::{self, Announced, FormLimits};
use crate::forwarded;
use crate::head;
use crate::host;
use crate::matcher::Matched;
use crate::mount::{self, Caller, Mount, Serves, Whole};
use crate::overview;
use crate::preparation::Prepare;
use crate::request_id::{RequestId, X_REQUEST_ID};
use crate::tls::Tls;

/// Limits on what callers may send, and for how long.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Longest head of a request, in bytes.
    pub head_bytes: usize,
    /// Longest body, in bytes.
    pub body_bytes: usize,
    /// On bodies that are forms.
    pub form: FormLimits,
    /// Longest body of a live call, in bytes: arguments of a script on this machine, so it is only a guard.
    pub call_bytes: usize,
    /// All bodies longer than 64 KiB together, as far as they have come and are not answered, in bytes; live calls do not count.
    pub bodies_bytes: usize,
    /// Longest wait for a request's head, once its first byte is there, and for the first byte on a new connection.
    pub head_timeout: Duration,
    /// Longest wait for the next request on a connection.
    pub idle_timeout: Duration,
    /// Longest wait for a caller to take more of what is written.
    pub write_timeout: Duration,
    /// Longest time from a request's head to its answer, where the endpoint says nothing else; and for its body to come.
    pub timeout: Duration,
    /// Open connections. For a further one that ends which has waited longest for a request; where none waits, it waits itself.
    pub connections: usize,
    /// Whether a proxy in front, which nobody can get around, says in `Forwarded` or `X-Forwarded-*` how callers address this server.
    pub trust_proxy: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            head_bytes: 64 << 10,
            body_bytes: 32 << 20,
            form: FormLimits::default(),
            call_bytes: 1 << 30,
            bodies_bytes: 512 << 20,
            head_timeout: Duration::from_secs(10),
            // More than the minute after which proxies give up their connections to us: the end must be theirs, or it meets a request.
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            timeout: Duration::from_secs(30),
            connections: 10_000,
            trust_proxy: false,
        }
    }
}

/// Stands in the log for the answer that nobody waited for; nginx's number for it.
const CLIENT_GONE: u16 = 499;

/// A request that was answered, or whose caller left: status 499.
#[derive(Debug)]
pub struct Finished<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its path, as it was sent.
    pub path: &'a str,
    /// The answer's status.
    pub status: StatusCode,
    /// From its head to its answer's head.
    pub elapsed: Duration,
    /// The number in its `x-request-id`.
    pub tag: u64,
}

/// Hears of every request that was answered, on the request path: it must not block.
pub type Observer = Arc<dyn Fn(Finished<'_>) + Send + Sync>;

/// Makes an endpoint for a live call when it is first called, whose workers have as many slots as the call says.
pub type OpenEndpoint = Arc<dyn Fn(&str, Option<usize>) -> Endpoint + Send + Sync>;

/// Whether who sends a request may call endpoints that are not open to all.
pub type Admits = Arc<dyn Fn(&Parts) -> bool + Send + Sync>;

/// Everything one listener serves.
pub struct Gateway {
    pub(crate) settings: Settings,
    endpoints: RwLock<BTreeMap<String, Arc<Endpoint>>>,
    /// For a script's own session, whose endpoints are those it calls.
    open: Option<OpenEndpoint>,
    pub(crate) prepare: Option<Prepare>,
    /// Whoever has it may make live calls; `None` where live calls are off.
    token: Option<String>,
    observer: Option<Observer>,
    /// Who may call endpoints from elsewhere than this machine; `None` where everybody may.
    admits: Option<Admits>,
    /// Names, beside those of loopback, by which a listener on loopback is called: a proxy's on this machine.
    domains: Vec<String>,
    /// What connections are encrypted with; `None` where they are not.
    pub(crate) tls: Option<Tls>,
    /// What is served beside endpoints.
    mounted: OnceLock<Vec<Mount>>,
    /// The title of the page for all endpoints; `None` where there is no such page.
    overview: Option<String>,
    /// Distinguishes this process's request ids from those of the one before.
    epoch: u32,
    requests: AtomicU64,
    bodies: Bodies,
}

impl Gateway {
    /// A gateway without endpoints. `epoch`: any number that differs from run to run.
    pub fn new(settings: Settings, epoch: u32) -> Self {
        Self {
            bodies: Bodies::new(settings.bodies_bytes),
            settings,
            endpoints: RwLock::default(),
            open: None,
            prepare: None,
            token: None,
            observer: None,
            admits: None,
            domains: Vec::new(),
            tls: None,
            mounted: OnceLock::new(),
            overview: None,
            epoch,
            requests: AtomicU64::new(0),
        }
    }

    /// Turns live calls on for those who have the token.
    #[must_use]
    pub fn with_token(mut self, token: String) -> Self {
        self.token = Some(token);
        self
    }

    /// Makes endpoints as they are called live.
    #[must_use]
    pub fn with_open_endpoints(mut self, open: OpenEndpoint) -> Self {
        self.open = Some(open);
        self
    }

    /// Has live calls prepared that bring a context.
    #[must_use]
    pub fn with_preparation(mut self, prepare: Prepare) -> Self {
        self.prepare = Some(prepare);
        self
    }

    /// Reports every request.
    #[must_use]
    pub fn with_observer(mut self, observer: Observer) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Shows all endpoints on one page, under this title. Whoever reaches the listener learns their names.
    #[must_use]
    pub fn with_overview(mut self, title: String) -> Self {
        self.overview = Some(title);
        self
    }

    /// Demands that callers from elsewhere than this machine are admitted, unless the endpoint is open to all. From elsewhere comes what
    /// comes in at another address than loopback's, by one of the domains, or through a proxy that says so.
    #[must_use]
    pub fn with_admission(mut self, admits: Admits) -> Self {
        self.admits = Some(admits);
        self
    }

    /// Speaks TLS alone.
    #[must_use]
    pub fn with_tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Answers to these hosts' names as well where it listens on loopback.
    #[must_use]
    pub fn with_domains(mut self, domains: Vec<String>) -> Self {
        self.domains = domains;
        self
    }

    /// Has services answer what is below their paths. Only the first call does anything.
    pub fn mount(&self, mounts: Vec<Mount>) {
        let _ = self.mounted.set(mounts); // as documented
    }

    /// Serves an endpoint from now on.
    pub fn add(&self, endpoint: Endpoint) {
        self.endpoints.write().unwrap_or_else(PoisonError::into_inner).insert(endpoint.name.clone(), Arc::new(endpoint));
    }

    /// Serves `endpoints` from now on, each in the place of the one of its name, and those in `gone` no longer: all at one moment.
    pub fn switch(&self, endpoints: Vec<Endpoint>, gone: &[String]) -> Vec<Retired> {
        let mut served = self.endpoints.write().unwrap_or_else(PoisonError::into_inner);
        let mut retired: Vec<_> = gone.iter().filter_map(|name| served.remove(name)).collect();
        retired.extend(endpoints.into_iter().filter_map(|endpoint| served.insert(endpoint.name.clone(), Arc::new(endpoint))));
        retired.iter().map(|endpoint| endpoint.retired()).collect()
    }

    /// Has requests for these endpoints wait from now on, at most so many for each, until [`Self::switch`] puts others in their place: they
    /// go to those. Gives the endpoints as they were, for those that came before.
    pub fn hold(&self, names: &[String], most: usize) -> Vec<Retired> {
        let mut served = self.endpoints.write().unwrap_or_else(PoisonError::into_inner);
        let hold = |name: &String| {
            let endpoint = served.get_mut(name)?;
            let holding = Arc::new(endpoint.holding(most));
            Some(std::mem::replace(endpoint, holding))
        };
        let held: Vec<_> = names.iter().filter_map(hold).collect();
        held.iter().map(|endpoint| endpoint.retired()).collect()
    }

    /// The pools of all endpoints.
    pub fn pools(&self) -> Vec<Pool> {
        let endpoints = self.endpoints.read().unwrap_or_else(PoisonError::into_inner);
        endpoints.values().map(|endpoint| endpoint.pool.clone()).collect()
    }

    /// The title of the page for all endpoints, and the names of those with routes, in order; `None` where there is no such page.
    pub(crate) fn overview(&self) -> Option<(&str, Vec<String>)> {
        let title = self.overview.as_deref()?;
        let endpoints = self.endpoints.read().unwrap_or_else(PoisonError::into_inner);
        Some((title, endpoints.iter().filter(|(_, endpoint)| endpoint.has_routes).map(|(name, _)| name.clone()).collect()))
    }

    pub(crate) fn endpoint(&self, name: &str) -> Option<Arc<Endpoint>> {
        self.endpoints.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The endpoint of a live call, made if need be, with so many slots a worker.
    pub fn live_endpoint(&self, name: &str, slots: Option<usize>) -> Option<Arc<Endpoint>> {
        if let Some(endpoint) = self.endpoint(name) {
            return Some(endpoint);
        }
        let open = self.open.as_ref()?;
        let mut endpoints = self.endpoints.write().unwrap_or_else(PoisonError::into_inner);
        Some(endpoints.entry(name.to_owned()).or_insert_with(|| Arc::new(open(name, slots))).clone())
    }

    pub(crate) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// A request's number, and the id that its answer carries.
    pub(crate) fn next_id(&self) -> (u64, RequestId) {
        let tag = self.requests.fetch_add(1, Ordering::Relaxed);
        (tag, RequestId::new(self.epoch, tag))
    }

    /// Answers one request, in this order:
    pub(crate) async fn handle(&self, request: Request<Incoming>, entry: &Entry) -> Response<Payload> {
        let arrived = Instant::now();
        let (tag, id) = self.next_id();
        let (mut head, body) = request.into_parts();
        let led = entry.lead(&mut head);
        let departure = Departure { gateway: self, head: &head, arrived, tag };
        let mut response = match led {
            Ok(()) => self.route(&head, body, entry, arrived, (tag, &id)).await,
            Err(response) => *response,
        };
        std::mem::forget(departure); // it holds references alone
        if head.method == Method::HEAD {
            response = answer::without_body(response);
        }
        response.headers_mut().insert(X_REQUEST_ID, id.header());
        entry.told(&head, response.headers_mut());
        self.observe(&head, response.status(), arrived, tag);
        response
    }

    fn is_domain(&self, host: &str) -> bool {
        let host = host::without_root(host);
        self.domains.iter().any(|domain| host::without_root(domain).eq_ignore_ascii_case(host))
    }

    fn observe(&self, head: &Parts, status: StatusCode, arrived: Instant, tag: u64) {
        if let Some(observer) = &self.observer {
            let (method, path) = (&head.method, head.uri.path());
            observer(Finished { method, path, status, elapsed: arrived.elapsed(), tag });
        }
    }

    async fn route(&self, head: &Parts, body: Incoming, entry: &Entry, arrived: Instant, (tag, id): Tag<'_>) -> Response<Payload> {
        if head.method == Method::CONNECT {
            // Its caller may send what is meant for another server before it has read the answer: that must not be taken for requests.
            return closing(answer::detail(StatusCode::NOT_IMPLEMENTED, "this server opens no tunnels"));
        }
        let host = match host::host(head) {
            Ok(host) => host,
            Err(text) => return closing(answer::detail(StatusCode::BAD_REQUEST, text)),
        };
        // A page in a browser may have its own name resolve to this address: it must not reach what listens here for this machine.
        let local = entry.local();
        let by_loopback = host.is_some_and(host::is_loopback);
        if local.is_loopback() && !by_loopback && !host.is_some_and(|host| self.is_domain(host)) {
            let text = if host.is_none() { format!("{NO_HOST}; {MISDIRECTED}") } else { MISDIRECTED.to_owned() };
            return answer::detail(StatusCode::MISDIRECTED_REQUEST, &text);
        }
        if let Some((status, text)) = head::refused(head, &self.settings) {
            return answer::detail(status, &text);
        }
        if head.method == Method::OPTIONS && head.uri.path() == "*" {
            return empty(StatusCode::NO_CONTENT); // it asks of the server alone, and whether it is there
        }
        let from_here = || entry.is_open() && local.is_loopback() && by_loopback && !forwarded::came_through_a_proxy(&head.headers);
        let admitted = || self.admits.as_ref().is_none_or(|admits| from_here() || admits(head));
        let mounted = self.mounted.get().and_then(|mounts| mounts.iter().find(|mount| mount.has(head.uri.path())));
        match mounted.map(|mount| &mount.serves) {
            Some(Serves::Requests(service)) => {
                return mount::answer(service, Request::from_parts(head.clone(), body), id.as_str()).await;
            }
            Some(Serves::Whole(service)) => {
                let caller = Caller { admitted: admitted(), tag };
                return self.answer_whole(service.clone(), head, body, caller).await;
            }
            None => {}
        }
        let admitted = admitted();
        let Some((name, path)) = split(&head.uri) else {
            return if admitted { overview::answer(self, head) } else { unauthorized() };
        };
        // Whether there is an endpoint of this name is nobody's affair either.
        if !admitted && !self.endpoint(&name).is_some_and(|endpoint| endpoint.public) {
            return unauthorized();
        }
        if path == "/execute" {
            // Boxed, as a document is: every request's future would be as large as the largest of them.
            return Box::pin(execute::answer(self, &name, head, body, local, (tag, id))).await;
        }
        let Some(mut endpoint) = self.endpoint(&name) else { return answer::detail(StatusCode::NOT_FOUND, "Not Found") };
        if path == "/ping" {
            return ping(&endpoint, &head.method);
        }
        if endpoint.held.is_some() {
            endpoint = match Box::pin(self.released(&name, endpoint, arrived, id)).await {
                Ok(endpoint) => endpoint,
                Err(response) => return response,
            };
        }
        let (route, values) = match endpoint.routes.find(&head.method, &path) {
            Matched::Route(route, values) => (route, values),
            Matched::Document(document) => return Box::pin(document.answer(&endpoint, &self.settings, head)).await,
            Matched::OtherMethods(methods) => return method_not_allowed(&methods),
            Matched::Redirect => return redirect(head, &self.settings),
            Matched::Nothing => return answer::detail(StatusCode::NOT_FOUND, "Not Found"),
        };
        let mut room = self.bodies.room(); // until it is answered: the pool keeps the body as long
        let body = match self.read(body, self.settings.body_bytes, &mut room).await {
            Ok(body) => body,
            Err(unread) => return unread.response(self.settings.body_bytes, answer::detail),
        };
        let (content, body) = match self.content(&endpoint, route, head, body).await {
            Ok(content) => content,
            Err(Unread::Form(error)) => return answer::detail(StatusCode::BAD_REQUEST, &error.to_string()),
            Err(Unread::NotReady) => return answer::outcome(&endpoint.name, Outcome::Unserved, endpoint.pool.timeout(), id),
        };
        let head = RequestHead { path: values, query: head.uri.query().unwrap_or_default().to_owned(), content };
        let outcome = endpoint.pool.request(Work { route: route as u16, head, body, tag, cancel: endpoint.cancel }).await;
        answer::outcome(&endpoint.name, outcome, endpoint.pool.timeout(), id)
    }

    /// Boxed by who answers: what is read on the way is small.
    async fn answer_whole(&self, service: Arc<dyn Whole>, head: &Parts, body: Incoming, caller: Caller) -> Response<Payload> {
        let limit = match service.admit(head, caller) {
            Ok(limit) => limit,
            Err(response) if body.is_end_stream() => return (*response).map(Payload::from),
            Err(response) => return closing((*response).map(Payload::from)), // its body will not be read
        };
        let mut room = self.bodies.room(); // until it is answered: the service may keep the body as long
        match self.read(body, limit, &mut room).await {
            Ok(body) => service.answer(Request::from_parts(head.clone(), body), caller).await.map(Payload::from),
            Err(unread) => unread.response(limit, |status, text| service.refuse(status, text).map(Payload::from)),
        }
    }

    /// What the body is, and the body: a form is taken apart if the route takes one, which its worker's plan says.
    async fn content(&self, endpoint: &Endpoint, route: usize, head: &Parts, body: Bytes) -> Result<(Content, Bytes), Unread> {
        let Some(content_type) = head.headers.get(header::CONTENT_TYPE) else { return Ok((Content::Untyped, body)) };
        let content_type = content_type.as_bytes();
        if let Some(form) = Announced::by(content_type) {
            let ready = tokio::time::timeout(endpoint.pool.timeout(), endpoint.pool.ready()).await.map_err(|_| Unread::NotReady)?;
            let plan = ready.as_ref().and_then(|ready| ready.routes.get(route)).and_then(|route| route.plan.body);
            if plan == Some(BodyPlan::Form) {
                let parts = form.parts(&body, &self.settings.form).map_err(Unread::Form)?;
                return Ok((Content::Form, encode_form(&parts)));
            }
        }
        let json = b"application/json";
        let content_type = if content_type == json { Bytes::from_static(json) } else { Bytes::copy_from_slice(content_type) };
        Ok((Content::Typed(content_type), body))
    }
}

/// Why a body is not passed on.
enum Unread {
    /// It is a form that cannot be taken apart.
    Form(form::Error),
    /// No worker has said in time whether the route takes a form.
    NotReady,
}

/// A request whose caller left before it was answered: dropped with the request's future, it reports that.
struct Departure<'request> {
    gateway: &'request Gateway,
    head: &'request Parts,
    arrived: Instant,
    tag: u64,
}

impl Drop for Departure<'_> {
    fn drop(&mut self) {
        let status = StatusCode::from_u16(CLIENT_GONE).expect("it has three digits");
        self.gateway.observe(self.head, status, self.arrived, self.tag);
    }
}

/// What the answer to this process's request of this number carries as `x-request-id`.
pub fn request_id(epoch: u32, tag: u64) -> String {
    RequestId::new(epoch, tag).as_str().to_owned()
}

/// HTTP/1.0 allows that.
const NO_HOST: &str = "the request has no Host, so it may be meant for any server";
const MISDIRECTED: &str = "this server answers to loopback addresses, `localhost` and its own domains only";

/// Nobody who came this way may call the endpoint without a key.
pub(crate) fn unauthorized() -> Response<Payload> {
    let text = "this endpoint takes an API key: Authorization: Bearer flash_...";
    let mut response = answer::detail(StatusCode::UNAUTHORIZED, text);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// `/lb/{endpoint}/{rest}`, percent-decoded as a whole before it is matched, as Starlette's is.
pub(crate) fn split(uri: &Uri) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
    let rest = uri.path().strip_prefix("/lb/")?;
    let (name, path) = rest.split_at(memchr(b'/', rest.as_bytes()).unwrap_or(rest.len()));
    Some((decoded(name), if path.is_empty() { "/".into() } else { decoded(path) }))
}

fn decoded(text: &str) -> Cow<'_, str> {
    if memchr(b'%', text.as_bytes()).is_some() { percent_decode_str(text).decode_utf8_lossy() } else { text.into() }
}

/// Whether the endpoint can answer, without waking a worker.
fn ping(endpoint: &Endpoint, method: &Method) -> Response<Payload> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return method_not_allowed(&[Method::GET, Method::HEAD]);
    }
    match &*endpoint.pool.status().borrow() {
        Status::Ready => answer::json(StatusCode::OK, r#"{"status": "healthy"}"#),
        Status::Starting => empty(StatusCode::NO_CONTENT),
        Status::Failed(error) => {
            let why = answer::cannot_run(&endpoint.name, error);
            answer::json(StatusCode::SERVICE_UNAVAILABLE, serde_json::json!({ "status": "unhealthy", "detail": why }).to_string())
        }
    }
}

fn empty(status: StatusCode) -> Response<Payload> {
    let mut response = Response::new(Payload::Whole(None));
    *response.status_mut() = status;
    response
}

/// The last answer on its connection, where that is the request's alone.
pub(crate) fn closing(mut response: Response<Payload>) -> Response<Payload> {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

pub(crate) fn method_not_allowed(methods: &[Method]) -> Response<Payload> {
    let mut response = answer::detail(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    let allow = HeaderValue::try_from(names.join(", ")).expect("methods are tokens");
    response.headers_mut().insert(header::ALLOW, allow);
    response
}

/// To the same path with a slash more or less at its end.
fn redirect(head: &Parts, settings: &Settings) -> Response<Payload> {
    let (uri, path) = (&head.uri, head.uri.path());
    let mut location = if settings.trust_proxy { forwarded::prefix(&head.headers) } else { String::new() };
    match path.strip_suffix('/') {
        Some(path) => location.push_str(path),
        None => location.extend([path, "/"]),
    }
    if let Some(query) = uri.query() {
        location.push('?');
        location.push_str(query);
    }
    let mut response = empty(StatusCode::TEMPORARY_REDIRECT);
    response.headers_mut().insert(header::LOCATION, HeaderValue::try_from(location).expect("a path, and before it what stands in a URL"));
    response
}

impl Endpoint {
    pub(crate) fn is_live(&self) -> bool {
        self.access == Access::Live
    }
}
