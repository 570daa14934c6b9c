//! Who runs jobs: claims them for free slots of workers, waits for what becomes of them, writes that, and tells whoever waits; and the job API
//! (`docs/job_api.md`) by which clients send them.
//!
//! `flash_control` says which endpoints take jobs and what their workers are, and the gateway mounts the API. It starts no processes and writes no
//! SQL: workers are a [`flash_workers::Pool`], the queue is a [`flash_store::jobs::Jobs`], and the rules of a job's life are `flash_queue`'s.

mod ahead;
mod api;
mod attempt;
mod engine;
mod engines;
mod health;
mod id;
mod object;
mod operation;
mod orders;
mod pieces;
mod refusal;
mod request;
mod running;
mod settings;
mod streams;
mod tags;
mod waiters;
mod webhook;

pub use api::api;
pub use engines::{Engines, Function, Leaving, Note, Queue};
pub use health::JobCounts;
pub use object::Status;
pub use operation::ROOT;
pub use settings::Settings;
pub use webhook::Secret;
