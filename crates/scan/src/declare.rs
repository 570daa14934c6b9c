//! Functions as they are declared: `@remote(api, method="POST", path="/users")`.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use flash_manifest::{Diagnostic, Endpoint, Function, Kind, Method, Nature, PathPattern, Route};
use ruff_text_size::{Ranged, TextRange, TextSize};

use crate::library::PythonModule;
use crate::options::Options;
use crate::refusals::{dropped_parameter, not_a_resource, twice, yielding};
use crate::resolve::{Place, Resolver, Runs};
use crate::syntax::{Call, Decorated, Expression, Form, Frame, Meaning};
use crate::value::{Resource, ResourceKey, Stop, Value};

/// Collects what the project's modules declare.
pub(crate) struct Declarations {
    pub(crate) resolver: Resolver,
    pub(crate) errors: Vec<Diagnostic>,
    pub(crate) warnings: Vec<Diagnostic>,
    /// How many functions were found decorated, served or not.
    pub(crate) decorated: usize,
    functions: Vec<(Arc<Resource>, Function)>,
    /// Expressions without a value that were reported once already.
    reported: HashSet<(PathBuf, TextRange)>,
}

impl Declarations {
    pub(crate) fn new(resolver: Resolver) -> Self {
        Self { resolver, errors: Vec::new(), warnings: Vec::new(), decorated: 0, functions: Vec::new(), reported: HashSet::new() }
    }

    /// Adds what a module declares.
    pub(crate) fn read(&mut self, module: &Arc<PythonModule>) {
        for decorated in &module.contents.decorated {
            self.function(module, decorated);
        }
        for call in &module.contents.applied {
            if self.is_remote(module, &call.function, call.range.start(), &[]) {
                let problem = Diagnostic::warning(
                    "remote() is called on a function, and not found that way",
                    "functions are found by the decorator above them, without running the program",
                    "write @remote(...) above the function's def",
                );
                self.warnings.push(module.source.point(problem, call.range.start()));
            }
        }
    }

    /// The endpoints that have functions, in the order of their first; where nothing is wrong, endpoints of `modules` without any are warned of.
    pub(crate) fn endpoints(&mut self, modules: &[Arc<PythonModule>]) -> Vec<Endpoint> {
        let mut endpoints: Vec<Endpoint> = Vec::new();
        let mut places = HashMap::new();
        for (resource, function) in std::mem::take(&mut self.functions) {
            let place = *places.entry(resource.key.clone()).or_insert(endpoints.len());
            if place == endpoints.len() {
                endpoints.push(resource.endpoint.clone());
            }
            endpoints[place].functions.push(function);
        }
        let idle: Vec<_> = modules.iter().flat_map(|module| self.idle(module, |key| !places.contains_key(key))).collect();
        self.errors.append(&mut self.resolver.errors);
        if self.errors.is_empty() {
            // Else they may have functions that are wrong.
            self.warnings.extend(idle);
        }
        self.warnings.append(&mut self.resolver.warnings);
        endpoints
    }

    /// What there is to say of endpoints that no function belongs to.
    fn idle(&mut self, module: &Arc<PythonModule>, is_idle: impl Fn(&ResourceKey) -> bool) -> Vec<Diagnostic> {
        let mut warnings = Vec::new();
        let mut bindings: Vec<_> = module.contents.bindings.values().flatten().collect();
        bindings.sort_by_key(|binding| binding.at);
        for binding in bindings {
            let Meaning::Value(value @ Expression { form: Form::Call(_), .. }) = &binding.meaning else { continue };
            let place = Place::new(module, binding.at);
            let Ok(Value::Resource(resource)) = self.resolver.value(value, &place) else { continue };
            if is_idle(&resource.key) && self.resolver.runs(&binding.frames, &place) == Runs::Always {
                let problem = Diagnostic::warning(
                    format!("endpoint '{}' has no functions", resource.endpoint.name),
                    "no function in the files searched is decorated with it, so there is nothing to call",
                    "write `@remote(...)` above one, for the code is read and not run; or take the endpoint out",
                );
                warnings.push(module.source.point(problem, value.start()));
            }
        }
        warnings
    }

