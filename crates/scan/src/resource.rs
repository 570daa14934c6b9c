//! Endpoints as they are declared: `LiveLoadBalancer(name="my-api", workersMax=3)`.

use std::sync::Arc;
use std::time::Duration;

use flash_manifest::{Diagnostic, EndpointName, ResourceClass, Workers};
use ruff_text_size::Ranged;

use crate::resolve::{Place, Resolver};
use crate::syntax::{Call, Expression};
use crate::value::{Resource, Stop, Value};

impl Resolver {
    /// The endpoint that a call declares. What is wrong with it is reported the first time it is asked for.
    pub(crate) fn resource(&mut self, class: ResourceClass, call: &Call, place: &Place) -> Result<Arc<Resource>, Stop> {
        let key = (place.module.source.file.clone(), call.range.start());
        if let Some(known) = self.resources.get(&key) {
            return known.clone().ok_or(Stop::Reported);
        }
        let name = self.name(class, call, place);
        let workers = self.workers(class, call, place);
        let timeout = self.timeout(class, call, place);
        let cancel = self.flag(class, call, "cancel_on_disconnect", place);
        let mut keep = |problem| self.errors.push(problem);
        let (name, workers) = (name.map_err(&mut keep), workers.map_err(&mut keep));
        let (timeout, cancel) = (timeout.map_err(&mut keep), cancel.map_err(&mut keep));
        let resource = match (name, workers, timeout, cancel) {
            (Ok(name), Ok(workers), Ok(timeout), Ok(cancel_on_disconnect)) => {
                let location = place.module.source.location(call.range.start());
                Some(Arc::new(Resource { name, class, workers, timeout, cancel_on_disconnect, key: key.clone(), location }))
            }
            _ => None,
        };
        self.resources.insert(key, resource.clone());
        resource.ok_or(Stop::Reported)
    }

    fn name(&mut self, class: ResourceClass, call: &Call, place: &Place) -> Result<EndpointName, Diagnostic> {
        let source = &place.module.source;
        let Some(given) = field(call, "name") else {
            let why = if call.positional.is_empty() {
                "the name is the endpoint's address"
            } else {
                "the name is the endpoint's address, and fields are given by name"
            };
            let problem = Diagnostic::error(format!("{class} has no name"), why, format!("{class}(name='my-api')"));
            return Err(source.point(problem, call.range.start()));
        };
        match self.evaluate(given, place) {
            Ok(Value::Text(name)) => name.parse().map_err(|problem| source.point(problem, given.start())),
            Ok(other) => {
                let problem = Diagnostic::error(
                    format!("the name of an endpoint is a text. Got: {other}"),
                    "the name is the endpoint's address",
                    format!("{class}(name='my-api')"),
                );
                Err(source.point(problem, given.start()))
            }
            Err(Stop::Unresolved(why)) => Err(why.about("the endpoint's name")),
            // An endpoint's name that is made from another endpoint's, which is wrong.
            Err(Stop::Reported) => Err(source.point(
                Diagnostic::error("the endpoint's name depends on a wrong one", "its value is not known", "mend that first"),
                given.start(),
            )),
        }
    }

    fn workers(&mut self, class: ResourceClass, call: &Call, place: &Place) -> Result<Workers, Diagnostic> {
        let default = Workers::default();
        let mut count = |name, default| {
            let given = self.count(class, call, name, ("workers", "so many workers are kept, or allowed", 1), place)?;
            Ok(given.unwrap_or(default))
        };
        let (least, most) = (count("workersMin", default.least())?, count("workersMax", default.most())?);
        Workers::new(least, most).map_err(|problem| place.module.source.point(problem, call.range.start()))
    }

    /// `executionTimeoutMs`, where 0 stands for none.
    fn timeout(&mut self, class: ResourceClass, call: &Call, place: &Place) -> Result<Option<Duration>, Diagnostic> {
        let milliseconds = ("milliseconds", "a function that takes longer is given up", 30_000);
        let given = self.count(class, call, "executionTimeoutMs", milliseconds, place)?;
        Ok(given.filter(|milliseconds| *milliseconds > 0).map(|milliseconds| Duration::from_millis(milliseconds.into())))
    }

    /// A field that is a number of things: what they are, why one says so, and how many to suggest.
    fn count(
        &mut self,
        class: ResourceClass,
        call: &Call,
        name: &str,
        (things, why, example): (&str, &str, u32),
        place: &Place,
    ) -> Result<Option<u32>, Diagnostic> {
        let Some(given) = field(call, name) else { return Ok(None) };
        let wrong = |got: String| {
            let problem =
                Diagnostic::error(format!("{name} is a number of {things}. Got: {got}"), why, format!("{class}(..., {name}={example})"));
            place.module.source.point(problem, given.start())
        };
        match self.evaluate(given, place) {
            Ok(Value::None) => Ok(None),
            Ok(Value::Whole(number)) => u32::try_from(number).map(Some).map_err(|_| wrong(number.to_string())),
            Ok(other) => Err(wrong(other.to_string())),
            Err(Stop::Unresolved(why)) => Err(why.about(name)),
            Err(Stop::Reported) => Err(wrong(place.module.source.snippet(given))),
        }
    }

    /// A field that is True or False, and False where it is not given.
    fn flag(&mut self, class: ResourceClass, call: &Call, name: &str, place: &Place) -> Result<bool, Diagnostic> {
        let Some(given) = field(call, name) else { return Ok(false) };
        let wrong = |got: String| {
            let problem = Diagnostic::error(
                format!("{name} is True or False. Got: {got}"),
                "it says whether a request is cancelled when its caller leaves",
                format!("{class}(..., {name}=True)"),
            );
            place.module.source.point(problem, given.start())
        };
        match self.evaluate(given, place) {
            Ok(Value::None) => Ok(false),
            Ok(Value::Bool(flag)) => Ok(flag),
            Ok(other) => Err(wrong(other.to_string())),
            Err(Stop::Unresolved(why)) => Err(why.about(name)),
            Err(Stop::Reported) => Err(wrong(place.module.source.snippet(given))),
        }
    }
}

fn field<'call>(call: &'call Call, name: &str) -> Option<&'call Expression> {
    call.named.iter().find(|(own, _)| own.as_deref() == Some(name)).map(|(_, value)| value)
}
