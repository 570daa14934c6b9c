//! What is set for an endpoint beside its code: by `flash.toml`, for one environment or for all.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Diagnostic, Workers, check_variable};

/// The most requests that may be in flight on one worker: it has that many slots.
pub const MOST_CONCURRENCY: u16 = 128;
/// How long a worker may be told to stay without work, in seconds, as the SDK has it.
pub const IDLE_TIMEOUT_S: RangeInclusive<u32> = 1..=3600;
/// The longest time that a request may be given: a day. Retired workers are given no more.
const LONGEST_TIMEOUT_MS: u32 = 24 * 60 * 60 * 1000;
/// What a worker takes before it has imported anything, and room for some of its own.
const LEAST_MEMORY_MIB: u32 = 64;
/// More than any image's name.
const LONGEST_IMAGE: usize = 512;
/// What a process can be given beside its arguments, with room for the system's own variables.
const LARGEST_ENV: usize = 256 * 1024;

/// What takes the place of what an endpoint's code declares. What is `None` stays as declared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Overrides {
    /// A container image: recorded, and not pulled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// How many GPUs each worker has to itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu: Option<u32>,
    /// How many processors each worker may keep busy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    /// How much memory each worker may use, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u32>,
    /// Workers that are kept at least, and at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<[u32; 2]>,
    /// How long a worker may have nothing to do before it is stopped, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_timeout_s: Option<u32>,
    /// Requests that may be in flight on one worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_concurrency: Option<u16>,
    /// How long a request may take, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u32>,
    /// Environment variables, added to those of the code and before them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Whether anybody may call it from anywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public: Option<bool>,
    /// Requests in flight that one more worker is started for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaler_value: Option<u32>,
    /// How a new build takes over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
}

/// How the workers of a new build take over from those that serve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Rollout {
    /// They start beside them.
    #[default]
    Beside,
    /// They start once those have ended: for what only one can have, as a port, or all of a device's memory.
    Replace,
}

impl Rollout {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Beside, Self::Replace];

    /// As `flash.toml` has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Beside => "beside",
            Self::Replace => "replace",
        }
    }
}

/// What can be set for an endpoint, under the names that `flash.toml` has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the fields of `Overrides` have them")]
pub enum SettingKey {
    Workers,
    Timeout,
    IdleTimeout,
    MaxConcurrency,
    Scaler,
    Gpu,
    Cpu,
    Memory,
    Image,
    Env,
    Public,
    Rollout,
}

impl SettingKey {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 12] = [
        Self::Workers,
        Self::Timeout,
        Self::IdleTimeout,
        Self::MaxConcurrency,
        Self::Scaler,
        Self::Gpu,
        Self::Cpu,
        Self::Memory,
        Self::Image,
        Self::Env,
        Self::Public,
        Self::Rollout,
    ];

    /// The key of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.as_str() == name)
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Workers => "workers",
            Self::Timeout => "timeout",
            Self::IdleTimeout => "idle_timeout",
            Self::MaxConcurrency => "max_concurrency",
            Self::Scaler => "scaler",
            Self::Gpu => "gpu",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Image => "image",
            Self::Env => "env",
            Self::Public => "public",
            Self::Rollout => "rollout",
        }
    }

    /// How it is written.
    pub const fn example(self) -> &'static str {
        match self {
            Self::Workers => "workers = [0, 3]",
            Self::Timeout => "timeout = \"60s\"",
            Self::IdleTimeout => "idle_timeout = \"5m\"",
            Self::MaxConcurrency => "max_concurrency = 64",
            Self::Scaler => "scaler = { type = \"REQUEST_COUNT\", value = 4 }",
            Self::Gpu => "gpu = 1",
            Self::Cpu => "cpu = 2",
            Self::Memory => "memory = \"2GiB\"",
            Self::Image => "image = \"example/image:1\"",
            Self::Env => "env = { MODE = \"fast\" }",
            Self::Public => "public = true",
            Self::Rollout => "rollout = \"replace\"",
        }
    }
}