    /// Whether an expression is the SDK's `remote`. Within functions and classes, their own imports count.
    fn is_remote(&mut self, module: &Arc<PythonModule>, expression: &Expression, at: TextSize, frames: &[Frame]) -> bool {
        let nested = frames.iter().any(|frame| matches!(frame, Frame::Function(_) | Frame::Class(_)));
        if nested
            && let Form::Name(name) = &expression.form
            && let Some(imports) = module.contents.inner.get(name)
        {
            return imports.iter().any(|binding| match &binding.meaning {
                Meaning::ImportFrom { from, name } => from.level == 0 && from.module == crate::library::SDK && name == "remote",
                Meaning::Import { .. } | Meaning::Value(_) | Meaning::Definition | Meaning::Changed => false,
            });
        }
        if !might_be_remote(module, expression) {
            return false;
        }
        // A function's body runs when the module is complete.
        let at = if frames.iter().any(|frame| matches!(frame, Frame::Function(_))) { TextSize::from(u32::MAX) } else { at };
        match self.resolver.value(expression, &Place::new(module, at)) {
            Ok(value) => value == Value::OfSdk("remote".into()),
            Err(Stop::Unresolved(_) | Stop::Reported) => false,
        }
    }

    fn function(&mut self, module: &Arc<PythonModule>, decorated: &Decorated) {
        let mut calls: Vec<(usize, &Call)> = Vec::new();
        for (index, decorator) in decorated.decorators.iter().enumerate() {
            let called = match &decorator.form {
                Form::Call(call) => &call.function,
                _ => decorator,
            };
            if !self.is_remote(module, called, decorator.start(), &decorated.frames) {
                continue;
            }
            self.decorated += 1;
            match &decorator.form {
                Form::Call(call) => calls.push((index, call)),
                _ => return self.refuse(module, decorator.start(), not_a_resource(&format!("function '{}'", decorated.name))),
            }
        }
        let Some((index, call)) = calls.pop() else { return };
        if !calls.is_empty() {
            return self.refuse(module, call.range.start(), twice(decorated));
        }
        if !self.exists(module, decorated) {
            return;
        }
        let wrapped = index + 1 < decorated.decorators.len();
        if let Some((resource, function)) = self.declare(module, decorated, call, wrapped) {
            self.functions.push((resource, function));
        }
    }

    fn refuse(&mut self, module: &PythonModule, at: TextSize, problem: Diagnostic) {
        self.errors.push(module.source.point(problem, at));
    }

    /// Whether the function is there once its module is imported. Says so where it is not.
    fn exists(&mut self, module: &Arc<PythonModule>, decorated: &Decorated) -> bool {
        let name = qualname(decorated);
        let innermost = |frame: &&Frame| matches!(frame, Frame::Function(_) | Frame::Class(_));
        match decorated.frames.iter().rev().find(innermost) {
            Some(Frame::Function(outer)) => {
                let problem = Diagnostic::warning(
                    format!("function '{name}' is not served"),
                    format!("it comes to be when `{outer}` is called; what is served is what a module defines when it is imported"),
                    format!("move it out of `{outer}`, to the module's level"),
                );
                self.warnings.push(module.source.point(problem, decorated.at));
                return false;
            }
            Some(Frame::Class(class)) => {
                let problem = Diagnostic::error(
                    format!("function '{name}' is decorated with @remote inside of a class"),
                    "a worker calls functions by their arguments alone, and has no object to call a method on",
                    format!("move it out of `{class}`, to the module's level"),
                );
                self.refuse(module, decorated.at, problem);
                return false;
            }
            _ => {}
        }
        match self.resolver.runs(&decorated.frames, &Place::new(module, decorated.at)) {
            Runs::Always => true,
            Runs::Never => {
                let others: Vec<_> = decorated.frames.iter().filter(|frame| !matches!(frame, Frame::Handler)).cloned().collect();
                let may_be = self.resolver.runs(&others, &Place::new(module, decorated.at)) != Runs::Never;
                let problem = Diagnostic::warning(
                    format!("function '{name}' is not served"),
                    if may_be {
                        "whether it is defined when its module is imported cannot be told from the source: that takes something to be raised"
                    } else {
                        "it is not defined when its module is imported, which is how a worker loads it"
                    },
                    "move it out of the branch, to the module's level",
                );
                self.warnings.push(module.source.point(problem, decorated.at));
                false
            }
            Runs::Perhaps => {
                let problem = Diagnostic::error(
                    format!("whether function '{name}' is defined cannot be told from the source"),
                    "it stands in a branch or a loop, which the running program takes or not",
                    "move it out of there; to have it in one environment alone, give it a module of its own",
                );
                self.refuse(module, decorated.at, problem);
                false
            }
        }
    }

