//! The control API: from a request to its answer.
//!
//! Each passes, in this order: no `Origin`; a credential that is known; its route; the scope that its route takes; its handler. What is refused
//! on the way leaves as a [`Refusal`], and becomes a problem in one place.

mod apps;
mod body;
mod builds;
mod deployments;
mod document;
mod endpoints;
mod jobs;
mod keys;
mod logs;
mod server;

pub use keys::scope;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::str::FromStr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post, put};
use flash_api::{PROBLEM, ROOT, Scope};
use flash_gateway::{MountedBody, RequestId};
use http::{HeaderValue, Method, Request, StatusCode, Uri, header, request::Parts};
use http_body_util::BodyExt as _;
use tower_service::Service as _;

use crate::api::document::{Operation, Parameter};
use crate::control::{Control, Place};
use crate::keyring::allows;
use crate::refusal::Refusal;

/// The control API as the gateway mounts it at [`ROOT`].
pub fn service(control: &Arc<Control>) -> flash_gateway::Service {
    let (router, control) = (router(control.clone()), control.clone());
    Arc::new(move |request| {
        let (router, control) = (router.clone(), control.clone());
        Box::pin(async move { answer(router, &control, request.map(Body::new)).await.map(mounted) })
    })
}

/// A route: what answers it, who may ask for it, and what the document says of it.
struct Route {
    path: &'static str,
    method: Method,
    scope: Scope,
    handlers: MethodRouter<Arc<Control>>,
    operation: Operation,
}

