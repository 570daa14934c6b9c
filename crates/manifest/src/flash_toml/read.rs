//! From the text to values: each problem with its line, all of them in one go.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{FlashToml, Given, Labelled, Layer, Section, scaler_of};
use crate::quantity::{mebibytes, milliseconds, whole};
use crate::text::shown;
use crate::{Diagnostic, EndpointName, EnvironmentName, Kind, Location, MOST_CONCURRENCY, Overrides, Rollout, SettingKey, nearest};

const ROOT: [&str; 4] = ["app", "server", "endpoints", "environments"];
const OF_ENVIRONMENT: [&str; 2] = ["server", "endpoints"];
const SCALER: [&str; 2] = ["type", "value"];

impl FlashToml {
    /// Reads a file's text; `file` is what messages call it. Errs with everything that is wrong.
    pub fn read(text: &str, file: &Path) -> Result<Self, Vec<Diagnostic>> {
        let mut reader = Reader { text, file: file.into(), problems: Vec::new() };
        let (table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            // What the parser made of the rest may be guessed.
            for error in errors {
                let what = format!("`{}` is not as it should be: {}", file.display(), error.message().replace('\n', ", "));
                let problem = Diagnostic::error(what, "settings are written in TOML", "mend the line");
                reader.tell(problem, error.span().map_or(0, |span| span.start));
            }
            return Err(reader.problems);
        }
        let settings = reader.root(table.get_ref());
        reader.problems.sort_by_key(|problem| problem.location.as_ref().map(|location| location.line));
        if reader.problems.is_empty() { Ok(settings) } else { Err(reader.problems) }
    }
}

struct Reader<'t> {
    text: &'t str,
    file: Arc<Path>,
    problems: Vec<Diagnostic>,
}

type Key<'i> = Spanned<std::borrow::Cow<'i, str>>;
type Value<'i> = Spanned<DeValue<'i>>;