    fn declare(
        &mut self,
        module: &Arc<PythonModule>,
        decorated: &Decorated,
        call: &Call,
        wrapped: bool,
    ) -> Option<(Arc<Resource>, Function)> {
        let place = Place::new(module, call.range.start());
        let is_text = |option: &Expression| matches!(self.resolver.value(option, &place), Ok(Value::Text(_)));
        let options = match Options::read(call, is_text) {
            Ok(options) => options,
            Err(problem) => {
                self.refuse(module, call.range.start(), problem);
                return None;
            }
        };
        let resource = match options.resource.map(|resource| (resource, self.known(resource, "the resource", decorated, &place))) {
            None => {
                self.refuse(module, call.range.start(), not_a_resource("nothing"));
                return None;
            }
            Some((_, Some(Value::Resource(resource)))) => resource,
            Some((given, Some(other))) => {
                self.refuse(module, given.start(), not_a_resource(&other.to_string()));
                return None;
            }
            Some((_, None)) => return None,
        };
        let route = match resource.endpoint.class.kind() {
            Kind::LoadBalanced => Some(self.route(&resource, decorated, &options, call, &place, wrapped)?),
            Kind::QueueBased => {
                self.ignored_route(&resource, &options, call, &place);
                None
            }
        };
        let function = Function {
            qualname: qualname(decorated),
            module: self.resolver.library.named(module).clone(),
            location: module.source.location(decorated.at),
            nature: decorated.nature,
            retries: self.retries(&resource, options.retries, decorated, &place)?,
            route,
            dependencies: self.packages("dependencies", options.dependencies, decorated, &place)?,
            system_dependencies: self.packages("system_dependencies", options.system_dependencies, decorated, &place)?,
        };
        Some((resource, function))
    }

    /// The value of an option; reports it where there is none.
    fn known(&mut self, expression: &Expression, what: &str, of: &Decorated, place: &Place) -> Option<Value> {
        match self.resolver.value(expression, place) {
            Ok(value) => Some(value),
            Err(Stop::Reported) => None,
            Err(Stop::Unresolved(why)) => {
                if self.reported.insert((why.module.source.file.clone(), why.range)) {
                    self.errors.push(why.about(&format!("{what} of function '{}'", of.name)));
                }
                None
            }
        }
    }

    fn route(
        &mut self,
        resource: &Resource,
        decorated: &Decorated,
        options: &Options<'_>,
        call: &Call,
        place: &Place,
        wrapped: bool,
    ) -> Option<Route> {
        let source = &place.module.source;
        if decorated.nature == Nature::Class {
            let problem = Diagnostic::error(
                format!("class '{}' cannot be decorated with @remote of a {}", decorated.name, resource.endpoint.class),
                "a route of a load-balanced endpoint is served by a function",
                "decorate functions, one a route",
            );
            self.refuse(&place.module, decorated.at, problem);
            return None;
        }
        // A decorator between may make something else of it.
        if decorated.yields && !wrapped {
            self.refuse(&place.module, decorated.at, yielding(decorated));
            return None;
        }
        let mut given = |option: Option<&Expression>, what| match option {
            None => Some(Value::None),
            Some(expression) => self.known(expression, what, decorated, place),
        };
        let (method, path) = (given(options.method, "the method"), given(options.path, "the path"));
        let (Value::Text(method), Value::Text(path)) = (method.clone()?, path.clone()?) else {
            let (method, path) = (method?, path?);
            let example = "@remote(resource_config, method='POST', path='/api/process')";
            let problem = Diagnostic::error(
                format!(
                    "LoadBalancerSlsResource requires both 'method' and 'path' parameters. Got method={method}, path={path}. Example: {example}"
                ),
                "a function of a load-balanced endpoint is called by its route, which is a method and a path",
                example,
            );
            self.refuse(&place.module, call.range.start(), problem);
            return None;
        };
        let at = |option: Option<&Expression>| option.map_or(call.range.start(), Ranged::start);
        let method: Result<Method, _> = method.parse().map_err(|problem| source.point(problem, at(options.method)));
        let path: Result<PathPattern, _> = path.parse().map_err(|problem| source.point(problem, at(options.path)));
        let mut keep = |problem| self.errors.push(problem);
        let (method, path) = (method.map_err(&mut keep), path.map_err(&mut keep));
        let (method, path) = (method.ok()?, path.ok()?);
        if !wrapped && let Some(problem) = dropped_parameter(decorated, &path) {
            self.warnings.push(source.point(problem, decorated.at));
        }
        Some(Route { method, path })
    }

