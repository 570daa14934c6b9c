//! An endpoint, and the functions behind it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::{Diagnostic, EndpointName, Location, Method, Overrides, PathPattern, PythonVersion};

/// One endpoint of a project: the unit of naming, scaling and addressing. What is `None` or empty is not said by the code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its name, alone of its kind in the project.
    pub name: EndpointName,
    /// The class it was declared with.
    pub class: ResourceClass,
    /// How many workers it may have.
    pub workers: Option<Workers>,
    /// How long a worker may have nothing to do before it is stopped.
    pub idle_timeout: Option<Duration>,
    /// Requests that may be in flight on one worker.
    pub max_concurrency: Option<u16>,
    /// Requests in flight that one more worker is started for.
    pub scaler_value: Option<u32>,
    /// How long a function may take.
    pub timeout: Option<Duration>,
    /// Environment variables, as far as they can be told from the source. The module sets all of them when it is imported.
    pub env: BTreeMap<String, String>,
    /// A container image: a label here, and not pulled.
    pub image: Option<String>,
    /// Kinds of GPUs, as `GpuGroup.ADA_24` or as they were written: labels. `flash.toml` alone asks the machine for GPUs.
    pub gpus: Vec<String>,
    /// How many GPUs: a label, as they are.
    pub gpu_count: Option<u32>,
    /// The version of Python that its functions are for.
    pub python: Option<PythonVersion>,
    /// Whether a request that has begun is cancelled when its caller leaves.
    pub cancel_on_disconnect: bool,
    /// Its functions, in the order of their declaration.
    pub functions: Vec<Function>,
    /// Where it is declared.
    pub location: Location,
}

impl Endpoint {
    /// The same with what is set beside its code. `overrides` were checked; of them, what has no field here is in [`crate::Settings`] alone.
    #[must_use]
    pub fn with(&self, overrides: &Overrides) -> Self {
        let workers = overrides.workers.and_then(|[least, most]| Workers::new(least, most).ok());
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        let milliseconds = |milliseconds: u32| Duration::from_millis(milliseconds.into());
        let mut endpoint = self.clone();
        endpoint.workers = workers.or(self.workers);
        endpoint.idle_timeout = overrides.idle_timeout_s.map(seconds).or(self.idle_timeout);
        endpoint.max_concurrency = overrides.max_concurrency.or(self.max_concurrency);
        endpoint.scaler_value = overrides.scaler_value.or(self.scaler_value);
        endpoint.timeout = overrides.timeout_ms.map(milliseconds).or(self.timeout);
        endpoint.env.extend(overrides.env.clone());
        endpoint.image = overrides.image.clone().or_else(|| self.image.clone());
        endpoint
    }
}

/// How an endpoint is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Directly, over HTTP routes.
    LoadBalanced,
    /// By jobs in a queue.
    QueueBased,
}

/// The classes that declare an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the SDK's, and its documentation has them")]
pub enum ResourceClass {
    LoadBalancerSlsResource,
    LiveLoadBalancer,
    CpuLoadBalancerSlsResource,
    CpuLiveLoadBalancer,
    ServerlessEndpoint,
    LiveServerless,
    CpuServerlessEndpoint,
    CpuLiveServerless,
}

impl ResourceClass {
    /// Every class.
    pub const ALL: [Self; 8] = [
        Self::LoadBalancerSlsResource,
        Self::LiveLoadBalancer,
        Self::CpuLoadBalancerSlsResource,
        Self::CpuLiveLoadBalancer,
        Self::ServerlessEndpoint,
        Self::LiveServerless,
        Self::CpuServerlessEndpoint,
        Self::CpuLiveServerless,
    ];

