//! Endpoints as they are declared: `LiveLoadBalancer(name="my-api", workersMax=3)`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flash_manifest::{
    Diagnostic, Endpoint, EndpointName, IDLE_TIMEOUT_S, MOST_CONCURRENCY, PythonVersion, ResourceClass, Workers, check_variable, nearest,
};
use ruff_text_size::{Ranged, TextSize};

use crate::resolve::{Place, Resolver};
use crate::syntax::{Call, Expression, Form};
use crate::value::{Resource, Stop, Unresolved, Value};

impl Resolver {
    /// The endpoint that a call declares. What is wrong with it is reported the first time it is asked for.
    pub(crate) fn resource(&mut self, class: ResourceClass, call: &Call, place: &Place) -> Result<Arc<Resource>, Stop> {
        let key = (place.module.source.file.clone(), call.range.start());
        if let Some(known) = self.resources.get(&key) {
            return known.clone().ok_or(Stop::Reported);
        }
        let mut fields = Fields { resolver: self, class, call, place, errors: Vec::new(), warnings: Vec::new() };
        fields.check_names();
        fields.check_image();
        let endpoint = fields.endpoint();
        let Fields { mut errors, mut warnings, .. } = fields;
        let resource = endpoint.filter(|_| errors.is_empty()).map(|endpoint| Arc::new(Resource { endpoint, key: key.clone() }));
        self.errors.append(&mut errors);
        self.warnings.append(&mut warnings);
        self.resources.insert(key, resource.clone());
        resource.ok_or(Stop::Reported)
    }
}

/// The fields of one declaration, and what is wrong with them.
struct Fields<'d> {
    resolver: &'d mut Resolver,
    class: ResourceClass,
    call: &'d Call,
    place: &'d Place,
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
}

impl<'d> Fields<'d> {
    /// The endpoint, which is right where there are no errors. `None` when it has no name.
    fn endpoint(&mut self) -> Option<Endpoint> {
        let name = self.name().map_err(|problem| self.errors.push(problem));
        Some(Endpoint {
            workers: self.workers(),
            idle_timeout: self.idle_timeout(),
            scaler_value: self.count("scalerValue", ("requests", "one more worker is started for that many in flight", 4)).filter(positive),
            max_concurrency: self.max_concurrency(),
            timeout: self.timeout(),
            cancel_on_disconnect: self.flag("cancel_on_disconnect"),
            env: self.env(),
            image: self.image(),
            gpus: self.gpus(),
            gpu_count: self.gpu_count(),
            python: self.python(),
            name: name.ok()?,
            class: self.class,
            functions: Vec::new(),
            location: self.place.module.source.location(self.call.range.start()),
        })
    }

    /// What is given that is no field. The SDK warns of it as well, and goes on without it.
    fn check_names(&mut self) {
        let class = self.class;
        for (name, given) in &self.call.named {
            let Some(name) = name.as_deref().filter(|name| !class.fields().any(|field| field == *name)) else { continue };
            if name == "endpoint_url" {
                let problem = Diagnostic::error(
                    "endpoint_url is auto-generated after deployment and cannot be manually specified",
                    "the server chooses it when the endpoint is first deployed",
                    "leave it out, and read it once the endpoint is deployed",
                );
                self.refuse(problem, given.start());
                continue;
            }
            let is_attribute = class.attributes().any(|own| own == name);
            let near = nearest(name, class.fields()).filter(|_| !is_attribute); // which is no slip
            let what = format!("{class} has no field '{name}'{}", near.map_or(String::new(), |near| format!(" (Did you mean '{near}'?)")));
            let remedy = near.map_or_else(
                || format!("leave it out; the fields are: {}", class.fields().collect::<Vec<_>>().join(", ")),
                |near| format!("write '{near}'"),
            );
            if is_attribute {
                self.refuse(Diagnostic::error(what, "nothing would ever read it", remedy), given.start());
            } else {
                let problem = self.point(Diagnostic::warning(what, "it is ignored, and changes nothing", remedy), given.start());
                self.warnings.push(problem);
            }
        }
    }

