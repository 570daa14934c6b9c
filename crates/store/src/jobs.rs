//! The durable queue: jobs in a database of SQLite, and large payloads in files beside it.
//!
//! `flash_jobs` asks it, from tasks: whatever is written is on the disk when the answer comes. One thread writes: what waits for it becomes one
//! transaction with one sync. Reading has connections of its own. Rules are `flash_queue`'s. It knows no worker, no HTTP, and nothing of what
//! an input means; it does nothing by itself: time passes for jobs when [`Jobs::expire`] and [`Jobs::retain`] are called.
//!
//! A future that is dropped takes nothing back: what was asked for may be done all the same. Leases that nobody took are returned.

mod care;
mod clock;
mod error;
mod inbox;
mod memory;
mod open;
mod payload;
mod reader;
mod record;
mod rows;
mod schema;
mod shown;
mod unbegun;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
pub use flash_queue::{Asked as AskedPolicy, Breach, Life, Limits, Policy, State, Timestamp};
use rusqlite::Connection;
use tokio::runtime::Handle;

pub use clock::Clock;
pub use error::{Error, Result};
use inbox::{Command, Inbox, Lane, Patience};
pub use payload::Large;
use payload::{Payloads, Stored};
use reader::Readers;
pub use record::{
    Attempt, Cancelled, Claimed, Counts, Cursor, Ended, Expired, Failure, Filter, Finished, ID_LENGTH, Idempotency, Job, Lease, Listed,
    New, Outcome, PAGE, Page, Ran, Resent, Retained, Submitted, Swept, Webhook,
};
use rows::{Leased, Rows};
pub use shown::Metrics;
use shown::Shown;
use unbegun::Unbegun;

/// How a queue is kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a job is kept after its end.
    pub retention: Duration,
    /// A longer input or output is a file.
    pub inline_payload: usize,
    /// How many bytes of the log are written before commits wait until it is in the database. It may be exceeded while somebody reads an old
    /// state, as a backup does.
    pub log_limit: usize,
    /// What tells the time.
    pub clock: Clock,
    /// What a commit waits for.
    pub synchronous: Synchronous,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            retention: Duration::from_secs(7 * 24 * 3600),
            inline_payload: 64 << 10,
            log_limit: 16 << 20,
            clock: Clock::steady(),
            synchronous: Synchronous::Full,
        }
    }
}

/// What a commit waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synchronous {
    /// The disk: what is accepted is there after the power was cut.
    Full,
    /// Nothing. For a queue that ends with its process, and for tests that show what is lost.
    Off,
}

/// So many jobs are looked at by one sweep or purge, at most: what waits behind it waits no longer than for that.
const CHUNK: usize = 256;
/// And for so long a chunk of deletions goes on.
const MOMENT: Duration = Duration::from_millis(4);

/// The queue. Clones are of the same one; with the last of them it ends, once what waits is written.
#[derive(Clone)]
pub struct Jobs {
    shared: Arc<Shared>,
}

struct Shared {
    inbox: Arc<Inbox>,
    shown: Arc<Shown>,
    readers: Readers,
    payloads: Arc<Payloads>,
    settings: Settings,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Nobody else opens the queue while this is held.
    _lock: std::fs::File,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.inbox.close();
        let threads = std::mem::take(self.threads.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner));
        for thread in threads {
            // A panic was told by the thread that had it.
            drop(thread.join());
        }
    }
}

impl Jobs {
    /// Opens the queue in this folder, and makes it where it is not there. All leases of servers before are void: their jobs are ready again.
    /// Blocks.
    ///
    /// # Errors
    /// Where another server has it, or it cannot be opened, is damaged, or of a newer release. It is left as it was.
    pub fn open(home: &Path, settings: Settings) -> Result<Self> {
        open::open(home, settings).map(|shared| Self { shared: Arc::new(shared) })
    }

    /// The queue's time. What it is told of times is to be by this clock.
    pub fn now(&self) -> Timestamp {
        self.shared.settings.clock.now()
    }

    /// Accepts a job: it is on the disk when this returns.
    ///
    /// # Errors
    /// [`Error::KeyTaken`] where its idempotency key belongs to another request, [`Error::IdTaken`], [`Error::NoId`]; [`Error::Busy`],
    /// [`Error::Full`] and [`Error::Disk`] where it cannot be accepted now.
    pub async fn submit(&self, new: New) -> Result<Submitted> {
        self.submit_and_claim(new, 0).await.map(|(submitted, _)| submitted)
    }

