//! The OpenAPI document of the control API. Its paths come of the table that the router is made of, its schemas of the types that handlers
//! answer with, so neither can say what the other does not.

use std::collections::BTreeMap;

use flash_api::{LogLine, PROBLEM, Problem, ROOT, Scope};
use http::Method;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use crate::refusal::name;

/// JSON.
const JSON: &str = "application/json";
/// What may be in a path of a name: the rule is the manifest's.
const NAME: &str = "^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$";

/// What is said of a route.
pub(super) struct Operation {
    /// Alone of its kind: what generated clients call it.
    id: &'static str,
    summary: &'static str,
    query: &'static [Parameter],
    body: Option<Body>,
    answers: Vec<Answer>,
}

/// A parameter of a query.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) kind: Kind,
}

/// What a parameter of a query may be.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Text,
    Flag,
    Seconds,
    Time,
    Number,
    Status,
}

/// A body, of a request or an answer.
enum Body {
    /// Of this media type, and opaque.
    Bytes(&'static str),
    /// Lines, each of this schema in JSON.
    Lines(fn(&mut SchemaGenerator) -> Schema),
    Json(fn(&mut SchemaGenerator) -> Schema),
}

struct Answer {
    status: u16,
    about: &'static str,
    body: Option<Body>,
}

impl Operation {
    pub(super) fn new(id: &'static str, summary: &'static str) -> Self {
        Self { id, summary, query: &[], body: None, answers: Vec::new() }
    }

    pub(super) fn asks(mut self, query: &'static [Parameter]) -> Self {
        self.query = query;
        self
    }

    /// The request has a body of JSON.
    pub(super) fn takes<T: JsonSchema>(mut self) -> Self {
        self.body = Some(Body::Json(|schemas| schemas.subschema_for::<T>()));
        self
    }

    /// The request has a body of bytes.
    pub(super) fn takes_bytes(mut self, media_type: &'static str) -> Self {
        self.body = Some(Body::Bytes(media_type));
        self
    }

    /// An answer of JSON.
    pub(super) fn gives<T: JsonSchema>(mut self, status: u16, about: &'static str) -> Self {
        let body = Some(Body::Json(|schemas| schemas.subschema_for::<T>()));
        self.answers.push(Answer { status, about, body });
        self
    }

    /// An answer of lines, each of them JSON.
    pub(super) fn gives_lines<T: JsonSchema>(mut self, status: u16, about: &'static str) -> Self {
        self.answers.push(Answer { status, about, body: Some(Body::Lines(|schemas| schemas.subschema_for::<T>())) });
        self
    }

    /// An answer without a body.
    pub(super) fn ends(mut self, status: u16, about: &'static str) -> Self {
        self.answers.push(Answer { status, about, body: None });
        self
    }
}

/// What a route's operation is written of.
pub(super) type Described<'r> = (&'r str, &'r Method, Scope, &'r Operation);

/// The document, as JSON.
pub(super) fn document<'r>(version: &str, routes: impl Iterator<Item = Described<'r>>) -> Vec<u8> {
    let settings = || SchemaSettings::draft2020_12().with(|settings| settings.definitions_path = "/components/schemas".into());
    // What is sent may leave out what has a default; what is answered has it.
    let mut sent = settings().for_deserialize().into_generator();
    let mut answered = settings().for_serialize().into_generator();
    let problem = answered.subschema_for::<Problem>();
    answered.subschema_for::<LogLine>();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for (path, method, scope, operation) in routes {
        let written = written(path, scope, operation, &problem, &mut sent, &mut answered);
        paths.entry(path).or_default().insert(method.as_str().to_ascii_lowercase(), written);
    }
    let mut schemas = sent.take_definitions(true);
    schemas.append(&mut answered.take_definitions(true));
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "OpenFlash control API",
            "description": "What the `flash` command is a client of. Every answer that is an error is a problem (RFC 9457).",
            "version": version,
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": ROOT }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The token in FLASH_HOME/token, or an API key. Its scope is `invoke`, `deploy`, which allows what `invoke` does, \
                                    or `admin`, which allows everything.",
                },
            },
        },
    });
    serde_json::to_vec(&document).expect("it is plain data")
}

fn written(
    path: &str,
    scope: Scope,
    operation: &Operation,
    problem: &Schema,
    sent: &mut SchemaGenerator,
    answered: &mut SchemaGenerator,
) -> Value {
    let refused = |about: &str| json!({ "description": about, "content": { PROBLEM: { "schema": problem } } });
    let mut responses = Map::new();
    for Answer { status, about, body } in &operation.answers {
        let mut response = json!({ "description": about });
        if let Some(body) = body {
            response["content"] = content(body, answered);
        }
        responses.insert(status.to_string(), response);
    }
    responses.insert("401".into(), refused("No credential that the server knows."));
    responses.insert("403".into(), refused("The credential is of a scope that does not reach, or the request has an `Origin`."));
    responses.insert("default".into(), refused("Why it was refused."));
    let query = operation.query.iter().map(|Parameter { name, about, kind }| {
        json!({ "name": name, "in": "query", "required": false, "description": about, "schema": kind.schema() })
    });
    let parameters: Vec<Value> = in_path(path).chain(query).collect();
    let mut written = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "security": [{ "bearer": [name(scope)] }],
        "responses": responses,
    });
    if !parameters.is_empty() {
        written["parameters"] = parameters.into();
    }
    if let Some(body) = &operation.body {
        // Bytes that the server has already need not be sent again.
        let required = !matches!(body, Body::Bytes(_));
        written["requestBody"] = json!({ "required": required, "content": content(body, sent) });
    }
    written
}

fn content(body: &Body, schemas: &mut SchemaGenerator) -> Value {
    match body {
        Body::Json(schema) => json!({ JSON: { "schema": schema(schemas) } }),
        // A schema would be of the whole text; what a line is, the extension says.
        Body::Lines(schema) => json!({ "application/x-ndjson": { "schema": { "type": "string" }, "x-line": schema(schemas) } }),
        Body::Bytes(media_type) => json!({ *media_type: {} }),
    }
}

/// The parameters that a path's template names.
fn in_path(path: &str) -> impl Iterator<Item = Value> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).map(|name| {
        let schema = match name {
            "digest" => json!({ "type": "string", "pattern": "^[0-9a-f]{64}$" }),
            "deployment" => json!({ "type": "integer", "minimum": 0 }),
            "key" | "job" => json!({ "type": "string" }),
            // Means something else: FLASH_TARGET=live.
            "environment" => json!({ "type": "string", "pattern": NAME, "maxLength": 63, "not": { "const": "live" } }),
            _ => json!({ "type": "string", "pattern": NAME, "maxLength": 63 }),
        };
        json!({ "name": name, "in": "path", "required": true, "schema": schema })
    })
}

impl Kind {
    fn schema(self) -> Value {
        match self {
            Self::Text => json!({ "type": "string" }),
            Self::Flag => json!({ "type": "boolean" }),
            Self::Seconds => json!({ "type": "integer", "minimum": 0 }),
            Self::Number => json!({ "type": "integer", "minimum": 1 }),
            Self::Status => json!({ "enum": super::jobs::STATES.map(|(status, _)| status.as_str()) }),
            Self::Time => json!({ "type": "string", "format": "date-time" }),
        }
    }
}