    /// The classes that are no live ones have no image of their own; without one, the SDK refuses them when the module is imported.
    fn check_image(&mut self) {
        let hidden = self.call.named.iter().any(|(name, _)| name.is_none()) || !self.call.positional.is_empty();
        let resolver = &mut *self.resolver;
        let mut given = |name: &str| {
            let field = self.call.named.iter().find(|(own, _)| own.as_deref() == Some(name));
            field.is_some_and(|(_, given)| match resolver.evaluate(given, self.place) {
                Ok(Value::None) => false,
                Ok(Value::Text(text)) => !text.is_empty(),
                Ok(_) | Err(_) => true,
            })
        };
        if self.class.is_live() || hidden || ["imageName", "template", "templateId"].into_iter().any(&mut given) {
            return;
        }
        let problem = Diagnostic::error(
            "Either imageName, template, or templateId must be provided",
            format!("{} has no image of its own; the Live classes do", self.class),
            "imageName='runpod/flash-lb', or any other: it is a label here",
        );
        self.refuse(problem, self.call.range.start());
    }

    fn name(&mut self) -> Result<EndpointName, Diagnostic> {
        let class = self.class;
        let Some(given) = self.field("name") else {
            let why = if self.call.positional.is_empty() {
                "the name is the endpoint's address"
            } else {
                "the name is the endpoint's address, and fields are given by name"
            };
            let problem = Diagnostic::error(format!("{class} has no name"), why, format!("{class}(name='my-api')"));
            return Err(self.point(problem, self.call.range.start()));
        };
        match self.resolver.evaluate(given, self.place) {
            Ok(Value::Text(name)) => name.parse().map_err(|problem| self.point(problem, given.start())),
            Ok(other) => {
                let problem = Diagnostic::error(
                    format!("the name of an endpoint is a text. Got: {other}"),
                    "the name is the endpoint's address",
                    format!("{class}(name='my-api')"),
                );
                Err(self.point(problem, given.start()))
            }
            Err(Stop::Unresolved(why)) => Err(why.about("the endpoint's name")),
            // An endpoint's name that is made from another endpoint's, which is wrong.
            Err(Stop::Reported) => Err(self.point(
                Diagnostic::error("the endpoint's name depends on a wrong one", "its value is not known", "mend that first"),
                given.start(),
            )),
        }
    }

    fn workers(&mut self) -> Option<Workers> {
        let of_workers = ("workers", "so many workers are kept, or allowed", 1);
        let (least, most) = (self.count("workersMin", of_workers), self.count("workersMax", of_workers));
        if (least, most) == (None, None) {
            return None;
        }
        let default = Workers::default();
        if most == Some(0) {
            let problem = Diagnostic::warning(
                "workersMax=0 allows no workers",
                "where it is deployed, no request would ever be answered",
                "workersMax=1, or more; `workers` in flash.toml goes before it",
            );
            let problem = self.point(problem, self.call.range.start());
            self.warnings.push(problem);
        }
        let workers = Workers::new(least.unwrap_or(default.least()), most.unwrap_or(default.most()));
        workers.map_err(|problem| self.refuse(problem, self.call.range.start())).ok()
    }

    fn idle_timeout(&mut self) -> Option<Duration> {
        let seconds = self.count("idleTimeout", ("seconds", "a worker that had nothing to do for that long is stopped", 60))?;
        if !IDLE_TIMEOUT_S.contains(&seconds) {
            let problem = Diagnostic::error(
                "idleTimeout must be between 1 and 3600 seconds",
                format!("idleTimeout is {seconds}"),
                "choose a value that is between 1 and 3600",
            );
            let at = self.field("idleTimeout").map_or(self.call.range.start(), Ranged::start);
            self.refuse(problem, at);
        }
        Some(Duration::from_secs(seconds.into()))
    }

