//! Evaluates expressions without running anything: literals, constants, sums and f-strings of them, names imported from the project's own
//! files, and the SDK's names.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use flash_manifest::{Diagnostic, ResourceClass};
use ruff_text_size::{TextRange, TextSize};

use crate::exports::EXPORTS;
use crate::library::{Found, Library, PythonModule};
use crate::syntax::{Binding, Expression, Form, Frame, Item, Meaning, Origin, Piece};
use crate::value::{Cause, Package, Resource, ResourceKey, Stop, Unresolved, Value};

/// How many names may stand behind a name, one behind the other.
const MOST_HOPS: usize = 40;

/// How many expressions are evaluated for one answer: enough for any list of packages, and an end to `a + a` of `b + b` of ...
const MOST_STEPS: usize = 20_000;

/// The longest text that a declaration needs.
const LONGEST_TEXT: usize = 64 * 1024;

/// The enums that the SDK exports.
const ENUMS: [&str; 7] = ["CpuInstanceType", "CudaVersion", "DataCenter", "GpuGroup", "GpuType", "ServerlessScalerType", "ServerlessType"];

/// Whether a statement runs when its module is imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runs {
    Always,
    Never,
    /// The running program decides.
    Perhaps,
}

/// The project's modules, and what became of its declarations.
#[derive(Debug)]
pub(crate) struct Resolver {
    pub(crate) library: Library,
    /// None for a declaration that is wrong.
    pub(crate) resources: HashMap<ResourceKey, Option<Arc<Resource>>>,
    pub(crate) errors: Vec<Diagnostic>,
    pub(crate) warnings: Vec<Diagnostic>,
    steps: usize,
}

/// Where an expression stands: its module, how far into it names are bound, and how many names led there.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) module: Arc<PythonModule>,
    pub(crate) before: TextSize,
    hops: usize,
}

impl Place {
    /// A place in a module.
    pub(crate) fn new(module: &Arc<PythonModule>, before: TextSize) -> Self {
        Self { module: module.clone(), before, hops: 0 }
    }

    fn next(&self, module: &Arc<PythonModule>, before: TextSize) -> Self {
        Self { module: module.clone(), before, hops: self.hops + 1 }
    }

    fn asks(&self, range: TextRange) -> Asked {
        Asked { module: self.module.clone(), range }
    }

    fn unresolved(&self, range: TextRange, reason: impl Into<String>, remedy: impl Into<String>) -> Stop {
        self.asks(range).unresolved(reason, remedy)
    }
}

/// The expression that asks for a name: where a failure is reported, though the name may be another module's.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    module: Arc<PythonModule>,
    range: TextRange,
}

impl Asked {
    fn unresolved(&self, reason: impl Into<String>, remedy: impl Into<String>) -> Stop {
        let cause = Cause::Told { reason: reason.into(), remedy: remedy.into() };
        Stop::Unresolved(Unresolved { module: self.module.clone(), range: self.range, cause })
    }

    fn foreign(&self, module: &str) -> Stop {
        let reason = format!("it comes from `{module}`, which is none of the project's own files, and nothing is imported to look");
        self.unresolved(reason, WRITE_IT_OUT)
    }
}

const WRITE_IT_OUT: &str = "write the value out, or give it a name at module level: NAME = \"...\"";

impl Resolver {
    pub(crate) fn new(library: Library) -> Self {
        Self { library, resources: HashMap::new(), errors: Vec::new(), warnings: Vec::new(), steps: 0 }
    }

    /// The value of an expression at a place.
    pub(crate) fn value(&mut self, expression: &Expression, place: &Place) -> Result<Value, Stop> {
        self.steps = 0;
        self.evaluate(expression, place)
    }