/// All of them.
fn routes() -> Vec<Route> {
    use flash_api::{
        App, Build, Changes, DeployRequest, Deployment, Endpoint, Environment, JobDetail, JobPage, Key, KeyRequest, LogLine, NewKey,
        Purged, RollbackRequest, Server,
    };

    let mut routes = Vec::new();
    let mut route = |method, path, scope, handlers, operation| routes.push(Route { path, method, scope, handlers, operation });
    let (invoke, deploy, admin) = (Scope::Invoke, Scope::Deploy, Scope::Admin);
    let says = Operation::new;
    let (found, none) = ("As it is now.", "It is gone.");

    let operation = says("read_server", "The server: its release, addresses, Python and isolation").gives::<Server>(200, found);
    route(Method::GET, "/server", invoke, get(server::about), operation);
    let operation = says("stop_server", "End the server in order").ends(202, "It ends.");
    route(Method::POST, "/server/stop", admin, post(server::stop), operation);
    let operation = says("read_document", "This document").gives::<serde_json::Map<String, serde_json::Value>>(200, "OpenAPI 3.1.");
    route(Method::GET, "/openapi.json", invoke, get(server::document), operation);

    let operation = says("list_builds", "Builds that the server has, the newest first").gives::<Vec<Build>>(200, found);
    route(Method::GET, "/builds", deploy, get(builds::list), operation);
    let operation = says("find_build", "A build, by its artifact's SHA-256").gives::<Build>(200, found);
    route(Method::GET, "/builds/{digest}", deploy, get(builds::find), operation);
    let operation = says("upload_build", "Send an artifact, as `flash build` makes it; `digest` is its SHA-256")
        .takes_bytes("application/gzip")
        .gives::<Build>(200, "The server had it already.")
        .gives::<Build>(201, "The server has it now.");
    route(Method::PUT, "/builds/{digest}", deploy, put(builds::upload), operation);

    let operation = says("list_apps", "Apps, with their environments").gives::<Vec<App>>(200, found);
    route(Method::GET, "/apps", deploy, get(apps::list), operation);
    let operation = says("find_app", "An app, with its environments").gives::<App>(200, found);
    route(Method::GET, "/apps/{app}", deploy, get(apps::find), operation);
    let operation = says("remove_app", "Remove an app, with all that is deployed of it").ends(204, none);
    route(Method::DELETE, "/apps/{app}", deploy, delete(apps::remove), operation);
    let operation = says("list_environments", "An app's environments").gives::<Vec<Environment>>(200, found);
    route(Method::GET, "/apps/{app}/environments", deploy, get(apps::environments), operation);

    let path = "/apps/{app}/environments/{environment}";
    let operation = says("find_environment", "An environment").gives::<Environment>(200, found);
    route(Method::GET, path, deploy, get(apps::environment), operation);
    let operation = says("make_environment", "Make an environment, and its app, unless they are there")
        .gives::<Environment>(200, "It was there.")
        .gives::<Environment>(201, "It is there now.");
    route(Method::PUT, path, deploy, put(apps::make_environment), operation);
    let operation = says("remove_environment", "Remove an environment, with all that is deployed to it").ends(204, none);
    route(Method::DELETE, path, deploy, delete(apps::remove_environment), operation);

    let path = "/apps/{app}/environments/{environment}/deployments";
    let operation = says("list_deployments", "The last 100 deployments, the newest first").gives::<Vec<Deployment>>(200, found);
    route(Method::GET, path, deploy, get(deployments::list), operation);
    let operation = says("deploy", "Deploy a build; or say what that would change, for `dry_run`")
        .takes::<DeployRequest>()
        .gives::<Changes>(200, "What would change.")
        .gives::<Deployment>(202, "It rolls.");
    route(Method::POST, path, deploy, post(deployments::deploy), operation);
    let path = "/apps/{app}/environments/{environment}/rollback";
    let operation = says("roll_back", "Deploy the build before again, with its settings; or the last one that begins with `to`")
        .takes::<RollbackRequest>()
        .gives::<Deployment>(202, "It rolls.");
    route(Method::POST, path, deploy, post(deployments::roll_back), operation);
    let operation = says("find_deployment", "A deployment, once it has settled or the time is over")
        .asks(deployments::QUERY)
        .gives::<Deployment>(200, found);
    route(Method::GET, "/deployments/{deployment}", deploy, get(deployments::find), operation);

    let operation = says("list_rolling", "Deployments that roll, in all environments").gives::<Vec<Deployment>>(200, found);
    route(Method::GET, "/deployments", invoke, get(deployments::rolling), operation);
    let operation = says("cancel_deployment", "Give up a deployment that rolls; what served before serves on")
        .gives::<Deployment>(200, "As it has ended; or as it is, where that takes longer than 30 s.");
    route(Method::POST, "/deployments/{deployment}/cancel", deploy, post(deployments::cancel), operation);

    let operation = says("list_endpoints", "What is deployed").asks(endpoints::QUERY).gives::<Vec<Endpoint>>(200, found);
    route(Method::GET, "/endpoints", invoke, get(endpoints::list), operation);
    let path = "/apps/{app}/environments/{environment}/endpoints/{name}";
    let operation = says("find_endpoint", "An endpoint").gives::<Endpoint>(200, found);
    route(Method::GET, path, invoke, get(endpoints::find), operation);
    let operation = says("remove_endpoint", "Take an endpoint down, until it is deployed again").ends(204, none);
    route(Method::DELETE, path, deploy, delete(endpoints::remove), operation);

    let operation = says("list_jobs", "Jobs of queue-based endpoints, the newest first").asks(jobs::LIST).gives::<JobPage>(200, found);
    route(Method::GET, "/jobs", invoke, get(jobs::list), operation);
    let operation = says("find_job", "A job, with its input, output and failed attempts").gives::<JobDetail>(200, found);
    route(Method::GET, "/jobs/{job}", invoke, get(jobs::find), operation);
    let operation = says("cancel_job", "Take a job back, or stop it").gives::<JobDetail>(200, found);
    route(Method::POST, "/jobs/{job}/cancel", invoke, post(jobs::cancel), operation);
    let operation = says("resend_job", "Send a job again that has failed").gives::<JobDetail>(200, found);
    route(Method::POST, "/jobs/{job}/retry", invoke, post(jobs::retry), operation);
    let operation = says("purge_jobs", "Take back all jobs of an endpoint that wait").asks(jobs::PURGE).gives::<Purged>(200, "So many.");
    route(Method::POST, "/jobs/purge", invoke, post(jobs::purge), operation);

    let operation = says("read_logs", "What endpoints printed and answered, the oldest first")
        .asks(logs::QUERY)
        .gives_lines::<LogLine>(200, "A line of JSON each.");
    route(Method::GET, "/logs", deploy, get(logs::read), operation);

    let operation = says("list_keys", "API keys, without their secrets").gives::<Vec<Key>>(200, found);
    route(Method::GET, "/keys", admin, get(keys::list), operation);
    let operation =
        says("make_key", "Make an API key").takes::<KeyRequest>().gives::<NewKey>(201, "The only time that the secret is told.");
    route(Method::POST, "/keys", admin, post(keys::make), operation);
    let operation = says("revoke_key", "Revoke an API key").ends(204, none);
    route(Method::DELETE, "/keys/{key}", admin, delete(keys::revoke), operation);
    routes
}