impl Reader<'_> {
    fn root(&mut self, table: &DeTable<'_>) -> FlashToml {
        let mut settings = FlashToml::default();
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "app" => settings.app = self.parsed("app", value),
                "server" => settings.common.server = self.parsed("server", value),
                "endpoints" => settings.common.endpoints = self.endpoints("endpoints", value),
                "environments" => settings.environments = self.environments(value),
                _ => self.unknown(key, "flash.toml", &ROOT),
            }
        }
        settings
    }

    fn environments(&mut self, value: &Value<'_>) -> BTreeMap<EnvironmentName, Layer> {
        let mut environments = BTreeMap::new();
        let Some(table) = self.table("environments", value) else { return environments };
        for (key, value) in table {
            let name = key.get_ref().parse::<EnvironmentName>().map_err(|problem| self.tell(problem, key.span().start));
            let path = format!("environments.{}", quoted(key.get_ref()));
            let Some(table) = self.table(&path, value) else { continue };
            let mut layer = Layer::default();
            for (key, value) in table {
                match key.get_ref().as_ref() {
                    "server" => layer.server = self.parsed("server", value),
                    "endpoints" => layer.endpoints = self.endpoints(&format!("{path}.endpoints"), value),
                    _ => self.unknown(key, &format!("[{path}]"), &OF_ENVIRONMENT),
                }
            }
            environments.extend(name.map(|name| (name, layer)));
        }
        environments
    }

    fn endpoints(&mut self, path: &str, value: &Value<'_>) -> BTreeMap<String, Section> {
        let mut endpoints = BTreeMap::new();
        let Some(table) = self.table(path, value) else { return endpoints };
        for (key, value) in table {
            if let Err(problem) = key.get_ref().parse::<EndpointName>() {
                self.tell(problem, key.span().start);
                continue;
            }
            let path = format!("{path}.{}", quoted(key.get_ref()));
            if let Some(table) = self.table(&path, value) {
                let section = self.section(&path, key, table);
                endpoints.insert(key.get_ref().to_string(), section);
            }
        }
        endpoints
    }

    fn section(&mut self, path: &str, name: &Key<'_>, table: &DeTable<'_>) -> Section {
        let header = self.location(name.span().start);
        let mut section = Section {
            overrides: Overrides::default(),
            excerpt: self.line(name.span().start).to_owned(),
            header,
            keys: BTreeMap::new(),
            variables: BTreeMap::new(),
            scaler: None,
        };
        let mut places = BTreeMap::new();
        for (key, value) in table {
            let Some(known) = SettingKey::named(key.get_ref()) else {
                self.unknown_setting(key, value, path);
                continue;
            };
            places.insert(known, key.span().start);
            section.keys.insert(known, self.location(key.span().start));
            self.setting(known, value, &mut section);
        }
        for (key, problem) in section.overrides.check() {
            let at = places.get(&key).copied().unwrap_or(name.span().start);
            self.tell(problem, at);
        }
        section
    }

    fn setting(&mut self, key: SettingKey, value: &Value<'_>, section: &mut Section) {
        let set = &mut section.overrides;
        match key {
            SettingKey::Workers => set.workers = self.workers(value),
            SettingKey::Timeout => set.timeout_ms = self.time(key, value).and_then(|time| self.small(key, value, time)),
            SettingKey::IdleTimeout => set.idle_timeout_s = self.time(key, value).and_then(|time| self.seconds(value, time)),
            SettingKey::MaxConcurrency => {
                set.max_concurrency = self.number(key, value).and_then(|number| {
                    let what = format!("max_concurrency must be between 1 and {MOST_CONCURRENCY}. Got: {number}");
                    let problem = || Diagnostic::error(what, "a worker has that many slots", key.example());
                    u16::try_from(number).map_err(|_| self.tell(problem(), value.span().start)).ok()
                });
            }
            SettingKey::Scaler => (set.scaler_value, section.scaler) = self.scaler(value),
            SettingKey::Gpu => set.gpu = self.number(key, value),
            SettingKey::Cpu => set.cpu = self.number(key, value),
            SettingKey::Memory => set.memory_mib = self.memory(value),
            SettingKey::Image => set.image = self.text(key, value),
            SettingKey::Env => {
                let variables = self.variables(value);
                section.variables = variables.iter().map(|(name, (_, at))| (name.clone(), self.location(*at))).collect();
                set.env = variables.into_iter().map(|(name, (value, _))| (name, value)).collect();
            }
            SettingKey::Public => match value.get_ref() {
                DeValue::Boolean(public) => set.public = Some(*public),
                _ => self.mistyped(key.as_str(), "true or false", value, key.example()),
            },
            SettingKey::Rollout => set.rollout = self.rollout(value),
        }
    }

    fn rollout(&mut self, value: &Value<'_>) -> Option<Rollout> {
        let known = Rollout::ALL.into_iter().find(|known| value.get_ref().as_str() == Some(known.as_str()));
        if known.is_none() {
            self.mistyped("rollout", "\"beside\" or \"replace\"", value, SettingKey::Rollout.example());
        }
        known
    }

    fn workers(&mut self, value: &Value<'_>) -> Option<[u32; 2]> {
        if let Some(most) = as_number(value) {
            return Some([0, most]);
        }
        let DeValue::Array(list) = value.get_ref() else {
            self.mistyped("workers", "a whole number, or a list of two: at least, and at most", value, "workers = 3, or workers = [0, 3]");
            return None;
        };
        let counts: Option<Vec<u32>> = list.iter().map(as_number).collect();
        let Some(&[least, most]) = counts.as_deref() else {
            let problem = Diagnostic::error(
                "workers must be a whole number, or a list of two: at least, and at most",
                "that many workers are kept, and that many allowed",
                "workers = 3, or workers = [0, 3]",
            );
            self.tell(problem, value.span().start);
            return None;
        };
        Some([least, most])
    }

    /// A span of time in milliseconds: a text with a unit, or a number of seconds.
    fn time(&mut self, key: SettingKey, value: &Value<'_>) -> Option<u64> {
        let wanted = "a time, as \"60s\", \"5m\" or a number of seconds";
        let found = match value.get_ref() {
            DeValue::String(text) => milliseconds(text),
            DeValue::Integer(_) => as_whole(value).and_then(|seconds| seconds.checked_mul(1000)).ok_or("it is no span of time"),
            DeValue::Float(number) => {
                number.as_str().parse::<f64>().ok().and_then(|seconds| whole((seconds * 1000.0).round())).ok_or("it is no span of time")
            }
            _ => {
                self.mistyped(key.as_str(), wanted, value, key.example());
                return None;
            }
        };
        found
            .map_err(|why| {
                let what = format!("{key} must be {wanted}. Got: {}", got(value));
                self.tell(Diagnostic::error(what, why, key.example()), value.span().start);
            })
            .ok()
    }

    fn seconds(&mut self, value: &Value<'_>, milliseconds: u64) -> Option<u32> {
        if !milliseconds.is_multiple_of(1000) {
            let what = format!("idle_timeout must be whole seconds. Got: {}", got(value));
            let problem = Diagnostic::error(what, "idle workers are looked for by the second", SettingKey::IdleTimeout.example());
            self.tell(problem, value.span().start);
            return None;
        }
        self.small(SettingKey::IdleTimeout, value, milliseconds / 1000)
    }

    fn memory(&mut self, value: &Value<'_>) -> Option<u32> {
        let DeValue::String(text) = value.get_ref() else {
            self.mistyped("memory", "a text with a unit, as \"512MiB\"", value, SettingKey::Memory.example());
            return None;
        };
        match mebibytes(text) {
            Ok(memory) => self.small(SettingKey::Memory, value, memory),
            Err(why) => {
                let what = format!("memory must be a text with a unit, as \"512MiB\". Got: {}", got(value));
                self.tell(Diagnostic::error(what, why, SettingKey::Memory.example()), value.span().start);
                None
            }
        }
    }

    fn scaler(&mut self, value: &Value<'_>) -> (Option<u32>, Option<Labelled>) {
        let DeValue::Table(table) = value.get_ref() else {
            self.mistyped("scaler", "a table", value, SettingKey::Scaler.example());
            return (None, None);
        };
        let (mut steered_by, mut labelled) = (None, None);
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "type" => labelled = self.scaler_type(value),
                "value" => steered_by = self.number(SettingKey::Scaler, value),
                _ => self.unknown(key, "scaler", &SCALER),
            }
        }
        (steered_by, labelled)
    }

    /// The type changes nothing: endpoints of each kind can have but one.
    fn scaler_type(&mut self, value: &Value<'_>) -> Option<Labelled> {
        let DeValue::String(given) = value.get_ref() else {
            self.mistyped("the scaler's type", "a text", value, SettingKey::Scaler.example());
            return None;
        };
        let kinds = [Kind::LoadBalanced, Kind::QueueBased];
        let at = value.span().start;
        if let Some(kind) = kinds.into_iter().find(|kind| scaler_of(*kind) == given) {
            return Some(Labelled { kind, location: self.location(at), excerpt: self.line(at).to_owned() });
        }
        let names = kinds.map(scaler_of);
        let problem = Diagnostic::error(
            format!("there is no scaler `{}`{}", shown(given), did_you_mean(given, &names)),
            "the scaler says what one more worker is started for",
            format!("write {}, or leave the type out", names.join(" for routes, ") + " for a queue"),
        );
        self.tell(problem, at);
        None
    }

    /// Variables, each with its place.
    fn variables(&mut self, value: &Value<'_>) -> BTreeMap<String, (String, usize)> {
        let mut variables = BTreeMap::new();
        let DeValue::Table(table) = value.get_ref() else {
            self.mistyped("env", "a table of texts", value, SettingKey::Env.example());
            return variables;
        };
        for (key, value) in table {
            let name = key.get_ref();
            match value.get_ref() {
                DeValue::String(text) => {
                    variables.insert(name.to_string(), (text.to_string(), key.span().start));
                }
                // The value may be a secret, and is not shown.
                other => {
                    let what = format!("env.{} must be a text. Got: {}", quoted(name), kind(other));
                    let remedy = format!("write it in quotes: {} = \"...\"", quoted(name));
                    self.tell(Diagnostic::error(what, "variables of an environment are texts", remedy), key.span().start);
                }
            }
        }
        variables
    }

    fn number(&mut self, key: SettingKey, value: &Value<'_>) -> Option<u32> {
        let number = as_number(value);
        if number.is_none() {
            let name = if key == SettingKey::Scaler { "the scaler's value" } else { key.as_str() };
            let wanted = match key {
                SettingKey::Gpu => "a whole number, 0 or more",
                SettingKey::MaxConcurrency => "a whole number from 1 to 128",
                _ => "a whole number, 1 or more",
            };
            self.mistyped(name, wanted, value, key.example());
        }
        number
    }

    fn text(&mut self, key: SettingKey, value: &Value<'_>) -> Option<String> {
        let DeValue::String(text) = value.get_ref() else {
            self.mistyped(key.as_str(), "a text", value, key.example());
            return None;
        };
        Some(text.to_string())
    }

    /// A text that stands for something.
    fn parsed<T: FromStr<Err = Diagnostic>>(&mut self, name: &str, value: &Value<'_>) -> Option<Given<T>> {
        let DeValue::String(text) = value.get_ref() else {
            self.mistyped(name, "a text", value, &format!("{name} = \"...\""));
            return None;
        };
        let location = self.location(value.span().start);
        text.parse().map(|value| Given { value, location }).map_err(|problem| self.tell(problem, value.span().start)).ok()
    }

    fn table<'v, 'i>(&mut self, path: &str, value: &'v Value<'i>) -> Option<&'v DeTable<'i>> {
        let DeValue::Table(table) = value.get_ref() else {
            let wanted = if matches!(value.get_ref(), DeValue::Array(_)) { "one table, and no list of them" } else { "a table" };
            self.mistyped(path, wanted, value, &format!("[{path}]"));
            return None;
        };
        Some(table)
    }

    /// What is more than 32 bits hold is out of any bounds.
    fn small(&mut self, key: SettingKey, value: &Value<'_>, number: u64) -> Option<u32> {
        u32::try_from(number)
            .map_err(|_| {
                let what = format!("{key} is too large. Got: {}", got(value));
                self.tell(Diagnostic::error(what, "no machine has, and no request takes, as much", key.example()), value.span().start);
            })
            .ok()
    }

    fn unknown_setting(&mut self, key: &Key<'_>, value: &Value<'_>, path: &str) {
        let known = SettingKey::ALL.map(SettingKey::as_str);
        if let DeValue::Table(inner) = value.get_ref()
            && inner.keys().all(|key| SettingKey::named(key.get_ref()).is_some())
        {
            let name = format!("{}.{}", path.rsplit('.').next().unwrap_or_default().trim_matches('"'), key.get_ref());
            let what = format!("unknown key `{}` in [{path}]", shown(key.get_ref()));
            let problem =
                Diagnostic::error(what, "a dot begins another table", format!("write a name with a dot in quotes: \"{}\"", shown(&name)));
            return self.tell(problem, key.span().start);
        }
        self.unknown(key, &format!("[{path}]"), &known);
    }

    fn unknown(&mut self, key: &Key<'_>, place: &str, known: &[&str]) {
        let name = key.get_ref().as_ref();
        let near = nearest(name, known.iter().copied());
        let remedy = match near {
            Some(near) => format!("write `{near}`"),
            None if SettingKey::named(name).is_some() => "put it below [endpoints.NAME], the section of the endpoint that it is for".into(),
            None => format!("take it out; the keys are: {}", known.join(", ")),
        };
        let what = format!("unknown key `{}` in {place}{}", shown(name), did_you_mean(name, known));
        self.tell(Diagnostic::error(what, "nothing would ever read it", remedy), key.span().start);
    }

    fn mistyped(&mut self, name: &str, wanted: &str, value: &Value<'_>, example: &str) {
        let what = format!("{name} must be {wanted}. Got: {}", got(value));
        let why = format!("{} does not stand for that", kind(value.get_ref()));
        self.tell(Diagnostic::error(what, why, example), value.span().start);
    }

    fn tell(&mut self, problem: Diagnostic, at: usize) {
        let located = problem.at(self.location(at)).showing(self.line(at));
        self.problems.push(located);
    }

    fn location(&self, at: usize) -> Location {
        let line = u32::try_from(self.lines_before(at) + 1).unwrap_or(u32::MAX);
        Location { file: self.file.clone(), line }
    }

    fn line(&self, at: usize) -> &str {
        self.text.lines().nth(self.lines_before(at)).unwrap_or_default().trim()
    }

    fn lines_before(&self, at: usize) -> usize {
        self.text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count()
    }
}

fn as_number(value: &Value<'_>) -> Option<u32> {
    as_whole(value).and_then(|number| u32::try_from(number).ok())
}

fn as_whole(value: &Value<'_>) -> Option<u64> {
    match value.get_ref() {
        DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
        _ => None,
    }
}

/// A value as a message shows it: scalars as they are written, the others by their kind.
fn got(value: &Value<'_>) -> String {
    match value.get_ref() {
        DeValue::String(text) => format!("\"{}\"", shown(&text.chars().take(80).collect::<String>())),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(flag) => flag.to_string(),
        other => kind(other).to_owned(),
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn did_you_mean(word: &str, known: &[&str]) -> String {
    nearest(word, known.iter().copied()).map(|near| format!(" (Did you mean `{near}`?)")).unwrap_or_default()
}

/// A key as TOML has it.
fn quoted(key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|character| character.is_ascii_alphanumeric() || "-_".contains(character));
    if bare { key.to_owned() } else { format!("\"{}\"", shown(key)) }
}