    /// Whether a statement within these frames runs.
    pub(crate) fn runs(&mut self, frames: &[Frame], place: &Place) -> Runs {
        let mut runs = Runs::Always;
        for frame in frames {
            match frame {
                Frame::When { test, holds } => match self.evaluate(test, place).ok().and_then(|value| value.truth()) {
                    Some(truth) if truth == *holds => {}
                    Some(_) => return Runs::Never,
                    None => runs = Runs::Perhaps,
                },
                // A fallback for what a `try` did not bring: the `try` is taken at its word.
                Frame::Handler => return Runs::Never,
                Frame::Perhaps => runs = Runs::Perhaps,
                Frame::Function(_) | Frame::Class(_) => {}
            }
        }
        runs
    }

    pub(crate) fn evaluate(&mut self, expression: &Expression, place: &Place) -> Result<Value, Stop> {
        self.steps += 1;
        if self.steps > MOST_STEPS || place.hops > MOST_HOPS {
            return Err(place.unresolved(expression.range, "it leads from name to name without end", WRITE_IT_OUT));
        }
        match &expression.form {
            Form::None => Ok(Value::None),
            Form::Bool(value) => Ok(Value::Bool(*value)),
            Form::Whole(number) => Ok(Value::Whole(*number)),
            Form::Text(text) => Ok(Value::Text(text.clone())),
            Form::Name(name) => self.look_up(name, place, &place.asks(expression.range)),
            Form::Attribute(object, name) => self.attribute(object, name, place, expression.range),
            Form::List(items) => self.list(items, place).map(Value::List),
            Form::Dict(items) => self.dict(items, place).map(Value::Dict),
            Form::Format(pieces) => self.format(pieces, place, expression.range),
            Form::Add(left, right) => self.add(left, right, place, expression.range),
            Form::Not(operand) => match self.evaluate(operand, place)?.truth() {
                Some(truth) => Ok(Value::Bool(!truth)),
                None => Err(place.unresolved(expression.range, "whether it is true is not known", WRITE_IT_OUT)),
            },
            Form::Compare { left, right, equal } => {
                let same = self.evaluate(left, place)? == self.evaluate(right, place)?;
                Ok(Value::Bool(same == *equal))
            }
            Form::Choice { test, then, otherwise } => match self.evaluate(test, place)?.truth() {
                Some(true) => self.evaluate(then, place),
                Some(false) => self.evaluate(otherwise, place),
                None => Err(place.unresolved(test.range, "whether it is true is not known", WRITE_IT_OUT)),
            },
            Form::Call(call) => match self.evaluate(&call.function, place) {
                Ok(Value::OfSdk(name)) if let Some(class) = ResourceClass::named(&name) => {
                    self.resource(class, call, place).map(Value::Resource)
                }
                Ok(_) | Err(Stop::Unresolved(_)) => Err(self.running(expression, place)),
                Err(Stop::Reported) => Err(Stop::Reported),
            },
            Form::Other => Err(self.running(expression, place)),
        }
    }

    /// What to say of an expression that takes the running program.
    fn running(&self, expression: &Expression, place: &Place) -> Stop {
        let text = place.module.source.snippet(expression);
        if text.contains("environ") || text.contains("getenv") {
            return place.unresolved(
                expression.range,
                "the environment is not the same where the program is built and where it runs",
                "write the value out; what differs from one environment to the next belongs into flash.toml",
            );
        }
        place.unresolved(expression.range, "its value is known only when the program runs, and it is read without being run", WRITE_IT_OUT)
    }

    /// What a name means at a place: its last binding before it that runs, or what all the possible ones agree on.
    fn look_up(&mut self, name: &str, place: &Place, asked: &Asked) -> Result<Value, Stop> {
        let module = place.module.clone();
        let mut possible: Vec<&Binding> = Vec::new();
        for binding in module.contents.bindings.get(name).into_iter().flatten().rev() {
            if binding.at >= place.before {
                continue;
            }
            match self.runs(&binding.frames, &place.next(&module, binding.at)) {
                Runs::Never => {}
                Runs::Perhaps => possible.push(binding),
                Runs::Always => {
                    possible.push(binding);
                    break;
                }
            }
        }
        let Some((last, others)) = possible.split_first() else { return self.unbound(name, place, asked) };
        let value = self.meaning(name, last, place, asked)?;
        for other in others {
            if self.meaning(name, other, place, asked)? != value {
                let line = |binding: &&Binding| module.source.location(binding.at).to_string();
                let lines: Vec<String> = possible.iter().rev().map(line).collect();
                return Err(asked.unresolved(
                    format!("`{name}` is one thing or another, set at {}", lines.join(" and ")),
                    "set it once; FLASH_TARGET decides at each start whether calls go to a deployment or run live",
                ));
            }
        }
        Ok(value)
    }