impl fmt::Display for SettingKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl Overrides {
    /// Everything in it that is out of bounds, each with the key that it stands under. Whoever takes overrides from elsewhere asks.
    pub fn check(&self) -> Vec<(SettingKey, Diagnostic)> {
        let mut problems = Vec::new();
        let mut refuse = |key: SettingKey, what: String, why: &str| {
            problems.push((key, Diagnostic::error(what, why, key.example())));
        };
        if let Some([least, most]) = self.workers {
            if most == 0 {
                refuse(SettingKey::Workers, "workers allows none at all".into(), "no request would ever be answered");
            } else if least > most {
                let what = format!("workers is [{least}, {most}]: the first cannot be greater than the second");
                refuse(SettingKey::Workers, what, "that many workers are kept at least, and at most");
            } else if most > Workers::MOST {
                let what = format!("workers allows {most}, more than {}", Workers::MOST);
                refuse(SettingKey::Workers, what, "each worker is a process of the machine");
            }
        }
        if let Some(timeout) = self.timeout_ms
            && !(1..=LONGEST_TIMEOUT_MS).contains(&timeout)
        {
            let what = format!("timeout must be between 1 ms and 24 h. Got: {}", span(timeout.into()));
            refuse(SettingKey::Timeout, what, "a request that takes longer is given up");
        }
        if let Some(idle) = self.idle_timeout_s
            && !IDLE_TIMEOUT_S.contains(&idle)
        {
            let what = format!("idle_timeout must be between 1 s and 1 h. Got: {}", span(u64::from(idle) * 1000));
            refuse(SettingKey::IdleTimeout, what, "a worker that had nothing to do for that long is stopped");
        }
        if let Some(concurrency) = self.max_concurrency
            && !(1..=MOST_CONCURRENCY).contains(&concurrency)
        {
            let what = format!("max_concurrency must be between 1 and {MOST_CONCURRENCY}. Got: {concurrency}");
            refuse(SettingKey::MaxConcurrency, what, "so many requests may be in flight on one worker, which has that many slots");
        }
        if self.scaler_value == Some(0) {
            refuse(
                SettingKey::Scaler,
                "the scaler's value must be 1 or more. Got: 0".into(),
                "one more worker is started for that many requests in flight",
            );
        }
        if self.cpu == Some(0) {
            refuse(SettingKey::Cpu, "cpu must be 1 or more. Got: 0".into(), "a worker runs on that many processors");
        }
        if let Some(memory) = self.memory_mib
            && memory < LEAST_MEMORY_MIB
        {
            let what = format!("memory must be {LEAST_MEMORY_MIB} MiB or more. Got: {memory} MiB");
            refuse(SettingKey::Memory, what, "a worker takes most of that before it has imported anything");
        }
        if let Some(image) = &self.image {
            let odd = |character: char| character.is_whitespace() || character.is_control();
            if image.is_empty() || image.contains(odd) || image.len() > LONGEST_IMAGE {
                let what = format!("image is no image's name: `{}`", crate::text::shown(&image.chars().take(80).collect::<String>()));
                refuse(SettingKey::Image, what, "it has no spaces in it, and at most 512 characters");
            }
        }
        for (name, value) in &self.env {
            if let Err(problem) = check_variable(name, value) {
                problems.push((SettingKey::Env, Diagnostic { remedy: SettingKey::Env.example().into(), ..problem }));
            }
        }
        let size: usize = self.env.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        if size > LARGEST_ENV {
            let what = format!("env has {size} bytes, more than {LARGEST_ENV}");
            let problem = Diagnostic::error(what, "the system limits what a process is given", "put what is large into a file");
            problems.push((SettingKey::Env, problem));
        }
        problems
    }

    /// These before those: what is set here takes the place of what is set there, and a variable that of the variable of its name.
    #[must_use]
    pub fn before(&self, weaker: &Self) -> Self {
        let mut env = weaker.env.clone();
        env.extend(self.env.clone());
        Self {
            image: self.image.clone().or_else(|| weaker.image.clone()),
            gpu: self.gpu.or(weaker.gpu),
            cpu: self.cpu.or(weaker.cpu),
            memory_mib: self.memory_mib.or(weaker.memory_mib),
            workers: self.workers.or(weaker.workers),
            idle_timeout_s: self.idle_timeout_s.or(weaker.idle_timeout_s),
            max_concurrency: self.max_concurrency.or(weaker.max_concurrency),
            timeout_ms: self.timeout_ms.or(weaker.timeout_ms),
            env,
            public: self.public.or(weaker.public),
            scaler_value: self.scaler_value.or(weaker.scaler_value),
            rollout: self.rollout.or(weaker.rollout),
        }
    }

