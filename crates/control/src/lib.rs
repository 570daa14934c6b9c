//! The control plane: deployments of builds, rolled out, kept and taken back; the control API through which that is asked for.
//!
//! `flash serve` gives it a store, a gateway and a home, and mounts its API in the gateway; `flash run` uses its [`service`] alone. It knows no
//! wire format, and nothing of how requests to endpoints are answered.

mod apart;
mod api;
mod builds;
mod clock;
mod control;
mod home;
mod keyring;
mod logs;
mod machine;
mod passes;
mod refusal;
mod resolve;
mod rollout;
mod secret;
pub mod service;
mod tail;
mod view;

pub use apart::Apart;
pub use api::{scope, service as api_service};
pub use builds::Builds;
pub use clock::now;
pub use control::{About, Control, Parts, Place};
pub use home::{Error as HomeError, Home, Running, began, is_taken, running};
pub use keyring::Keyring;
pub use logs::{Logs, Writer};
pub use machine::machine;