    fn ignored_route(&mut self, resource: &Resource, options: &Options<'_>, call: &Call, place: &Place) {
        if options.method.is_none() && options.path.is_none() {
            return;
        }
        let problem = Diagnostic::warning(
            format!("method and path are ignored: the resource is a {}", resource.endpoint.class),
            "a queue-based endpoint is called by jobs, and has no routes",
            "take them out, or use a LoadBalancerSlsResource",
        );
        self.warnings.push(place.module.source.point(problem, call.range.start()));
    }

    /// How often a job is tried again, where that is said.
    fn retries(&mut self, resource: &Resource, given: Option<&Expression>, of: &Decorated, place: &Place) -> Option<Option<u8>> {
        let Some(given) = given else { return Some(None) };
        let got = match self.known(given, "retries", of, place)? {
            Value::None => return Some(None),
            got => got,
        };
        let most = Function::MOST_RETRIES;
        let problem = if resource.endpoint.class.kind() == Kind::LoadBalanced {
            Diagnostic::error(
                format!("retries are not for functions of a {}", resource.endpoint.class),
                "a request to a route is answered once; jobs of queue-based endpoints are tried again",
                "take retries out, or use a ServerlessEndpoint",
            )
        } else if let Value::Whole(number) = got
            && let Some(retries) = u8::try_from(number).ok().filter(|retries| *retries <= most)
        {
            return Some(Some(retries));
        } else {
            Diagnostic::error(
                format!("retries must be a whole number between 0 and {most}. Got: {got}"),
                "a job whose function raises is tried again so often",
                "retries=2",
            )
        };
        self.refuse(&place.module, given.start(), problem);
        None
    }

    fn packages(&mut self, name: &str, given: Option<&Expression>, of: &Decorated, place: &Place) -> Option<Vec<String>> {
        let Some(given) = given else { return Some(Vec::new()) };
        let got = match self.known(given, name, of, place)? {
            Value::None => return Some(Vec::new()),
            Value::List(items) => {
                let texts = items.iter().map(|item| if let Value::Text(text) = item { Some(text.clone()) } else { None });
                match texts.collect::<Option<Vec<_>>>() {
                    Some(texts) => return Some(texts),
                    None => Value::List(items),
                }
            }
            other => other,
        };
        let remedy = if let Value::Text(_) = got { format!("{name}=[{got}]") } else { format!("{name}=['name']") };
        let problem = Diagnostic::error(format!("{name} must be a list of strings. Got: {got}"), "each is the name of a package", remedy);
        self.refuse(&place.module, given.start(), problem);
        None
    }
}

/// Whether the module binds the name that an expression begins with. Most decorators are not ours, and settled by that.
fn might_be_remote(module: &PythonModule, expression: &Expression) -> bool {
    match &expression.form {
        Form::Name(name) => module.contents.bindings.contains_key(name) || !module.contents.stars.is_empty(),
        Form::Attribute(object, _) => might_be_remote(module, object),
        _ => false,
    }
}

fn qualname(decorated: &Decorated) -> String {
    let mut parts = Vec::new();
    for frame in &*decorated.frames {
        match frame {
            Frame::Function(name) => parts.extend([name.as_str(), "<locals>"]),
            Frame::Class(name) => parts.push(name),
            Frame::When { .. } | Frame::Handler | Frame::Perhaps => {}
        }
    }
    parts.push(&decorated.name);
    parts.join(".")
}