    /// Accepts a job, and leases the first of those of its endpoint that are ready, which it may be itself, with the same commit.
    ///
    /// # Errors
    /// As [`Jobs::submit`]; nothing is leased then.
    pub async fn submit_and_claim(&self, new: New, at_most: usize) -> Result<(Submitted, Vec<Claimed>)> {
        let is_id = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if new.id.is_empty() || new.id.len() > ID_LENGTH || !new.id.bytes().all(is_id) {
            return Err(Error::NoId { id: new.id.chars().take(ID_LENGTH).collect() });
        }
        let input = self.store(&new.input).await?;
        let (file, bytes) = (input.file().map(str::to_owned), new.input.len().max(1));
        let endpoint = new.endpoint.clone();
        let asked = self.ask_leasing(Lane::Endpoint(&endpoint), Patience::Refuse, bytes, move |rows| {
            let submitted = match rows.submit(&new, &input)? {
                Ok(submitted) => submitted,
                Err(error) => return Ok(Err(error)),
            };
            Ok(Ok((submitted, rows.claim(&new.endpoint, at_most)?)))
        });
        let done = asked.await;
        if let Some(file) = file {
            match &done {
                Ok((submitted, _)) if !submitted.existing => {}
                // Whether a row names it is not known. The next start finds out.
                Err(Error::Closed) => {}
                // A commit that failed may be in the log as a whole, and would be found there by the next start.
                Err(Error::Disk { .. } | Error::Other { .. }) => self.remove_with_next_commit(file),
                Ok(_) | Err(_) => self.blocking(move |shared| shared.payloads.remove(&file)).await?,
            }
        }
        let (submitted, leased) = done?;
        Ok((submitted, self.load(leased).await?))
    }

    /// Leases up to so many of the jobs that are ready, in the order of priority, then of arrival. Each may begin when this returns, and is to be
    /// finished: with [`Outcome::Returned`], where it does not begin.
    ///
    /// # Errors
    /// Where the disk fails; nothing is leased then.
    pub async fn claim(&self, endpoint: &str, at_most: usize) -> Result<Vec<Claimed>> {
        let name = endpoint.to_owned();
        let work = move |rows: &mut Rows<'_>| rows.claim(&name, at_most).map(|leased| Ok(((), leased)));
        let ((), leased) = self.ask_leasing(Lane::Endpoint(endpoint), Patience::Refuse, 0, work).await?;
        self.load(leased).await
    }

    /// What became of an attempt. Where the disk fails, this waits until it does not: the outcome is not lost while the server runs.
    ///
    /// # Errors
    /// [`Error::Stale`] where the lease is not in force any more: then nothing is written, and the job is as others have made it.
    pub async fn finish(&self, lease: Lease, outcome: Outcome, ran: Ran) -> Result<Finished> {
        self.finish_and_claim(lease, outcome, ran, "", 0).await.map(|(finished, _)| finished)
    }

    /// As [`Jobs::finish`], and leases the endpoint's next ones with the same commit.
    ///
    /// # Errors
    /// As [`Jobs::finish`]; nothing is leased then.
    pub async fn finish_and_claim(
        &self,
        lease: Lease,
        outcome: Outcome,
        ran: Ran,
        endpoint: &str,
        at_most: usize,
    ) -> Result<(Finished, Vec<Claimed>)> {
        let output = match &outcome {
            Outcome::Completed(output) => Some(self.store_patiently(output).await?),
            Outcome::Failed { .. } | Outcome::Lost { .. } | Outcome::TimedOut | Outcome::Returned => None,
        };
        let file = output.as_ref().and_then(Stored::file).map(str::to_owned);
        let endpoint = endpoint.to_owned();
        let asked = self.ask_leasing(Lane::Leases, Patience::Wait, 0, move |rows| {
            let finished = match rows.finish(lease, &outcome, output.as_ref(), &ran)? {
                Ok(finished) => finished,
                Err(error) => return Ok(Err(error)),
            };
            Ok(Ok((finished, rows.claim(&endpoint, at_most)?)))
        });
        let done = asked.await;
        if let Some(file) = file
            && matches!(done, Err(Error::Stale))
        {
            self.blocking(move |shared| shared.payloads.remove(&file)).await?;
        }
        let (finished, leased) = done?;
        Ok((finished, self.load(leased).await?))
    }