    /// A name that the module itself does not bind.
    fn unbound(&mut self, name: &str, place: &Place, asked: &Asked) -> Result<Value, Stop> {
        let module = place.module.clone();
        if name == "__name__" {
            return Ok(Value::Text(self.library.named(&module).name.clone()));
        }
        for star in module.contents.stars.iter().rev().filter(|star| star.at < place.before) {
            // It brings what the SDK exports, and hides nothing else.
            if !EXPORTS.contains(&name) && self.library.find(&module, &star.from) == Found::Sdk {
                continue;
            }
            match self.member(&star.from, name, &place.next(&module, star.at), asked) {
                Ok(value) => return Ok(value),
                Err(Stop::Reported) => return Err(Stop::Reported),
                Err(Stop::Unresolved(_)) => {}
            }
        }
        Err(Stop::Unresolved(Unresolved {
            module: asked.module.clone(),
            range: asked.range,
            cause: Cause::Unbound { name: name.to_owned(), module },
        }))
    }

    fn meaning(&mut self, name: &str, binding: &Binding, place: &Place, asked: &Asked) -> Result<Value, Stop> {
        let place = place.next(&place.module, binding.at);
        match &binding.meaning {
            Meaning::Value(value) => self.evaluate(value, &place),
            Meaning::Definition => Ok(Value::Definition(name.to_owned())),
            Meaning::Import { module, whole } => {
                let first = module.split('.').next().unwrap_or_default();
                let module = if *whole { module.as_str() } else { first };
                match self.library.find(&place.module, &Origin { level: 0, module: module.to_owned() }) {
                    Found::Sdk => Ok(Value::Sdk),
                    Found::Project { package, .. } => Ok(Value::Package(package)),
                    Found::Elsewhere => Err(asked.foreign(module)),
                }
            }
            Meaning::ImportFrom { from, name } => self.member(from, name, &place, asked),
            Meaning::Changed => {
                let at = place.module.source.location(binding.at);
                Err(asked.unresolved(format!("`{name}` is changed at {at}, by what the program does there"), WRITE_IT_OUT))
            }
        }
    }

    /// What `from origin import name` brings.
    fn member(&mut self, origin: &Origin, name: &str, place: &Place, asked: &Asked) -> Result<Value, Stop> {
        if place.hops > MOST_HOPS {
            return Err(asked.unresolved(format!("`{name}` is imported in a circle"), WRITE_IT_OUT));
        }
        match self.library.find(&place.module, origin) {
            Found::Sdk => Ok(Value::OfSdk(name.to_owned())),
            Found::Project { package, .. } => self.member_of(&package, name, place, asked),
            Found::Elsewhere if name == "TYPE_CHECKING" => Ok(Value::Bool(false)),
            Found::Elsewhere => {
                let dots = ".".repeat(usize::try_from(origin.level).unwrap_or_default());
                Err(asked.foreign(&format!("{dots}{}", origin.module)))
            }
        }
    }

    fn member_of(&mut self, package: &Package, name: &str, place: &Place, asked: &Asked) -> Result<Value, Stop> {
        let module = match &package.file {
            Some(file) => {
                let reason = || format!("it is imported from `{}`, which cannot be read as Python", file.display());
                Some(self.library.load(file).ok_or_else(|| asked.unresolved(reason(), "mend that file"))?)
            }
            None => None,
        };
        let bound = module.as_ref().is_some_and(|module| module.contents.bindings.contains_key(name));
        match (module, package.submodule(name)) {
            (_, Some(submodule)) if !bound => Ok(Value::Package(submodule)),
            // Names are read as they are at the end of the other module, which is when its import ends.
            (Some(module), _) => self.look_up(name, &place.next(&module, TextSize::from(u32::MAX)), asked),
            (None, _) => Err(asked.foreign(name)),
        }
    }