/// What [`routes`] says, as an OpenAPI document.
pub(crate) fn document(version: &str) -> Vec<u8> {
    let routes = routes();
    document::document(version, routes.iter().map(|route| (route.path, &route.method, route.scope, &route.operation)))
}

fn router(control: Arc<Control>) -> Router {
    let mut paths: BTreeMap<&str, MethodRouter<Arc<Control>>> = BTreeMap::new();
    for Route { path, scope, handlers, .. } in routes() {
        let others = paths.remove(path).unwrap_or_default();
        paths.insert(path, others.merge(takes(scope, handlers)));
    }
    let router = paths.into_iter().fold(Router::new(), |router, (path, handlers)| router.route(&format!("{ROOT}{path}"), handlers));
    router.fallback(no_route).method_not_allowed_fallback(no_method).with_state(control)
}

/// Who sends a request.
#[derive(Clone, Copy)]
struct Caller(Scope);

async fn answer(mut router: Router, control: &Control, mut request: Request<Body>) -> Response {
    let id = request.extensions_mut().remove::<RequestId>();
    let response = match admit(control, &mut request) {
        Ok(()) => {
            let Ok(mut response) = router.call(request).await;
            if let Ok(version) = HeaderValue::from_str(&control.about.version) {
                response.headers_mut().insert(flash_api::VERSION, version);
            }
            response
        }
        Err(refusal) => refusal.into_response(),
    };
    told(response, id.as_ref().map(|RequestId(id)| id.as_str()))
}

/// Notes who sends it, unless it is refused whatever it is about.
fn admit(control: &Control, request: &mut Request<Body>) -> Result<(), Refusal> {
    if request.headers().contains_key(header::ORIGIN) {
        return Err(Refusal::CrossOrigin);
    }
    let (head, body) = std::mem::take(request).into_parts();
    let scope = control.keyring.scope(&head);
    *request = Request::from_parts(head, body);
    request.extensions_mut().insert(Caller(scope.ok_or(Refusal::Unauthorized)?));
    Ok(())
}

fn takes(needed: Scope, routes: MethodRouter<Arc<Control>>) -> MethodRouter<Arc<Control>> {
    routes.route_layer(from_fn(move |request: Request<Body>, next: Next| async move {
        match request.extensions().get::<Caller>() {
            Some(Caller(scope)) if allows(*scope, needed) => next.run(request).await,
            Some(Caller(scope)) => Refusal::Forbidden { scope: *scope, needed }.into_response(),
            None => Refusal::Unauthorized.into_response(),
        }
    }))
}

async fn no_route(uri: Uri) -> Refusal {
    Refusal::NoRoute { path: uri.path().to_owned() }
}

async fn no_method(method: Method, uri: Uri) -> Refusal {
    Refusal::NoMethod { method: method.to_string(), path: uri.path().to_owned() }
}

