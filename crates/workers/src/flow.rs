//! How much a worker has yielded that nobody has taken yet: one that yields faster than its caller reads waits, instead of filling memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// More than this, in bytes, and the worker is read from no further until some of it was taken.
const MOST: usize = 4 * 1024 * 1024;

/// Of one worker.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    untaken: AtomicUsize,
    room: Notify,
}

/// Bytes that wait to be taken; dropped when they are, or when nobody will take them.
#[derive(Debug)]
pub(crate) struct Held {
    flow: Arc<Flow>,
    bytes: usize,
}

impl Flow {
    /// Counts bytes that are on their way to whoever takes them.
    pub(crate) fn hold(self: &Arc<Self>, bytes: usize) -> Held {
        self.untaken.fetch_add(bytes, Ordering::Relaxed);
        Held { flow: self.clone(), bytes }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.untaken.load(Ordering::Relaxed) > MOST
    }

    /// Waits until some of it was taken.
    pub(crate) async fn room(&self) {
        self.room.notified().await;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.flow.untaken.fetch_sub(self.bytes, Ordering::Relaxed);
        self.flow.room.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_full_until_some_of_it_was_taken_and_says_when() {
        let flow = Arc::new(Flow::default());
        let held = [flow.hold(MOST), flow.hold(1)];
        assert!(flow.is_full());
        let [_, last] = held;
        drop(last);
        flow.room().await;
        assert!(!flow.is_full());
    }
}