    fn max_concurrency(&mut self) -> Option<u16> {
        let most = self.count("max_concurrency", ("requests", "so many may be in flight on one worker", 64))?;
        let within = u16::try_from(most).ok().filter(|most| (1..=MOST_CONCURRENCY).contains(most));
        if within.is_none() {
            let problem = Diagnostic::error(
                format!("max_concurrency must be between 1 and {MOST_CONCURRENCY}"),
                format!("max_concurrency is {most}"),
                format!("choose a value that is between 1 and {MOST_CONCURRENCY}"),
            );
            let at = self.field("max_concurrency").map_or(self.call.range.start(), Ranged::start);
            self.refuse(problem, at);
        }
        within
    }

    /// `executionTimeoutMs`, where 0 stands for none.
    fn timeout(&mut self) -> Option<Duration> {
        let milliseconds = self.count("executionTimeoutMs", ("milliseconds", "a function that takes longer is given up", 30_000));
        milliseconds.filter(positive).map(|milliseconds| Duration::from_millis(milliseconds.into()))
    }

    fn python(&mut self) -> Option<PythonVersion> {
        let (given, value) = self.given("python_version")?;
        let Value::Text(version) = value else {
            return self.mistyped("python_version", "a string", value.type_name(), given);
        };
        version.parse().map_err(|problem| self.refuse(problem, given.start())).ok()
    }

    /// The variables that can be told. Those that the running program computes it sets itself, when its module is imported.
    fn env(&mut self) -> BTreeMap<String, String> {
        let Some(given) = self.field("env") else { return BTreeMap::new() };
        let mut known = Vec::new();
        match &given.form {
            Form::Dict(items) => {
                for (key, value) in items {
                    match (key, self.resolver.evaluate(value, self.place)) {
                        (None, Ok(Value::Dict(rest))) => known.extend(rest),
                        (Some(key), Ok(value)) => {
                            if let Ok(Value::Text(key)) = self.resolver.evaluate(key, self.place) {
                                known.push((key, value));
                            }
                        }
                        (None, Ok(_)) | (_, Err(_)) => {}
                    }
                }
            }
            _ => match self.resolver.evaluate(given, self.place) {
                Ok(Value::Dict(variables)) => known.extend(variables),
                Ok(Value::None) | Err(_) => {}
                Ok(other) => {
                    let _: Option<()> = self.mistyped("env", "a dict of strings", other.type_name(), given);
                }
            },
        }
        let mut variables = BTreeMap::new();
        for (name, value) in known {
            // Its value may be a secret, so a message does not show it.
            let Value::Text(value) = value else {
                let _: Option<()> = self.mistyped(&format!("env['{name}']"), "a string", value.type_name(), given);
                continue;
            };
            match check_variable(&name, &value) {
                Ok(()) => drop(variables.insert(name, value)),
                Err(problem) => self.refuse(problem, given.start()),
            }
        }
        variables
    }

    /// The image; the live classes have their own, and ignore what is given.
    fn image(&mut self) -> Option<String> {
        let (given, value) = self.label("imageName")?;
        match value {
            Value::Text(image) => Some(image).filter(|image| !image.is_empty() && !self.class.is_live()),
            other => self.mistyped("imageName", "a string", other.type_name(), given),
        }
    }

    fn gpus(&mut self) -> Vec<String> {
        let Some((given, value)) = self.label("gpus") else { return Vec::new() };
        let Value::List(kinds) = value else {
            return self.mistyped("gpus", "a list", value.type_name(), given).unwrap_or_default();
        };
        let mut labels = Vec::new();
        for kind in kinds {
            match kind {
                Value::Text(label) | Value::OfSdk(label) => labels.push(label),
                other => {
                    let problem = Diagnostic::error(
                        format!("{other} is not a valid GpuGroup or GpuType"),
                        "gpus takes a member of GpuGroup or GpuType, or its value",
                        format!("{}(..., gpus=[GpuGroup.ANY])", self.class),
                    );
                    self.refuse(problem, given.start());
                }
            }
        }
        labels
    }

    fn gpu_count(&mut self) -> Option<u32> {
        self.label("gpuCount")?;
        self.count("gpuCount", ("GPUs", "it is a label here", 1))
    }

