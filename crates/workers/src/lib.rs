//! Python worker processes: started by forking zygotes, given requests through slots, replaced when they die.
//!
//! The gateway submits requests to a [`Pool`], one an endpoint; `flash` makes pools and prints what functions print.
//! This crate knows no HTTP, no routes' patterns and no store: to it, a route is a number and a body is bytes.

mod base;
mod description;
mod devices;
mod dispatch;
mod error;
mod flow;
mod imported;
mod importing;
mod interpreter;
mod isolation;
mod keep;
mod libraries;
mod link;
mod open_files;
mod orphans;
mod page;
mod pool;
mod printed;
mod process;
mod project;
mod ready;
mod reply;
mod room;
mod settings;
mod snapshot;
mod standstill;
mod watch;
mod zygote;

pub use base::{Base, Printed, Sink};
pub use description::Undescribed;
pub use devices::Devices;
pub use dispatch::{Answer, Cancel, Limits, MAX_SLOTS, Work};
pub use error::{Error, Report, how_it_ended};
pub use imported::Imported;
pub use interpreter::{Interpreter, Program};
pub use isolation::{
    Isolation, Landlock, Level, ResourceLimits, closed_to_others, confine, end_survivors, forget_home, remove_leftovers, user_for,
};
pub use open_files::raise_open_files;
pub use orphans::Orphans;
pub use pool::{Call, Events, Job, Pool, Request, Status};
pub use process::watched;
pub use ready::{Body, Parameter, Plan, Ready, Route};
pub use reply::{Begun, Event, Outcome};
pub use room::Room;
pub use settings::{Settings, Workers};
pub use snapshot::{Snapshot, State};
pub use zygote::Hello;
