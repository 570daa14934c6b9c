//! What a project declares (endpoints, functions, routes) as data, and the rules on it.
//! The scanner fills it in; `flash run`, the build and the server read it.
//! It knows no Python and no disk: paths in it are text that others resolve.

mod diagnostic;
mod endpoint;
mod fields;
mod flash_toml;
mod json;
mod machine;
mod manifest;
mod method;
mod name;
mod nearest;
mod overrides;
mod path;
mod project;
mod python;
mod quantity;
mod server_url;
mod settings;
mod text;
mod variable;

pub use diagnostic::{Diagnostic, Location, Severity};
pub use endpoint::{Endpoint, Function, Kind, Module, Nature, ResourceClass, Route, Workers};
pub use flash_toml::{FlashToml, Given};
pub use machine::Machine;
pub use manifest::{MANIFEST_FILE, Manifest, inner_path};
pub use method::Method;
pub use name::{AppName, EndpointName, EnvironmentName};
pub use nearest::nearest;
pub use overrides::{IDLE_TIMEOUT_S, MOST_CONCURRENCY, Overrides, Rollout, SettingKey};
pub use path::{Part, PathPattern, RESERVED_PATHS};
pub use project::{App, AppOrigin, Project};
pub use python::PythonVersion;
pub use server_url::ServerUrl;
pub use settings::{Origin, Origins, Settings};
pub use variable::check_variable;