    /// A field that is a number of things: what they are, why one says so, and how many to suggest.
    fn count(&mut self, name: &str, (things, why, example): (&str, &str, u32)) -> Option<u32> {
        let (given, value) = self.given(name)?;
        let got = match value {
            Value::Whole(number) => match u32::try_from(number) {
                Ok(number) => return Some(number),
                Err(_) if number < 0 => {
                    // As the SDK says it; what has a range of its own is told of that.
                    let (limits, unit) = match name {
                        "idleTimeout" => ("between 1 and 3600".to_owned(), " seconds"),
                        "max_concurrency" => (format!("between 1 and {MOST_CONCURRENCY}"), ""),
                        _ => ("0 or more".to_owned(), ""),
                    };
                    let what = format!("{name} must be {limits}{unit}");
                    let remedy = format!("choose a value that is {limits}");
                    self.refuse(Diagnostic::error(what, format!("{name} is {number}"), remedy), given.start());
                    return None;
                }
                Err(_) => number.to_string(),
            },
            other => other.to_string(),
        };
        let remedy = format!("{}(..., {name}={example})", self.class);
        self.refuse(Diagnostic::error(format!("{name} is a number of {things}. Got: {got}"), why, remedy), given.start());
        None
    }

    /// A field that is True or False, and False where it is not given.
    fn flag(&mut self, name: &str) -> bool {
        let Some((given, value)) = self.given(name) else { return false };
        if let Value::Bool(flag) = value {
            return flag;
        }
        let problem = Diagnostic::error(
            format!("{name} is True or False. Got: {value}"),
            "it says whether a request is cancelled when its caller leaves",
            format!("{}(..., {name}=True)", self.class),
        );
        self.refuse(problem, given.start());
        false
    }

    /// A field and its value, where it is given and not None. A value that cannot be told is refused.
    fn given(&mut self, name: &str) -> Option<(&'d Expression, Value)> {
        self.known(name, |fields, why| fields.errors.push(why.about(name)))
    }

    /// The same for what changes nothing here: a value that cannot be told is not recorded.
    fn label(&mut self, name: &str) -> Option<(&'d Expression, Value)> {
        self.known(name, |fields, why| {
            let Diagnostic { what, location, excerpt, .. } = why.about(name);
            let problem = Diagnostic::warning(what, "it is a label, which is not recorded then", "write the value out, or leave it so");
            fields.warnings.push(Diagnostic { location, excerpt, ..problem });
        })
    }

    fn known(&mut self, name: &str, unresolved: impl FnOnce(&mut Self, Unresolved)) -> Option<(&'d Expression, Value)> {
        let given = self.field(name)?;
        match self.resolver.evaluate(given, self.place) {
            Ok(Value::None) => None,
            Ok(value) => Some((given, value)),
            Err(Stop::Unresolved(why)) => {
                unresolved(self, why);
                None
            }
            Err(Stop::Reported) => {
                let snippet = self.place.module.source.snippet(given);
                let problem = Diagnostic::error(
                    format!("{name} depends on a wrong endpoint: `{snippet}`"),
                    "its value is not known",
                    "mend that first",
                );
                self.refuse(problem, given.start());
                None
            }
        }
    }

    fn mistyped<T>(&mut self, name: &str, wanted: &str, got: &str, given: &Expression) -> Option<T> {
        let problem = Diagnostic::error(
            format!("{name} must be {wanted}. Got: {got}"),
            format!("{got} does not stand for {wanted}"),
            format!("give {name} as {wanted}"),
        );
        self.refuse(problem, given.start());
        None
    }

    fn refuse(&mut self, problem: Diagnostic, at: TextSize) {
        let problem = self.point(problem, at);
        self.errors.push(problem);
    }

    fn point(&self, problem: Diagnostic, at: TextSize) -> Diagnostic {
        self.place.module.source.point(problem, at)
    }

    fn field(&self, name: &str) -> Option<&'d Expression> {
        self.call.named.iter().find(|(own, _)| own.as_deref() == Some(name)).map(|(_, value)| value)
    }
}

fn positive(number: &u32) -> bool {
    *number > 0
}