    fn attribute(&mut self, object: &Expression, name: &str, place: &Place, range: TextRange) -> Result<Value, Stop> {
        match self.evaluate(object, place) {
            Ok(Value::Sdk) => Ok(Value::OfSdk(name.to_owned())),
            Ok(Value::OfSdk(of)) if ENUMS.contains(&of.as_str()) => Ok(Value::OfSdk(format!("{of}.{name}"))),
            Ok(Value::Package(package)) => self.member_of(&package, name, &place.next(&place.module, place.before), &place.asks(range)),
            Ok(Value::Resource(resource)) if name == "name" => Ok(Value::Text(resource.endpoint.name.to_string())),
            Ok(_) => Err(place.unresolved(range, "attributes of objects are known only when the program runs", WRITE_IT_OUT)),
            Err(Stop::Unresolved(_)) if name == "TYPE_CHECKING" => Ok(Value::Bool(false)),
            Err(stop) => Err(stop),
        }
    }

    fn list(&mut self, items: &[Item], place: &Place) -> Result<Vec<Value>, Stop> {
        let mut values = Vec::new();
        for item in items {
            match item {
                Item::One(one) => values.push(self.evaluate(one, place)?),
                Item::All(rest) => match self.evaluate(rest, place)? {
                    Value::List(rest) => values.extend(rest),
                    _ => return Err(place.unresolved(rest.range, "it is not known to be a list", WRITE_IT_OUT)),
                },
            }
        }
        Ok(values)
    }

    fn dict(&mut self, items: &[(Option<Expression>, Expression)], place: &Place) -> Result<BTreeMap<String, Value>, Stop> {
        let mut values = BTreeMap::new();
        for (key, value) in items {
            match (key, self.evaluate(value, place)?) {
                (None, Value::Dict(rest)) => values.extend(rest),
                (None, _) => return Err(place.unresolved(value.range, "it is not known to be a dict", WRITE_IT_OUT)),
                (Some(key), known) => match self.evaluate(key, place)? {
                    Value::Text(key) => drop(values.insert(key, known)),
                    _ => return Err(place.unresolved(key.range, "its keys are no texts", WRITE_IT_OUT)),
                },
            }
        }
        Ok(values)
    }

    fn format(&mut self, pieces: &[Piece], place: &Place, range: TextRange) -> Result<Value, Stop> {
        let mut text = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(literal) => text.push_str(literal),
                Piece::Value(value) => match self.evaluate(value, place)? {
                    Value::Text(value) => text.push_str(&value),
                    value @ (Value::None | Value::Bool(_) | Value::Whole(_)) => text.push_str(&value.to_string()),
                    _ => return Err(place.unresolved(value.range, "how it is shown is known only when the program runs", WRITE_IT_OUT)),
                },
            }
        }
        bounded(text, place, range)
    }

    fn add(&mut self, left: &Expression, right: &Expression, place: &Place, range: TextRange) -> Result<Value, Stop> {
        match (self.evaluate(left, place)?, self.evaluate(right, place)?) {
            (Value::Text(left), Value::Text(right)) => bounded(left + &right, place, range),
            (Value::List(left), Value::List(right)) => Ok(Value::List([left, right].concat())),
            (Value::Whole(left), Value::Whole(right)) if let Some(sum) = left.checked_add(right) => Ok(Value::Whole(sum)),
            _ => Err(place.unresolved(range, "the sum is neither of two texts, two numbers nor two lists", WRITE_IT_OUT)),
        }
    }
}

fn bounded(text: String, place: &Place, range: TextRange) -> Result<Value, Stop> {
    if text.len() > LONGEST_TEXT {
        return Err(place.unresolved(range, format!("it has more than {LONGEST_TEXT} bytes"), WRITE_IT_OUT));
    }
    Ok(Value::Text(text))
}