    /// Takes a job back. What its lease stands for, where it has one, is to be stopped, and is not in force any more; `ran` says who has begun it.
    ///
    /// # Errors
    /// Where the disk fails.
    pub async fn cancel(&self, id: &str, ran: Ran) -> Result<Cancelled> {
        let id = id.to_owned();
        self.ask(Lane::Care, Patience::Refuse, 0, move |rows| rows.cancel(&id, &ran).map(Ok)).await
    }

    /// Sends a job again that has failed or ran out of time.
    ///
    /// # Errors
    /// Where the disk fails.
    pub async fn retry(&self, id: &str) -> Result<Resent> {
        let id = id.to_owned();
        self.ask(Lane::Care, Patience::Refuse, 0, move |rows| rows.retry(&id).map(Ok)).await
    }

    /// Takes back all jobs of an endpoint that wait, in steps; what comes meanwhile stays. Gives how many.
    ///
    /// # Errors
    /// Where the disk fails: some may have been taken back.
    pub async fn purge(&self, endpoint: &str) -> Result<usize> {
        let (mut purged, mut upto) = (0, None);
        loop {
            let (name, begun) = (endpoint.to_owned(), Instant::now());
            let asked = self.ask(Lane::Care, Patience::Refuse, 0, move |rows| {
                let upto = upto.unwrap_or_else(|| rows.memory.last_sequence());
                rows.purge(&name, upto, CHUNK).map(|purged| Ok((purged, upto)))
            });
            let (some, last) = asked.await?;
            (purged, upto) = (purged + some, Some(last));
            if some == 0 {
                return Ok(purged);
            }
            // Others write meanwhile, and the log is brought into the database.
            tokio::time::sleep(begun.elapsed()).await;
        }
    }

    /// Lets time pass: delayed jobs whose time has come are ready, and those whose time to live is over end. One step; to be called when
    /// [`Jobs::due`] returns, and again while there is more.
    ///
    /// # Errors
    /// Where the disk fails.
    pub async fn expire(&self) -> Result<Swept> {
        self.expire_of(|_| Ran::default()).await
    }

    /// As [`Jobs::expire`]; `who` says by whom, and since when, a job is run that ends while it is leased. It is not to wait for anything.
    ///
    /// # Errors
    /// Where the disk fails.
    pub async fn expire_of(&self, who: impl Fn(&str) -> Ran + Send + 'static) -> Result<Swept> {
        self.ask(Lane::Care, Patience::Refuse, 0, move |rows| rows.expire(CHUNK, &who).map(Ok)).await
    }

    /// Returns when [`Jobs::expire`] may have something to do: at the next time at which a job is due or has lived long enough. By a clock
    /// that is not the machine's, it looks every 50 ms.
    pub async fn due(&self) {
        let mut due = self.shared.shown.due();
        loop {
            let next = *due.borrow_and_update();
            let changed = due.changed();
            match next {
                None => {
                    if changed.await.is_err() {
                        return;
                    }
                }
                Some(next) if next <= self.now() => return,
                Some(next) => {
                    let wait = next.since(self.now()).min(self.shared.settings.clock.step());
                    drop(tokio::time::timeout(wait, changed).await);
                }
            }
        }
    }

    /// When something is due next, or may be.
    pub fn next_due(&self) -> Option<Timestamp> {
        *self.shared.shown.due().borrow()
    }

    /// Deletes jobs that ended longer ago than the retention says. One step, of some milliseconds; to be called now and then, and again while
    /// there is more.
    ///
    /// # Errors
    /// Where the disk fails.
    pub async fn retain(&self) -> Result<Retained> {
        let retention = self.shared.settings.retention;
        let asked = self.ask(Lane::Care, Patience::Refuse, 0, move |rows| {
            let before = Timestamp(rows.now.0.saturating_sub(i64::try_from(retention.as_millis()).unwrap_or(i64::MAX)));
            rows.retain(before, Instant::now() + MOMENT).map(Ok)
        });
        asked.await
    }