/// What a response carries until the problem is written.
#[derive(Clone)]
struct Refused(Arc<Refusal>);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.kind().1.into_response();
        response.extensions_mut().insert(Refused(Arc::new(self)));
        response
    }
}

/// Writes the problem of a response that is one.
fn told(mut response: Response, id: Option<&str>) -> Response {
    let Some(Refused(refusal)) = response.extensions_mut().remove::<Refused>() else { return response };
    let problem = refusal.problem(id);
    *response.body_mut() = Body::from(serde_json::to_vec(&problem).expect("it is plain data"));
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
    match &*refusal {
        Refusal::Unauthorized => drop(headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
        Refusal::Stopping => drop(headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"))),
        // Its body may not have been read.
        Refusal::TooLarge { .. } | Refusal::Slow => drop(headers.insert(header::CONNECTION, HeaderValue::from_static("close"))),
        _ => {}
    }
    response
}

fn mounted(body: Body) -> MountedBody {
    // Bodies of ours are in memory, or end where they cannot go on.
    let ended = |error: axum::Error| -> Infallible { unreachable!("a body of ours failed: {error}") };
    body.map_err(ended).boxed_unsync()
}

/// A part of the path that is a legal name.
struct Names<T>(T);

impl FromRequestParts<Arc<Control>> for Names<Place> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<Control>) -> Result<Self, Refusal> {
        let Names(named) = Names::<Named>::from_request_parts(parts, state).await?;
        named.place().map(Self)
    }
}

/// The parts of the path, by name.
struct Named(Vec<(String, String)>);

impl Named {
    /// A name of an app or endpoint: one rule holds for both.
    fn get(&self, part: &'static str) -> Result<String, Refusal> {
        self.parsed::<flash_manifest::AppName>(part)
    }

    fn place(&self) -> Result<Place, Refusal> {
        Ok(Place { app: self.get("app")?, environment: self.parsed::<flash_manifest::EnvironmentName>("environment")? })
    }

    fn parsed<T: FromStr<Err = flash_manifest::Diagnostic>>(&self, part: &'static str) -> Result<String, Refusal> {
        let value = self.text(part);
        match value.parse::<T>() {
            Ok(_) => Ok(value.to_owned()),
            Err(problem) => Err(Refusal::BadName { what: part, name: value.chars().take(100).collect(), why: problem.why }),
        }
    }

    fn text(&self, part: &str) -> &str {
        self.0.iter().find(|(name, _)| name == part).map_or("", |(_, value)| value)
    }
}

impl FromRequestParts<Arc<Control>> for Names<Named> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Control>) -> Result<Self, Refusal> {
        let parameters = axum::extract::RawPathParams::from_request_parts(parts, &()).await;
        let parameters = parameters.map_err(|rejection| Refusal::BadName {
            what: "path",
            name: parts.uri.path().to_owned(),
            why: rejection.body_text(),
        })?;
        Ok(Self(Named(parameters.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())))
    }
}

/// What a query says, by name: each known and once.
struct Query(Vec<(String, String)>);

impl Query {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Reads a query that may have these parameters.
fn query(uri: &http::Uri, known: &[Parameter]) -> Result<Query, Refusal> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for pair in uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decode = |text: &str| percent_encoding::percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
        let (name, value) = (decode(name), decode(value));
        if !known.iter().any(|known| known.name == name) {
            let known: Vec<&str> = known.iter().map(|known| known.name).collect();
            let why = format!("the query may have {}", known.join(", "));
            return Err(Refusal::BadName { what: "query", name, why });
        }
        if pairs.iter().any(|(other, _)| *other == name) {
            return Err(Refusal::BadName { what: "query", name, why: "it is there twice".into() });
        }
        pairs.push((name, value));
    }
    Ok(Query(pairs))
}

type Shared = State<Arc<Control>>;

fn no_content() -> StatusCode {
    StatusCode::NO_CONTENT
}
