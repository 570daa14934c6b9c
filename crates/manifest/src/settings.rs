//! What holds for an endpoint in the end: what is set for it, else what its code says, else a default; and where each value comes from.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::overrides::span;
use crate::{Endpoint, EnvironmentName, Kind, Location, MOST_CONCURRENCY, Overrides, Rollout, SettingKey, Workers};

/// An endpoint with every value settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How it is called.
    pub kind: Kind,
    /// How many workers it may have.
    pub workers: Workers,
    /// How long a request may take, or one attempt at a job.
    pub timeout: Duration,
    /// How long a worker may have nothing to do before it is stopped.
    pub idle_timeout: Duration,
    /// Requests or jobs that may be in flight on one worker.
    pub max_concurrency: u16,
    /// Requests in flight that one more worker is started for.
    pub scaler_value: u32,
    /// How many GPUs each worker has to itself.
    pub gpu: u32,
    /// How many processors each worker may keep busy; as many as there are where nothing is said.
    pub cpu: Option<u32>,
    /// How much memory each worker may use, in MiB; what there is where nothing is said.
    pub memory_mib: Option<u32>,
    /// A container image: recorded, and not pulled.
    pub image: Option<String>,
    /// Environment variables, as far as they are known without running the program.
    pub env: BTreeMap<String, String>,
    /// Whether anybody may call it from anywhere.
    pub public: bool,
    /// How a new build takes over.
    pub rollout: Rollout,
}

impl Settings {
    /// A request has this long unless more is said: as long as load balancers wait by custom.
    pub const TIMEOUT: Duration = Duration::from_secs(30);
    /// So long may one attempt at a job run, unless more is said.
    pub const JOB_TIMEOUT: Duration = Duration::from_secs(600);
    /// The SDK's default.
    pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
    /// The SDK's default.
    pub const SCALER_VALUE: u32 = 4;

    /// What holds for an endpoint. `overrides` are those of its project for the environment, and were checked.
    pub fn of(endpoint: &Endpoint, overrides: &Overrides) -> Self {
        let Endpoint { workers, timeout, idle_timeout, max_concurrency, scaler_value, image, env, .. } = endpoint.with(overrides);
        let (usual_timeout, usual_concurrency) = match endpoint.class.kind() {
            Kind::LoadBalanced => (Self::TIMEOUT, MOST_CONCURRENCY),
            Kind::QueueBased => (Self::JOB_TIMEOUT, 1),
        };
        Self {
            kind: endpoint.class.kind(),
            workers: workers.unwrap_or_default(),
            timeout: timeout.unwrap_or(usual_timeout),
            idle_timeout: idle_timeout.unwrap_or(Self::IDLE_TIMEOUT),
            max_concurrency: max_concurrency.unwrap_or(usual_concurrency),
            scaler_value: scaler_value.unwrap_or(Self::SCALER_VALUE),
            gpu: overrides.gpu.unwrap_or(0),
            cpu: overrides.cpu,
            memory_mib: overrides.memory_mib,
            image,
            env,
            public: overrides.public.unwrap_or(false),
            rollout: overrides.rollout.unwrap_or_default(),
        }
    }

    /// A value as text, the way that `flash.toml` takes it where there is one; `None` where there is nothing to show. Of `env` the names.
    pub fn shown(&self, key: SettingKey) -> Option<String> {
        let time = |duration: Duration| span(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
        match key {
            SettingKey::Workers => Some(format!("{} to {}", self.workers.least(), self.workers.most())),
            SettingKey::Timeout => Some(time(self.timeout)),
            SettingKey::IdleTimeout => Some(time(self.idle_timeout)),
            SettingKey::MaxConcurrency => Some(self.max_concurrency.to_string()),
            SettingKey::Scaler => Some(match self.kind {
                Kind::LoadBalanced => format!("REQUEST_COUNT {}", self.scaler_value),
                Kind::QueueBased => format!("QUEUE_DELAY {}", self.scaler_value),
            }),
            SettingKey::Gpu => Some(self.gpu.to_string()),
            SettingKey::Cpu => self.cpu.map(|cpu| cpu.to_string()),
            SettingKey::Memory => {
                self.memory_mib.map(|memory| if memory % 1024 == 0 { format!("{} GiB", memory / 1024) } else { format!("{memory} MiB") })
            }
            SettingKey::Image => self.image.clone(),
            SettingKey::Env => (!self.env.is_empty()).then(|| self.env.keys().cloned().collect::<Vec<_>>().join(", ")),
            SettingKey::Public => Some(self.public.to_string()),
            SettingKey::Rollout => Some(self.rollout.as_str().to_owned()),
        }
    }
}

/// Where a value comes from, the weakest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The endpoint's declaration.
    Code(Location),
    /// `flash.toml`, for all environments.
    FlashToml(Location),
    /// `flash.toml`, for one environment.
    Environment(EnvironmentName, Location),
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => out.write_str("default"),
            Self::Code(location) | Self::FlashToml(location) => location.fmt(out),
            Self::Environment(name, location) => write!(out, "{location} ({name})"),
        }
    }
}

/// Where the values of an endpoint come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins {
    /// Of each key that somebody set.
    pub(crate) keys: BTreeMap<SettingKey, Origin>,
    /// Of each variable.
    pub(crate) variables: BTreeMap<String, Origin>,
}

impl Origins {
    /// Those of an endpoint for which nothing is set beside its code.
    pub(crate) fn in_code(endpoint: &Endpoint) -> Self {
        let code = || Origin::Code(endpoint.location.clone());
        let said = |key: &SettingKey| match key {
            SettingKey::Workers => endpoint.workers.is_some(),
            SettingKey::Timeout => endpoint.timeout.is_some(),
            SettingKey::IdleTimeout => endpoint.idle_timeout.is_some(),
            SettingKey::MaxConcurrency => endpoint.max_concurrency.is_some(),
            SettingKey::Scaler => endpoint.scaler_value.is_some(),
            SettingKey::Image => endpoint.image.is_some(),
            SettingKey::Env => !endpoint.env.is_empty(),
            SettingKey::Gpu | SettingKey::Cpu | SettingKey::Memory | SettingKey::Public | SettingKey::Rollout => false,
        };
        Self {
            keys: SettingKey::ALL.into_iter().filter(said).map(|key| (key, code())).collect(),
            variables: endpoint.env.keys().map(|name| (name.clone(), code())).collect(),
        }
    }

    /// Where a key's value comes from; of `env`, the strongest that sets a variable.
    pub fn of(&self, key: SettingKey) -> &Origin {
        self.keys.get(&key).unwrap_or(&Origin::Default)
    }

    /// Where a variable's value comes from.
    pub fn of_variable(&self, name: &str) -> &Origin {
        self.variables.get(name).unwrap_or(&Origin::Default)
    }
}