    /// A job, its output and the attempts that failed; `None` where there is none of this id.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub async fn get(&self, id: &str) -> Result<Option<Job>> {
        let id = id.to_owned();
        let read = move |shared: &Shared| {
            let Some((mut job, large)) = shared.look(&id)? else { return Ok(None) };
            if let Some(large) = large {
                job.output = Some(large.read().map_err(|error| Error::of_file(&error))?);
            }
            Ok(Some(job))
        };
        self.blocking(read).await?
    }

    /// As [`Jobs::get`], but for a large output, which is not read yet.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub async fn look(&self, id: &str) -> Result<Option<(Job, Option<Large>)>> {
        let id = id.to_owned();
        self.blocking(move |shared| shared.look(&id)).await?
    }

    /// A job's input; `None` where there is no job of this id, or its input is lost.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub async fn input(&self, id: &str) -> Result<Option<Bytes>> {
        let id = id.to_owned();
        let read = move |shared: &Shared| {
            let stored = shared.readers.read(|connection| reader::input(connection, &id))?;
            match stored.map(|stored| shared.body(stored)).transpose() {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                read => read.map_err(|error| Error::of_file(&error)),
            }
        };
        self.blocking(read).await?
    }

    /// Jobs, the newest first.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub async fn list(&self, filter: Filter) -> Result<Page> {
        self.blocking(move |shared| shared.readers.read(|connection| reader::list(connection, &filter))).await?
    }

    /// How many jobs an endpoint has in each state, as of the last commit. Costs next to nothing.
    pub fn counts(&self, endpoint: &str) -> Counts {
        self.shared.shown.counts(endpoint)
    }

    /// The endpoints of all jobs that are kept, whether they have ended or not, as of the last commit.
    pub fn endpoints(&self) -> Vec<String> {
        self.shared.shown.endpoints()
    }

    /// Ends of jobs that are to be told now, the longest due first. To be settled by [`Jobs::webhook_done`].
    ///
    /// # Errors
    /// Where they cannot be read.
    pub async fn webhooks(&self, at_most: usize) -> Result<Vec<Webhook>> {
        let now = self.now();
        self.blocking(move |shared| shared.readers.read(|connection| reader::webhooks(connection, now, at_most))).await?
    }

    /// A webhook was tried: it is not tried again, or at this time.
    ///
    /// # Errors
    /// Where the disk fails: it is due as before.
    pub async fn webhook_done(&self, id: &str, again: Option<Timestamp>) -> Result<()> {
        let id = id.to_owned();
        self.ask(Lane::Care, Patience::Refuse, 0, move |rows| rows.webhook_done(&id, again).map(Ok)).await
    }

    /// How the queue has done since it was opened.
    pub fn metrics(&self) -> Metrics {
        self.shared.shown.metrics()
    }

    /// Has the writer do something, and waits for the commit.
    async fn ask<T: Send + 'static>(
        &self,
        lane: Lane<'_>,
        patience: Patience,
        bytes: usize,
        work: impl FnMut(&mut Rows<'_>) -> rusqlite::Result<Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = tokio::sync::oneshot::channel();
        let work = Box::new(writer::Asked { work, found: None, seal: |found| found, answer });
        let runtime = Handle::try_current().ok();
        self.shared.inbox.push(lane, Command { work, patience, bytes, runtime })?;
        answered.await.unwrap_or(Err(Error::Closed))
    }

    /// The same for work that leases jobs, among other things.
    async fn ask_leasing<T: Send + 'static>(
        &self,
        lane: Lane<'_>,
        patience: Patience,
        bytes: usize,
        work: impl FnMut(&mut Rows<'_>) -> rusqlite::Result<Result<(T, Vec<Leased>)>> + Send + 'static,
    ) -> Result<(T, Unbegun)> {
        let (answer, answered) = tokio::sync::oneshot::channel();
        let inbox = Arc::clone(&self.shared.inbox);
        let seal = |(found, leased)| (found, Unbegun { leased, inbox });
        let work = Box::new(writer::Asked { work, found: None, seal, answer });
        let runtime = Handle::try_current().ok();
        self.shared.inbox.push(lane, Command { work, patience, bytes, runtime })?;
        answered.await.unwrap_or(Err(Error::Closed))
    }

    /// Removes a file that no row names, once a commit is written over the one that failed.
    fn remove_with_next_commit(&self, file: String) {
        let (answer, _) = tokio::sync::oneshot::channel();
        let work = move |rows: &mut Rows<'_>| {
            rows.unnamed.push(file.clone());
            Ok(Ok(()))
        };
        let work = Box::new(writer::Asked { work, found: None, seal: |found| found, answer });
        // Where the queue is closed, the next start removes it.
        drop(self.shared.inbox.push(Lane::Care, Command { work, patience: Patience::Wait, bytes: 0, runtime: None }));
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Shared) -> T + Send + 'static) -> Result<T> {
        let shared = Arc::clone(&self.shared);
        let done = tokio::task::spawn_blocking(move || work(&shared)).await;
        done.map_err(|error| Error::Other { why: error.to_string() })
    }

    /// Puts a payload where it belongs: a large one is a file now, on the disk.
    async fn store(&self, body: &Bytes) -> Result<Stored> {
        if body.len() <= self.shared.settings.inline_payload {
            return Ok(Stored::Inline(body.clone()));
        }
        let body = body.clone();
        let write = move |shared: &Shared| {
            let written = shared.payloads.write(&body).map_err(|error| Error::of_file(&error));
            written.inspect_err(|error| shared.shown.disk_failed(error))
        };
        self.blocking(write).await?
    }

    async fn store_patiently(&self, body: &Bytes) -> Result<Stored> {
        loop {
            match self.store(body).await {
                Err(error) if error.is_of_the_disk() && !self.shared.inbox.is_closed() => tokio::time::sleep(writer::REST).await,
                done => return done,
            }
        }
    }

    /// Leased jobs with their inputs. One whose file is gone has failed; one whose file cannot be read now is tried again.
    async fn load(&self, unbegun: Unbegun) -> Result<Vec<Claimed>> {
        let mut inputs = Vec::with_capacity(unbegun.leased.len());
        for leased in &unbegun.leased {
            inputs.push(match &leased.input {
                Stored::Inline(body) => Ok(body.clone()),
                stored @ Stored::File { .. } => {
                    let stored = stored.clone();
                    self.blocking(move |shared| shared.body(stored)).await?
                }
            });
        }
        // From here on nothing waits: all of them come to the caller.
        let mut claimed = Vec::with_capacity(inputs.len());
        for (Leased { id, lease, function, policy, life, arrived, .. }, input) in unbegun.take().into_iter().zip(inputs) {
            match input {
                Ok(input) => {
                    let (deadline, failures) = (life.deadline, life.failures);
                    claimed.push(Claimed { id, lease, function, input, policy, arrived, deadline, failures });
                }
                Err(error) => {
                    let outcome = if error.kind() == std::io::ErrorKind::NotFound {
                        let error = format!("the job's input is lost: {error}");
                        Outcome::Failed { kind: Failure::Unbound, error, traceback: String::new() }
                    } else {
                        Outcome::Lost { why: format!("the job's input cannot be read: {error}") }
                    };
                    unbegun::end(&self.shared.inbox, lease, outcome);
                }
            }
        }
        Ok(claimed)
    }
}