    /// Whether a key is set; of `env`, whether there is any variable.
    pub fn sets(&self, key: SettingKey) -> bool {
        match key {
            SettingKey::Workers => self.workers.is_some(),
            SettingKey::Timeout => self.timeout_ms.is_some(),
            SettingKey::IdleTimeout => self.idle_timeout_s.is_some(),
            SettingKey::MaxConcurrency => self.max_concurrency.is_some(),
            SettingKey::Scaler => self.scaler_value.is_some(),
            SettingKey::Gpu => self.gpu.is_some(),
            SettingKey::Cpu => self.cpu.is_some(),
            SettingKey::Memory => self.memory_mib.is_some(),
            SettingKey::Image => self.image.is_some(),
            SettingKey::Env => !self.env.is_empty(),
            SettingKey::Public => self.public.is_some(),
            SettingKey::Rollout => self.rollout.is_some(),
        }
    }
}

/// A span of time as people write it: `250 ms`, `60 s`, `5 min`, `24 h`.
pub(crate) fn span(milliseconds: u64) -> String {
    match milliseconds {
        0 => "0 s".into(),
        _ if !milliseconds.is_multiple_of(1000) => format!("{milliseconds} ms"),
        _ if milliseconds.is_multiple_of(3_600_000) => format!("{} h", milliseconds / 3_600_000),
        _ if milliseconds.is_multiple_of(60_000) && milliseconds > 60_000 => format!("{} min", milliseconds / 60_000),
        _ => format!("{} s", milliseconds / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(overrides: Overrides) -> Vec<(SettingKey, String)> {
        overrides.check().into_iter().map(|(key, problem)| (key, problem.what)).collect()
    }

    #[test]
    fn bounds_are_kept_to() {
        let ok = |overrides: Overrides| assert_eq!(refused(overrides.clone()), [], "{overrides:?}");
        let check = |overrides: Overrides, key, expected: &str| assert_eq!(refused(overrides), [(key, expected.to_owned())]);
        let none = Overrides::default;
        ok(none());
        for workers in [[0, 1], [1, 1], [0, 1024], [1024, 1024]] {
            ok(Overrides { workers: Some(workers), ..none() });
        }
        check(Overrides { workers: Some([0, 0]), ..none() }, SettingKey::Workers, "workers allows none at all");
        check(
            Overrides { workers: Some([3, 2]), ..none() },
            SettingKey::Workers,
            "workers is [3, 2]: the first cannot be greater than the second",
        );
        check(Overrides { workers: Some([0, 1025]), ..none() }, SettingKey::Workers, "workers allows 1025, more than 1024");
        ok(Overrides { timeout_ms: Some(1), ..none() });
        ok(Overrides { timeout_ms: Some(86_400_000), ..none() });
        check(Overrides { timeout_ms: Some(0), ..none() }, SettingKey::Timeout, "timeout must be between 1 ms and 24 h. Got: 0 s");
        let long = Overrides { timeout_ms: Some(86_401_000), ..none() };
        check(long, SettingKey::Timeout, "timeout must be between 1 ms and 24 h. Got: 86401 s");
        ok(Overrides { idle_timeout_s: Some(1), ..none() });
        ok(Overrides { idle_timeout_s: Some(3600), ..none() });
        let idle = |seconds| Overrides { idle_timeout_s: Some(seconds), ..none() };
        check(idle(0), SettingKey::IdleTimeout, "idle_timeout must be between 1 s and 1 h. Got: 0 s");
        check(idle(7200), SettingKey::IdleTimeout, "idle_timeout must be between 1 s and 1 h. Got: 2 h");
        let concurrency = |most| Overrides { max_concurrency: Some(most), ..none() };
        ok(concurrency(1));
        ok(concurrency(128));
        check(concurrency(0), SettingKey::MaxConcurrency, "max_concurrency must be between 1 and 128. Got: 0");
        check(concurrency(129), SettingKey::MaxConcurrency, "max_concurrency must be between 1 and 128. Got: 129");
        check(Overrides { scaler_value: Some(0), ..none() }, SettingKey::Scaler, "the scaler's value must be 1 or more. Got: 0");
        check(Overrides { cpu: Some(0), ..none() }, SettingKey::Cpu, "cpu must be 1 or more. Got: 0");
        ok(Overrides { gpu: Some(0), cpu: Some(1), memory_mib: Some(64), public: Some(false), scaler_value: Some(1), ..none() });
        check(Overrides { memory_mib: Some(63), ..none() }, SettingKey::Memory, "memory must be 64 MiB or more. Got: 63 MiB");
        let image = |name: &str| Overrides { image: Some(name.into()), ..none() };
        ok(image("registry.example.org:5000/team/image:1.2@sha256:0123"));
        check(image(""), SettingKey::Image, "image is no image's name: ``");
        check(image("a b"), SettingKey::Image, "image is no image's name: `a b`");
        check(image(&"a".repeat(513)), SettingKey::Image, &format!("image is no image's name: `{}`", "a".repeat(80)));
        let env = |name: &str, value: &str| Overrides { env: [(name.to_owned(), value.to_owned())].into(), ..none() };
        ok(env("MODE", "a=b\n"));
        check(env("A=B", ""), SettingKey::Env, "the environment variable 'A=B' has the character '=' in its name");
        check(env("A", &"a".repeat(262_144)), SettingKey::Env, "env has 262147 bytes, more than 262144");
    }

    #[test]
    fn everything_that_is_out_of_bounds_is_told() {
        let overrides = Overrides { workers: Some([0, 0]), timeout_ms: Some(0), cpu: Some(0), ..Overrides::default() };
        assert_eq!(overrides.check().iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["workers", "timeout", "cpu"]);
    }

    #[test]
    fn what_is_stronger_takes_the_place_and_variables_are_added() {
        let variables = |all: &[(&str, &str)]| all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let weaker = Overrides { gpu: Some(1), cpu: Some(2), env: variables(&[("A", "1"), ("B", "2")]), ..Overrides::default() };
        let stronger = Overrides { gpu: Some(0), public: Some(true), env: variables(&[("B", "3")]), ..Overrides::default() };
        let expected =
            Overrides { gpu: Some(0), cpu: Some(2), public: Some(true), env: variables(&[("A", "1"), ("B", "3")]), ..Overrides::default() };
        assert_eq!(stronger.before(&weaker), expected);
    }

    #[test]
    fn each_key_is_told_to_be_set_by_its_own_field() {
        let json = [
            (SettingKey::Workers, r#"{"workers": [0, 1]}"#),
            (SettingKey::Timeout, r#"{"timeout_ms": 1}"#),
            (SettingKey::IdleTimeout, r#"{"idle_timeout_s": 1}"#),
            (SettingKey::MaxConcurrency, r#"{"max_concurrency": 1}"#),
            (SettingKey::Scaler, r#"{"scaler_value": 1}"#),
            (SettingKey::Gpu, r#"{"gpu": 0}"#),
            (SettingKey::Cpu, r#"{"cpu": 1}"#),
            (SettingKey::Memory, r#"{"memory_mib": 64}"#),
            (SettingKey::Image, r#"{"image": "x"}"#),
            (SettingKey::Env, r#"{"env": {"A": "b"}}"#),
            (SettingKey::Public, r#"{"public": false}"#),
            (SettingKey::Rollout, r#"{"rollout": "replace"}"#),
        ];
        assert_eq!(json.len(), SettingKey::ALL.len());
        for (key, text) in json {
            let overrides: Overrides = serde_json::from_str(text).expect(text);
            assert_eq!(SettingKey::ALL.into_iter().filter(|other| overrides.sets(*other)).collect::<Vec<_>>(), [key]);
            assert_eq!(overrides.before(&Overrides::default()), overrides);
            assert_eq!(Overrides::default().before(&overrides), overrides);
            assert_eq!(SettingKey::named(key.as_str()), Some(key));
        }
    }

    #[test]
    fn spans_are_written_as_people_do() {
        let check = |milliseconds, expected: &str| assert_eq!(span(milliseconds), expected);
        check(0, "0 s");
        check(250, "250 ms");
        check(60_000, "60 s");
        check(90_000, "90 s");
        check(300_000, "5 min");
        check(3_600_000, "1 h");
    }
}
