//! What a project declares (endpoints, functions, routes) as data, and the rules on it.
//! The scanner fills it in; `flash run`, the build and the server read it.
//! It knows no Python and no disk: paths in it are text that others resolve.

mod diagnostic;
mod endpoint;
mod method;
mod name;
mod nearest;
mod overrides;
mod path;
mod project;
mod python;
mod text;
mod variable;

pub use diagnostic::{Diagnostic, Location, Severity};
pub use endpoint::{Endpoint, Function, Kind, Module, Nature, ResourceClass, Route, Workers};
pub use method::Method;
pub use name::{AppName, EndpointName};
pub use nearest::nearest;
pub use overrides::Overrides;
pub use path::{Part, PathPattern, RESERVED_PATHS};
pub use project::{App, AppOrigin, Project};
pub use python::PythonVersion;
pub use variable::check_variable;
