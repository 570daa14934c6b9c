//! Callers' HTTP: accepts, matches, admits, dispatches, answers.
//!
//! `flash` gives it a listener and endpoints, each with its routes and its pool of workers, and hears of every request through an
//! observer. It knows nothing of deployments, of Python, or of where endpoints come from.

mod abridged;
mod answer;
mod body;
mod connection;
mod document;
mod endpoint;
mod entry;
mod execute;
mod form;
mod forwarded;
mod framing;
mod gateway;
mod head;
mod hold;
mod host;
mod matcher;
mod mount;
mod openapi;
mod overview;
mod pages;
mod places;
mod preparation;
mod request_id;
mod server;
mod socket;
mod streams;
mod tls;
mod unreadable;

pub use abridged::Abridged;
pub use endpoint::{Access, Endpoint, Retired};
pub use entry::{Means, Meant};
pub use form::FormLimits;
pub use gateway::{Admits, Finished, Gateway, Observer, OpenEndpoint, Settings, request_id};
pub use mount::{Answering, Caller, Mount, MountedBody, Reply, RequestId, Service, Whole};
pub use preparation::{Notes, Prepare, Prepared, Unprepared};
pub use server::{serve, serve_connection, serve_operators, serve_workers};
pub use tls::{Tls, TlsError};