    /// The class of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == name)
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LoadBalancerSlsResource => "LoadBalancerSlsResource",
            Self::LiveLoadBalancer => "LiveLoadBalancer",
            Self::CpuLoadBalancerSlsResource => "CpuLoadBalancerSlsResource",
            Self::CpuLiveLoadBalancer => "CpuLiveLoadBalancer",
            Self::ServerlessEndpoint => "ServerlessEndpoint",
            Self::LiveServerless => "LiveServerless",
            Self::CpuServerlessEndpoint => "CpuServerlessEndpoint",
            Self::CpuLiveServerless => "CpuLiveServerless",
        }
    }

    /// How its endpoints are called.
    pub const fn kind(self) -> Kind {
        match self {
            Self::LoadBalancerSlsResource | Self::LiveLoadBalancer | Self::CpuLoadBalancerSlsResource | Self::CpuLiveLoadBalancer => {
                Kind::LoadBalanced
            }
            Self::ServerlessEndpoint | Self::LiveServerless | Self::CpuServerlessEndpoint | Self::CpuLiveServerless => Kind::QueueBased,
        }
    }

    /// Whether a script's calls run in a worker of its own. A server never asks: what it serves is its own affair.
    pub const fn is_live(self) -> bool {
        match self {
            Self::LiveLoadBalancer | Self::CpuLiveLoadBalancer | Self::LiveServerless | Self::CpuLiveServerless => true,
            Self::LoadBalancerSlsResource | Self::CpuLoadBalancerSlsResource | Self::ServerlessEndpoint | Self::CpuServerlessEndpoint => {
                false
            }
        }
    }
}

impl fmt::Display for ResourceClass {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// How many workers an endpoint is kept at, at least and at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workers {
    least: u32,
    most: u32,
}

impl Workers {
    /// The most that there may be: a guard against a slip of the finger.
    pub const MOST: u32 = 1024;

    /// From `workersMin` and `workersMax`. Errs when the first is greater, or one is greater than there may be.
    pub fn new(least: u32, most: u32) -> Result<Self, Diagnostic> {
        for (name, count) in [("workersMin", least), ("workersMax", most)] {
            if count > Self::MOST {
                return Err(Diagnostic::error(
                    format!("{name} is {count}, more than {}", Self::MOST),
                    "each worker is a process of this machine",
                    format!("{name}={}, or less", Self::MOST),
                ));
            }
        }
        if least > most {
            return Err(Diagnostic::error(
                format!("workersMin ({least}) cannot be greater than workersMax ({most})"),
                "that many workers are kept at least, and at most",
                format!("workersMax={least}, or a smaller workersMin"),
            ));
        }
        Ok(Self { least, most })
    }

    /// Kept even when nothing is asked of them.
    pub const fn least(self) -> u32 {
        self.least
    }

    /// Never more than these.
    pub const fn most(self) -> u32 {
        self.most
    }
}

impl Default for Workers {
    /// None at rest, and one at work.
    fn default() -> Self {
        Self { least: 0, most: 1 }
    }
}

/// A decorated callable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name within its module.
    pub qualname: String,
    /// The module that defines it.
    pub module: Module,
    /// Where it is defined: the line of its `def`.
    pub location: Location,
    /// What was decorated.
    pub nature: Nature,
    /// Its route; there is one exactly when its endpoint is load-balanced.
    pub route: Option<Route>,
    /// How often a job whose function has raised is tried again; on queue-based endpoints only. What a lost worker took is tried again in any case.
    pub retries: Option<u8>,
    /// The Python packages that it asks for.
    pub dependencies: Vec<String>,
    /// The system packages that it asks for.
    pub system_dependencies: Vec<String>,
}

impl Function {
    /// The most retries that a function may ask for.
    pub const MOST_RETRIES: u8 = 100;

    /// Whether calling it gives something to await.
    pub fn is_async(&self) -> bool {
        self.nature == Nature::AsyncFunction
    }
}

/// What kind of callable was decorated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// `def`
    Function,
    /// `async def`
    AsyncFunction,
    /// `class`, on queue-based endpoints only.
    Class,
}

/// A Python module of the project.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Module {
    /// Its name, as it is imported: `package.module`.
    pub name: String,
    /// Its file.
    pub file: PathBuf,
    /// The folder that must be on the import path for that.
    pub import_base: PathBuf,
    /// The folders that its own imports begin at, in order, where those are more than `import_base`, which is among them.
    pub import_path: Vec<PathBuf>,
}

impl Module {
    /// The folders that its imports begin at.
    pub fn import_path(&self) -> &[PathBuf] {
        if self.import_path.is_empty() { std::slice::from_ref(&self.import_base) } else { &self.import_path }
    }
}

/// What a request must look like to reach a function.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// The HTTP method.
    pub method: Method,
    /// The path below the endpoint's URL.
    pub path: PathPattern,
}

impl fmt::Display for Route {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.method, self.path)
    }
}
