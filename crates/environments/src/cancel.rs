//! Giving up what is being made.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Ends the making of an environment from another thread; within a fraction of a second. Cloneable handle.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// From now on whoever makes something with this gives it up.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
