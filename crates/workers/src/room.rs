//! Whether what processes print finds room: where it does not, nothing more is read of the process that prints, which then waits in its `print`.
//! Nothing is lost that way, and who prints little is not slowed by who prints much.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

/// Text that may wait for a live call's caller before the worker is held, and what it is held down to, in bytes.
const BEHIND: (usize, usize) = (1 << 20, 256 << 10);

/// Whether whoever takes printed text has room for more.
#[derive(Clone, Debug)]
pub struct Room {
    /// True while there is.
    pub free: watch::Receiver<bool>,
    /// It is waited for this long at most, at a time.
    pub patience: Duration,
}

impl Room {
    /// Waits until there is room, as long as is to be waited from `since` on.
    async fn freed(&self, since: Instant) {
        // Errors mean that it took too long, or that nobody takes it any more: then it goes where it can.
        let _ = timeout_at(since + self.patience, self.free.clone().wait_for(|free| *free)).await;
    }

    /// Waits where there is no room.
    pub(crate) async fn wait(&self) {
        if !*self.free.borrow() {
            self.freed(Instant::now()).await;
        }
    }
}

/// What a live call has printed and its caller has not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    bytes: AtomicUsize,
    gone: AtomicBool,
    less: Notify,
}

impl Backlog {
    pub(crate) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn take(&self, bytes: usize) {
        let before = self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        if before > BEHIND.1 && before - bytes <= BEHIND.1 {
            self.less.notify_one();
        }
    }

    /// Nobody takes any more.
    pub(crate) fn close(&self) {
        self.gone.store(true, Ordering::Relaxed);
        self.less.notify_one();
    }

    /// Whether the caller is too far behind.
    pub(crate) fn is_long(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > BEHIND.0 && !self.gone.load(Ordering::Relaxed)
    }

    async fn is_short(&self) {
        while self.bytes.load(Ordering::Relaxed) > BEHIND.1 && !self.gone.load(Ordering::Relaxed) {
            self.less.notified().await;
        }
    }
}

/// What has no room for what a worker prints.
#[derive(Clone, Debug)]
pub(crate) enum Held {
    /// The log, since then.
    Log(Room, Instant),
    /// A live call's caller.
    Call(Arc<Backlog>),
}

impl Held {
    /// By the log, where that has no room now.
    pub(crate) fn by_log(room: Option<&Room>) -> Option<Self> {
        let room = room.filter(|room| !*room.free.borrow())?;
        Some(Self::Log(room.clone(), Instant::now()))
    }

    /// By a caller, where that is too far behind.
    pub(crate) fn by_call(backlog: &Arc<Backlog>) -> Option<Self> {
        backlog.is_long().then(|| Self::Call(backlog.clone()))
    }

    /// Waits until it has room again; for ever where nothing is held.
    pub(crate) async fn released(held: Option<&Self>) {
        match held {
            Some(Self::Log(room, since)) => room.freed(*since).await,
            Some(Self::Call(backlog)) => backlog.is_short().await,
            None => std::future::pending().await,
        }
    }
}
