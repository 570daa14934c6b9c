//! The last lines that the workers of a new deployment print, for who asks why it failed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use flash_workers::Printed;

use crate::rollout::LAST_WORDS;

/// So many lines, of so many bytes each.
const LINES: usize = 50;
const LINE: usize = 2000;

/// They come until it is closed.
#[derive(Default)]
pub(crate) struct Tail {
    lines: Mutex<Option<VecDeque<String>>>,
    closed: std::sync::atomic::AtomicBool,
}

impl Tail {
    pub(crate) fn add(&self, printed: &Printed<'_>) {
        if self.closed.load(std::sync::atomic::Ordering::Relaxed) {
            return;
        }
        let mut lines = self.lock();
        let lines = lines.get_or_insert_default();
        for line in printed.text.lines() {
            if lines.len() == LINES {
                lines.pop_front();
            }
            lines.push_back(line.chars().take(LINE).collect());
        }
    }

    /// Nobody asks any more.
    pub(crate) fn close(&self) {
        self.closed.store(true, std::sync::atomic::Ordering::Relaxed);
        *self.lock() = None;
    }

    /// What was printed, once all processes that print have ended: each holds it by its pipe. That takes no longer than they do.
    pub(crate) async fn last(self: Arc<Self>) -> String {
        let until = Instant::now() + LAST_WORDS;
        while Arc::strong_count(&self) > 1 && Instant::now() < until {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        self.lock().take().into_iter().flatten().collect::<Vec<_>>().join("\n")
    }

    fn lock(&self) -> MutexGuard<'_, Option<VecDeque<String>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