impl Shared {
    fn look(&self, id: &str) -> Result<Option<(Job, Option<Large>)>> {
        // Between the row and its file the job may be deleted: then it is looked for once more, and not there.
        for last in [false, true] {
            let Some((mut job, output)) = self.readers.read(|connection| reader::job(connection, id))? else { return Ok(None) };
            let (name, bytes) = match output {
                Some(Stored::File { name, bytes }) => (name, bytes),
                Some(Stored::Inline(body)) => {
                    job.output = Some(body);
                    return Ok(Some((job, None)));
                }
                None => return Ok(Some((job, None))),
            };
            match self.payloads.large(&name, bytes) {
                Ok(large) => return Ok(Some((job, Some(large)))),
                Err(_) if !last => {}
                Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::InvalidData) => {
                    job.lost = Some(format!("the job has completed, but its output is lost: {error}"));
                    return Ok(Some((job, None)));
                }
                Err(error) => return Err(Error::of_file(&error)),
            }
        }
        Ok(None)
    }

    fn body(&self, stored: Stored) -> std::io::Result<Bytes> {
        match stored {
            Stored::Inline(body) => Ok(body),
            Stored::File { name, .. } => self.payloads.read(&name),
        }
    }
}

fn connect(path: &Path, synchronous: Synchronous) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let synchronous = match synchronous {
        Synchronous::Full => "FULL",
        Synchronous::Off => "OFF",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    // Plans do not depend on values: else SQLite would make some of them anew at each call.
    connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(connection)
}

#[cfg(test)]
mod tests;
