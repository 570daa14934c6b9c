//! Leases on their way to whoever asked for them.

use std::sync::Arc;

use super::inbox::{Command, Inbox, Lane, Patience, Work};
use super::record::{Lease, Outcome, Ran};
use super::rows::{Leased, Rows};
use super::{Error, Result};

/// Jobs whose leases are on the disk. Where nobody takes them, since who asked has gone, they are returned: else their jobs would be leased
/// to nobody until the server ends.
pub(super) struct Unbegun {
    pub(super) leased: Vec<Leased>,
    pub(super) inbox: Arc<Inbox>,
}

impl Unbegun {
    /// From here on they are the caller's.
    pub(super) fn take(mut self) -> Vec<Leased> {
        std::mem::take(&mut self.leased)
    }
}

impl Drop for Unbegun {
    fn drop(&mut self) {
        for leased in &self.leased {
            end(&self.inbox, leased.lease, Outcome::Returned);
        }
    }
}

/// Ends an attempt without waiting for that. Where the queue is closed, the next start does it.
pub(super) fn end(inbox: &Inbox, lease: Lease, outcome: Outcome) {
    let command = Command { work: Box::new(Ending { lease, outcome }), patience: Patience::Wait, bytes: 0, runtime: None };
    if let Err(error) = inbox.push(Lane::Leases, command) {
        debug_assert_eq!(error, Error::Closed);
    }
}

struct Ending {
    lease: Lease,
    outcome: Outcome,
}

impl Work for Ending {
    fn apply(&mut self, rows: &mut Rows<'_>) -> rusqlite::Result<()> {
        // That it was cancelled meanwhile is as good an end.
        rows.finish(self.lease, &self.outcome, None, &Ran::default()).map(drop)
    }

    fn settle(self: Box<Self>, _: Result<()>) {}
}
