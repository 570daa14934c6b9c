//! The host against workers that keep to the wire and workers that do not: real processes and sockets, no Python.

mod ahead;
mod bodies;
mod breaches;
mod crashes;
mod deaths;
mod jobs;
mod scaling;
mod slots;
mod standstill;
mod starts;
mod trial;
