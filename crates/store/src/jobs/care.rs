//! What need not keep the writer: bringing the log into the database, and removing files that no row names.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};

use rusqlite::Connection;

use super::payload::Payloads;

/// What a page is in the log.
const PAGE: usize = 4096 + 24;

/// Something to be done.
enum Task {
    /// Brings the log into the database; tells the writer, where it waits.
    Checkpoint(Option<SyncSender<()>>),
    /// These files go.
    Remove(Vec<String>),
}

/// The writer's end.
///
/// From a quarter of its limit on, the log is brought into the database while the writer goes on. At its limit the writer waits for that: it
/// begins the log anew once all of it is in the database, which a log that grows all the time never is. By then most of it is done.
pub(super) struct Care {
    tasks: Sender<Task>,
    quarter: u32,
    /// At so many pages the next checkpoint is asked for.
    soft: u32,
    /// At so many it is waited for.
    hard: u32,
}

/// The end of the thread that does it.
pub(super) struct Caretaker {
    tasks: Receiver<Task>,
    pub(super) connection: Connection,
    pub(super) payloads: Arc<Payloads>,
}

/// Both ends. The connection is one of its own.
pub(super) fn care(connection: Connection, payloads: Arc<Payloads>, log_limit: usize) -> (Care, Caretaker) {
    let (sender, tasks) = channel();
    let quarter = u32::try_from(log_limit / PAGE / 4).unwrap_or(u32::MAX / 8).max(1);
    let care = Care { tasks: sender, quarter, soft: quarter, hard: quarter * 4 };
    (care, Caretaker { tasks, connection, payloads })
}

impl Care {
    /// After a commit, by which the log has so many pages.
    pub(super) fn log_has(&mut self, pages: u32) {
        if pages < self.quarter {
            (self.soft, self.hard) = (self.quarter, self.quarter * 4);
        }
        if pages >= self.hard {
            let (done, wait) = sync_channel(1);
            self.send(Task::Checkpoint(Some(done)));
            if wait.recv().is_err() {
                tracing::error!("the queue's log is not brought into its database any more: it grows until the server starts anew");
            }
            // Where somebody reads an old state, it could not be begun anew: not each commit is to wait for nothing.
            (self.soft, self.hard) = (pages + self.quarter, pages + self.quarter * 4);
        } else if pages >= self.soft {
            self.send(Task::Checkpoint(None));
            self.soft = pages + self.quarter;
        }
    }

    pub(super) fn remove(&self, files: Vec<String>) {
        if !files.is_empty() {
            self.send(Task::Remove(files));
        }
    }

    fn send(&self, task: Task) {
        // Its thread ends after the writer's. Should it have died: files go with the next start.
        drop(self.tasks.send(task));
    }
}

impl Caretaker {
    /// Works until the writer is gone.
    pub(super) fn run(self) {
        let mut former = self.payloads.former().inspect_err(|error| tracing::warn!("the folder of payloads cannot be read: {error}")).ok();
        loop {
            // The files of servers before this one are looked at beside what comes: there may be many.
            let task = match &mut former {
                None => self.tasks.recv().map_err(|_| TryRecvError::Disconnected),
                Some(files) => {
                    if !self.remove_orphan(files) {
                        former = None;
                    }
                    self.tasks.try_recv()
                }
            };
            match task {
                Ok(Task::Checkpoint(done)) => {
                    self.checkpoint();
                    if done.is_some_and(|done| done.send(()).is_err()) {
                        return;
                    }
                }
                Ok(Task::Remove(files)) => files.iter().for_each(|file| self.payloads.remove(file)),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return,
            }
        }
    }

    fn checkpoint(&self) {
        // A failure leaves the log as it is, and the next one tries again: the writer meets a full disk by itself, and says so.
        if let Err(error) = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
            tracing::warn!("the log is not brought into the database: {error}");
        }
    }

    /// Removes the next file, where it was written for a row that never came, or whose row is gone. False once there is none.
    fn remove_orphan(&self, files: &mut impl Iterator<Item = String>) -> bool {
        let Some(file) = files.next() else { return false };
        let sql = "SELECT 1 FROM inputs WHERE file = ?1 UNION ALL SELECT 1 FROM outputs WHERE file = ?1";
        match self.connection.prepare_cached(sql).and_then(|mut select| select.exists([&file])) {
            Ok(true) => {}
            Ok(false) => self.payloads.remove(&file),
            Err(error) => tracing::warn!("`{file}` of the payloads may be of no job, and stays: {error}"),
        }
        true
    }
}
