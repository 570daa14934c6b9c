//! The control API: from a request to its answer.
//!
//! Each passes, in this order: no `Origin`; a credential that is known; its route; the scope that its route takes; its handler. What is refused
//! on the way leaves as a [`Refusal`], and becomes a problem in one place.

mod apps;
mod body;
mod builds;
mod deployments;
mod endpoints;
mod jobs;
mod keys;
mod logs;
mod server;

pub use keys::scope;

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};
use flash_api::{PROBLEM, ROOT, Scope};
use flash_gateway::{MountedBody, RequestId};
use http::{HeaderValue, Method, Request, StatusCode, Uri, header, request::Parts};
use http_body_util::BodyExt as _;
use tower_service::Service as _;

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

fn router(control: Arc<Control>) -> Router {
    let environment = "/apps/{app}/environments/{environment}";
    let within = |rest: &str| format!("{environment}{rest}");
    let routes = [
        ("/server".to_owned(), invoke(get(server::about))),
        ("/server/stop".into(), admin(post(server::stop))),
        ("/builds".into(), deploy(get(builds::list))),
        ("/builds/{digest}".into(), deploy(get(builds::find).put(builds::upload))),
        ("/apps".into(), deploy(get(apps::list))),
        ("/apps/{app}".into(), deploy(get(apps::find).delete(apps::remove))),
        ("/apps/{app}/environments".into(), deploy(get(apps::environments))),
        (within(""), deploy(get(apps::environment).put(apps::make_environment).delete(apps::remove_environment))),
        (within("/deployments"), deploy(get(deployments::list).post(deployments::deploy))),
        (within("/rollback"), deploy(post(deployments::roll_back))),
        ("/deployments/{id}".into(), deploy(get(deployments::find))),
        (within("/endpoints/{name}"), invoke(get(endpoints::find)).merge(deploy(delete(endpoints::remove)))),
        ("/endpoints".into(), invoke(get(endpoints::list))),
        ("/jobs".into(), invoke(get(jobs::list))),
        ("/jobs/purge".into(), invoke(post(jobs::purge))),
        ("/jobs/{id}".into(), invoke(get(jobs::find))),
        ("/jobs/{id}/cancel".into(), invoke(post(jobs::cancel))),
        ("/jobs/{id}/retry".into(), invoke(post(jobs::retry))),
        ("/logs".into(), deploy(get(logs::read))),
        ("/keys".into(), admin(get(keys::list).post(keys::make))),
        ("/keys/{id}".into(), admin(delete(keys::revoke))),
    ];
    let router = routes.into_iter().fold(Router::new(), |router, (path, handlers)| router.route(&format!("{ROOT}{path}"), handlers));
    router.fallback(no_route).method_not_allowed_fallback(no_method).with_state(control)
}

/// Who sends a request.
#[derive(Clone, Copy)]
struct Caller(Scope);

async fn answer(mut router: Router, control: &Control, mut request: Request<Body>) -> Response {
    let id = request.extensions_mut().remove::<RequestId>();
    let response = match admit(control, &mut request) {
        Ok(()) => {
            let Ok(response) = router.call(request).await;
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

fn admin(routes: MethodRouter<Arc<Control>>) -> MethodRouter<Arc<Control>> {
    takes(Scope::Admin, routes)
}

fn deploy(routes: MethodRouter<Arc<Control>>) -> MethodRouter<Arc<Control>> {
    takes(Scope::Deploy, routes)
}

fn invoke(routes: MethodRouter<Arc<Control>>) -> MethodRouter<Arc<Control>> {
    takes(Scope::Invoke, routes)
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
        Ok(Self(Place { app: named.get("app")?, environment: named.get("environment")? }))
    }
}

/// The parts of the path, by name.
struct Named(Vec<(String, String)>);

impl Named {
    /// A name of an app, environment or endpoint.
    fn get(&self, part: &'static str) -> Result<String, Refusal> {
        let value = self.text(part);
        // One rule holds for all three.
        match value.parse::<flash_manifest::AppName>() {
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

/// Reads a query that may have these names.
fn query(uri: &http::Uri, known: &[&str]) -> Result<Query, Refusal> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for pair in uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decode = |text: &str| percent_encoding::percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
        let (name, value) = (decode(name), decode(value));
        if !known.contains(&name.as_str()) {
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
