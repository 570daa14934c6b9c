//! The one thread that writes: what waits becomes one transaction, and who waits is told after its commit.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::hooks::Wal;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::care::Care;
use super::clock::Clock;
use super::error::{Error, Result, told};
use super::inbox::{Command, Inbox, Patience, Work};
use super::memory::Memory;
use super::rows::Rows;
use super::shown::Shown;

/// How long a disk that failed is left alone where nothing new comes.
pub(super) const REST: Duration = Duration::from_millis(100);

thread_local! {
    /// How long the log is, as of the last commit of the thread that writes: SQLite tells it to a function without a context.
    static LOG_PAGES: Cell<u32> = const { Cell::new(0) };
}

pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) memory: Memory,
    /// Memory is not what the rows say.
    pub(super) outdated: bool,
    pub(super) inbox: Arc<Inbox>,
    pub(super) shown: Arc<Shown>,
    pub(super) care: Care,
    pub(super) clock: Clock,
}

/// However the writer ends, nobody waits for it.
struct Closing(Arc<Inbox>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.clear();
    }
}

/// Has SQLite tell how long the log is, in the place of its own rule, which would have commits wait for checkpoints.
pub(super) fn follow_log(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.wal_hook(Some(|_: &mut Wal, pages: i32| {
        LOG_PAGES.set(pages.unsigned_abs());
        Ok(())
    }))
}

impl Writer {
    /// Writes until the inbox is closed and empty.
    pub(super) fn run(mut self) {
        let _closing = Closing(Arc::clone(&self.inbox));
        let mut kept: Vec<Command> = Vec::new();
        loop {
            let mut batch = std::mem::take(&mut kept);
            if batch.is_empty() {
                let Some(taken) = self.inbox.take() else { return };
                batch = taken;
            } else {
                self.inbox.pause(REST);
                if self.inbox.is_closed() {
                    // The last try.
                    for command in &mut batch {
                        command.patience = Patience::Refuse;
                    }
                }
                batch.extend(self.inbox.take_waiting());
            }
            kept = self.write(batch);
        }
    }

    /// Gives those back that are to be tried again.
    fn write(&mut self, mut batch: Vec<Command>) -> Vec<Command> {
        match self.transact(&mut batch) {
            Ok(()) => {
                tell(batch);
                self.care.log_has(LOG_PAGES.get());
                Vec::new()
            }
            Err(error) if error.is_of_the_disk() || batch.len() == 1 => {
                self.shown.disk_failed(&error);
                let (kept, refused): (Vec<_>, Vec<_>) =
                    batch.into_iter().partition(|command| error.is_of_the_disk() && command.patience == Patience::Wait);
                refused.into_iter().for_each(|command| command.work.settle(Err(error.clone())));
                kept
            }
            // One of them cannot be written, whatever the disk does: it alone is to fail.
            Err(_) => batch.into_iter().flat_map(|command| self.write(vec![command])).collect(),
        }
    }

    fn transact(&mut self, batch: &mut [Command]) -> Result<()> {
        let begun = Instant::now();
        let mut unnamed = Vec::new();
        let done = self.transact_rows(batch, &mut unnamed);
        self.outdated = done.is_err();
        let changed = done.map_err(|error| told(&error))?;
        self.shown.committed(&changed, batch.len(), begun.elapsed(), &self.memory);
        self.care.remove(unnamed);
        Ok(())
    }

    fn transact_rows(
        &mut self,
        batch: &mut [Command],
        unnamed: &mut Vec<String>,
    ) -> rusqlite::Result<Vec<(String, super::record::Counts)>> {
        if self.outdated {
            self.memory = Memory::load(&self.connection, &self.memory)?;
        }
        let now = self.clock.now();
        let transaction = Transaction::new(&mut self.connection, TransactionBehavior::Immediate)?;
        let mut rows = Rows { connection: &transaction, memory: &mut self.memory, now, unnamed };
        for command in batch {
            command.work.apply(&mut rows)?;
        }
        let changed = self.memory.write_counts(&transaction)?;
        let last = self.memory.last_sequence();
        transaction.prepare_cached("UPDATE clock SET time = max(time, ?1), last = max(last, ?2)")?.execute([now.0, last])?;
        transaction.commit()?;
        Ok(changed)
    }
}

/// Commands that are on the disk. Who waits is told, wherever this is dropped.
struct Done(Vec<Command>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.drain(..).for_each(|command| command.work.settle(Ok(())));
    }
}

/// Tells who waits for a batch, on the runtime where they do: one wake-up for all of them, where each would be a system call from here.
fn tell(mut batch: Vec<Command>) {
    while let Some(runtime) = batch.iter().find_map(|command| command.runtime.clone()) {
        let waits = |command: &mut Command| command.runtime.as_ref().is_some_and(|other| other.id() == runtime.id());
        let done = Done(batch.extract_if(.., waits).collect());
        // Where that runtime has ended, this drops it at once.
        runtime.spawn(async move { drop(done) });
    }
    drop(Done(batch));
}

/// Work that is a closure, and a channel to whoever waits, who gets what `seal` makes of the answer once it is on the disk.
pub(super) struct Asked<F, T, S, U> {
    pub(super) work: F,
    pub(super) found: Option<Result<T>>,
    pub(super) seal: S,
    pub(super) answer: tokio::sync::oneshot::Sender<Result<U>>,
}

impl<F, T, S, U> Work for Asked<F, T, S, U>
where
    F: FnMut(&mut Rows<'_>) -> rusqlite::Result<Result<T>> + Send,
    T: Send,
    S: FnOnce(T) -> U + Send,
    U: Send,
{
    fn apply(&mut self, rows: &mut Rows<'_>) -> rusqlite::Result<()> {
        self.found = Some((self.work)(rows)?);
        Ok(())
    }

    fn settle(self: Box<Self>, outcome: Result<()>) {
        let Self { found, seal, answer, .. } = *self;
        // Who does not wait any more has gone; what was asked for is done all the same.
        drop(answer.send(outcome.and_then(|()| found.unwrap_or(Err(Error::Closed))).map(seal)));
    }
}
