//! What commands do to rows, within the transaction of their batch: the rule is asked first, and rows follow it.

use std::time::Instant;

use flash_queue::{Event, Life, Place, Policy, Refused, State, Step, Timestamp, step};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::error::{Error, Result};
use super::memory::Memory;
use super::payload::Stored;
use super::record::{Cancelled, Ended, Expired, Failure, Finished, Lease, New, Outcome, Ran, Resent, Retained, Submitted, Swept};
use super::schema;

/// A transaction, and what is known beside it.
pub(super) struct Rows<'a> {
    pub(super) connection: &'a Connection,
    pub(super) memory: &'a mut Memory,
    pub(super) now: Timestamp,
    /// Files that no row names any more, once this is on the disk.
    pub(super) unnamed: &'a mut Vec<String>,
}

/// A claimed job whose input may still be in a file.
pub(super) struct Leased {
    pub(super) id: String,
    pub(super) lease: Lease,
    pub(super) function: String,
    pub(super) input: Stored,
    pub(super) policy: Policy,
    pub(super) life: Life,
    pub(super) arrived: Timestamp,
}

/// What rules need of a job's row, and where it is.
struct Found {
    sequence: i64,
    rank: i64,
    endpoint: i64,
    life: Life,
    policy: Policy,
}

pub(super) const LIFE: &str =
    "sequence, endpoint, state, rank, deadline, attempt, failures, raised, losses, priority, low, attempts, execution_ms, ttl_ms, delay_ms";
/// How many columns [`LIFE`] has.
pub(super) const LIFE_COLUMNS: usize = 15;

pub(super) fn life(row: &Row<'_>) -> rusqlite::Result<Life> {
    Ok(Life {
        state: schema::state(row.get(2)?)?,
        due: Timestamp(row.get(3)?),
        deadline: Timestamp(row.get(4)?),
        attempt: row.get(5)?,
        failures: row.get(6)?,
        raised: row.get(7)?,
        losses: row.get(8)?,
    })
}

pub(super) fn policy(row: &Row<'_>) -> rusqlite::Result<Policy> {
    let milliseconds = |index| row.get(index).map(std::time::Duration::from_millis);
    Ok(Policy {
        priority: row.get(9)?,
        low_priority: row.get(10)?,
        attempts: row.get(11)?,
        execution_timeout: milliseconds(12)?,
        ttl: milliseconds(13)?,
        delay: milliseconds(14)?,
    })
}

fn found(row: &Row<'_>) -> rusqlite::Result<Found> {
    Ok(Found { sequence: row.get(0)?, rank: row.get(3)?, endpoint: row.get(1)?, life: life(row)?, policy: policy(row)? })
}

fn whole(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Places are below this: a rank has one beside the priority.
const PLACES: i64 = 1 << 48;

/// Where a job stands among those in its state.
fn rank(life: &Life, policy: &Policy, place: i64, now: Timestamp) -> i64 {
    match life.state {
        State::Ready | State::Leased => -i64::from(policy.priority) * PLACES + place,
        State::Delayed => life.due.0,
        State::Completed | State::Failed | State::Cancelled | State::TimedOut => now.0,
    }
}

impl Rows<'_> {
    pub(super) fn submit(&mut self, new: &New, input: &Stored) -> rusqlite::Result<Result<Submitted>> {
        let endpoint = self.memory.endpoint(self.connection, &new.endpoint)?;
        if let Some(idempotency) = &new.idempotency {
            let sql = "SELECT id, state, digest FROM jobs WHERE endpoint = ?1 AND key = ?2";
            let known = self.connection.prepare_cached(sql)?.query_row(params![endpoint, idempotency.key], |row| {
                Ok((row.get::<_, String>(0)?, schema::state(row.get(1)?)?, row.get::<_, [u8; 32]>(2)?))
            });
            if let Some((id, state, digest)) = known.optional()? {
                let same = digest == idempotency.digest;
                return Ok(if same { Ok(Submitted { id, state, existing: true }) } else { Err(Error::KeyTaken { job: id }) });
            }
        }
        if self.connection.prepare_cached("SELECT 1 FROM jobs WHERE id = ?1")?.exists([&new.id])? {
            return Ok(Err(Error::IdTaken { id: new.id.clone() }));
        }
        let (life, policy) = (Life::begin(&new.policy, self.now), &new.policy);
        let sequence = self.memory.next_sequence();
        let key = new.idempotency.as_ref();
        let sql = "INSERT INTO jobs (sequence, id, endpoint, state, rank, deadline, attempt, failures, raised, losses, arrived, function,
                priority, low, attempts, execution_ms, ttl_ms, delay_ms, key, digest)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0, 0, 0, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";
        self.connection.prepare_cached(sql)?.execute(params![
            sequence,
            new.id,
            endpoint,
            schema::number(life.state),
            rank(&life, policy, sequence, self.now),
            life.deadline.0,
            self.now.0,
            new.function,
            policy.priority,
            policy.low_priority,
            policy.attempts,
            whole(policy.execution_timeout),
            whole(policy.ttl),
            whole(policy.delay),
            key.map(|key| &key.key),
            key.map(|key| key.digest),
        ])?;
        self.store("INSERT INTO inputs (sequence, bytes, body, file) VALUES (?1, ?2, ?3, ?4)", sequence, input)?;
        if let Some(url) = &new.webhook {
            self.connection
                .prepare_cached("INSERT INTO webhooks (sequence, url, tries) VALUES (?1, ?2, 0)")?
                .execute(params![sequence, url])?;
        }
        self.memory.count(endpoint, None, Some(life.state));
        self.memory.note_due(&life);
        Ok(Ok(Submitted { id: new.id.clone(), state: life.state, existing: false }))
    }

    fn store(&self, sql: &str, sequence: i64, stored: &Stored) -> rusqlite::Result<()> {
        let mut insert = self.connection.prepare_cached(sql)?;
        match stored {
            Stored::Inline(body) => insert.execute(params![sequence, body.len(), &body[..], None::<String>])?,
            Stored::File { name, bytes } => insert.execute(params![sequence, bytes, None::<&[u8]>, name])?,
        };
        Ok(())
    }

    /// Leases the first of those that are ready.
    pub(super) fn claim(&mut self, endpoint: &str, at_most: usize) -> rusqlite::Result<Vec<Leased>> {
        let Some(endpoint) = self.memory.known_endpoint(endpoint) else { return Ok(Vec::new()) };
        if at_most == 0 || self.memory.counts(endpoint).of(State::Ready) == 0 {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT {LIFE}, id, function, arrived, i.bytes, i.body, i.file FROM jobs JOIN inputs i USING (sequence)
            WHERE endpoint = ?1 AND state = 0 ORDER BY rank, sequence LIMIT ?2"
        );
        let mut select = self.connection.prepare_cached(&sql)?;
        let ready = select.query_map(params![endpoint, at_most], |row| {
            let (id, function) = (row.get(LIFE_COLUMNS)?, row.get(LIFE_COLUMNS + 1)?);
            let arrived = Timestamp(row.get(LIFE_COLUMNS + 2)?);
            Ok((found(row)?, id, function, arrived, Stored::read(row, LIFE_COLUMNS + 3)?))
        })?;
        let ready: Vec<(Found, String, String, Timestamp, Stored)> = ready.collect::<rusqlite::Result<_>>()?;
        let mut leased = Vec::with_capacity(ready.len());
        for (found, id, function, arrived, input) in ready {
            // The index has those alone that are ready, and the rule leases each of them.
            let Ok(Step { life, .. }) = step(&found.life, &found.policy, Event::Lease, self.now, 0) else { continue };
            // It keeps its rank: where the lease is returned, it is where it was.
            let sql = "UPDATE jobs SET state = ?2, attempt = ?3, begun = ?4 WHERE sequence = ?1";
            self.connection.prepare_cached(sql)?.execute(params![found.sequence, schema::number(life.state), life.attempt, self.now.0,])?;
            self.memory.count(endpoint, Some(State::Ready), Some(life.state));
            let lease = Lease { sequence: found.sequence, attempt: life.attempt };
            leased.push(Leased { id, lease, function, input, policy: found.policy, life, arrived });
        }
        Ok(leased)
    }

    /// What became of an attempt. The output, where there is one, is `output`.
    pub(super) fn finish(
        &mut self,
        lease: Lease,
        outcome: &Outcome,
        output: Option<&Stored>,
        ran: &Ran,
    ) -> rusqlite::Result<Result<Finished>> {
        let Some(found) = self.find("sequence", lease.sequence)? else { return Ok(self.stale()) };
        let attempt = lease.attempt;
        let (event, ended, error, traceback) = match outcome {
            Outcome::Completed(_) => (Event::Completed(attempt), None, "", ""),
            Outcome::Returned => (Event::Returned(attempt), None, "", ""),
            Outcome::Failed { kind: Failure::Raised, error, traceback } => {
                (Event::Raised(attempt), Some(Ended::Failed(Failure::Raised)), &**error, &**traceback)
            }
            Outcome::Failed { kind: kind @ (Failure::Unbound | Failure::Unserialisable), error, traceback } => {
                (Event::Refused(attempt), Some(Ended::Failed(*kind)), &**error, &**traceback)
            }
            Outcome::Lost { why } => (Event::Lost(attempt), Some(Ended::Lost), &**why, ""),
            Outcome::TimedOut => (Event::OutOfTime(attempt), Some(Ended::TimedOut), "", ""),
        };
        let jitter = self.memory.dice();
        let done = match step(&found.life, &found.policy, event, self.now, jitter) {
            Ok(done) => done,
            Err(Refused::Stale | Refused::Ended | Refused::NotFailed | Refused::NotYet) => return Ok(self.stale()),
        };
        if done.noted.is_some()
            && let Some(ended) = ended
        {
            let limit = format!("the attempt ran for longer than {} ms, its execution timeout", found.policy.execution_timeout.as_millis());
            let error = if ended == Ended::TimedOut { &limit } else { error };
            self.keep_attempt(lease, ended, error, traceback, ran)?;
        }
        if let Some(output) = output
            && done.life.state == State::Completed
        {
            self.store("INSERT INTO outputs (sequence, bytes, body, file) VALUES (?1, ?2, ?3, ?4)", lease.sequence, output)?;
        }
        let begun = match outcome {
            Outcome::Returned => None,
            _ => ran.begun,
        };
        self.note_run(lease.sequence, ran.worker.as_deref(), begun)?;
        let webhook = self.write(&found, &done)?;
        let due = (done.life.state == State::Delayed).then_some(done.life.due);
        Ok(Ok(Finished { state: done.life.state, due, now: self.now, webhook }))
    }

    /// Who had the job last, and since when, as far as that is told.
    fn note_run(&self, sequence: i64, worker: Option<&str>, begun: Option<Timestamp>) -> rusqlite::Result<()> {
        let sql = "UPDATE jobs SET worker = coalesce(?2, worker), begun = coalesce(?3, begun) WHERE sequence = ?1";
        if worker.is_some() || begun.is_some() {
            self.connection.prepare_cached(sql)?.execute(params![sequence, worker, begun.map(|time| time.0)])?;
        }
        Ok(())
    }

    fn stale<T>(&mut self) -> Result<T> {
        self.memory.refused += 1;
        Err(Error::Stale)
    }

    fn keep_attempt(&self, lease: Lease, ended: Ended, error: &str, traceback: &str, ran: &Ran) -> rusqlite::Result<()> {
        let sql =
            "INSERT INTO attempts (sequence, attempt, ended, error, traceback, worker, begun, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        self.connection.prepare_cached(sql)?.execute(params![
            lease.sequence,
            lease.attempt,
            ended.as_str(),
            cut(error, ERROR_LENGTH),
            cut(traceback, TRACEBACK_LENGTH),
            ran.worker,
            ran.begun.map(|time| time.0),
            self.now.0,
        ])?;
        Ok(())
    }

    pub(super) fn cancel(&mut self, id: &str, ran: &Ran) -> rusqlite::Result<Cancelled> {
        let Some(found) = self.find("id", id)? else { return Ok(Cancelled::Unknown) };
        let Ok(done) = step(&found.life, &found.policy, Event::Cancel, self.now, 0) else { return Ok(Cancelled::Ended(found.life.state)) };
        self.write(&found, &done)?;
        let stop = done.stop.map(|attempt| Lease { sequence: found.sequence, attempt });
        if stop.is_some() {
            self.note_run(found.sequence, ran.worker.as_deref(), ran.begun)?;
        }
        Ok(stop.map_or(Cancelled::Waiting, Cancelled::Leased))
    }

    pub(super) fn retry(&mut self, id: &str) -> rusqlite::Result<Resent> {
        let Some(found) = self.find("id", id)? else { return Ok(Resent::Unknown) };
        let Ok(done) = step(&found.life, &found.policy, Event::Retry, self.now, 0) else { return Ok(Resent::NotFailed(found.life.state)) };
        self.write(&found, &done)?;
        Ok(Resent::Ready)
    }

    /// Takes back some of the endpoint's jobs that wait. Gives how many; none is left once it gives 0.
    pub(super) fn purge(&mut self, endpoint: &str, upto: i64, at_most: usize) -> rusqlite::Result<usize> {
        let Some(endpoint) = self.memory.known_endpoint(endpoint) else { return Ok(0) };
        let sql = format!("SELECT {LIFE} FROM jobs WHERE endpoint = ?1 AND state IN (0, 1) AND sequence <= ?2 LIMIT ?3");
        let waiting = self.all(&sql, params![endpoint, upto, at_most])?;
        for found in &waiting {
            if let Ok(done) = step(&found.life, &found.policy, Event::Purge, self.now, 0) {
                self.write(found, &done)?;
            }
        }
        Ok(waiting.len())
    }

    /// What time has done to some of the jobs.
    pub(super) fn expire(&mut self, at_most: usize, who: &impl Fn(&str) -> Ran) -> rusqlite::Result<Swept> {
        let mut swept = Swept::default();
        let mut left = at_most;
        for endpoint in self.memory.endpoints() {
            if self.memory.counts(endpoint).of(State::Delayed) == 0 {
                continue;
            }
            let sql = format!("SELECT {LIFE} FROM jobs WHERE endpoint = ?1 AND state = 1 AND rank <= ?2 ORDER BY rank LIMIT ?3");
            let due = self.all(&sql, params![endpoint, self.now.0, left])?;
            for found in &due {
                if let Ok(done) = step(&found.life, &found.policy, Event::Due, self.now, 0) {
                    self.write(found, &done)?;
                }
            }
            if !due.is_empty() {
                swept.ready.push(self.memory.name(endpoint));
            }
            left -= due.len();
        }
        let sql = format!("SELECT {LIFE} FROM jobs WHERE ended IS NULL AND deadline <= ?1 ORDER BY deadline LIMIT ?2");
        let over = self.all(&sql, params![self.now.0, left])?;
        for found in &over {
            let Ok(done) = step(&found.life, &found.policy, Event::Expire, self.now, 0) else { continue };
            self.write(found, &done)?;
            let mut select = self.connection.prepare_cached("SELECT id FROM jobs WHERE sequence = ?1")?;
            let id: String = select.query_row([found.sequence], |row| row.get(0))?;
            let lease = done.stop.map(|attempt| Lease { sequence: found.sequence, attempt });
            if lease.is_some() {
                let ran = who(&id);
                self.note_run(found.sequence, ran.worker.as_deref(), ran.begun)?;
            }
            swept.expired.push(Expired { id, endpoint: self.memory.name(found.endpoint), lease });
        }
        swept.more = left == over.len();
        if !swept.more {
            self.memory.due = self.next_due()?;
        }
        Ok(swept)
    }

    fn next_due(&self) -> rusqlite::Result<Option<Timestamp>> {
        let sql = "SELECT min(deadline) FROM jobs WHERE ended IS NULL";
        let mut next: Option<i64> = self.connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        for endpoint in self.memory.endpoints() {
            let sql = "SELECT min(rank) FROM jobs WHERE endpoint = ?1 AND state = 1";
            let due: Option<i64> = self.connection.prepare_cached(sql)?.query_row([endpoint], |row| row.get(0))?;
            next = next.into_iter().chain(due).min();
        }
        Ok(next.map(Timestamp))
    }

    /// Deletes jobs that ended before this, until it is that late.
    pub(super) fn retain(&mut self, before: Timestamp, until: Instant) -> rusqlite::Result<Retained> {
        let mut retained = Retained::default();
        for endpoint in self.memory.endpoints() {
            for state in State::ALL.into_iter().filter(|state| state.has_ended()) {
                loop {
                    if Instant::now() >= until {
                        return Ok(Retained { more: true, ..retained });
                    }
                    let some = if self.memory.counts(endpoint).of(state) == 0 { 0 } else { self.retain_some(endpoint, state, before)? };
                    if some == 0 {
                        break;
                    }
                    retained.removed += some;
                }
            }
        }
        Ok(retained)
    }

    fn retain_some(&mut self, endpoint: i64, state: State, before: Timestamp) -> rusqlite::Result<usize> {
        let sql = format!("SELECT {LIFE} FROM jobs WHERE endpoint = ?1 AND state = ?2 AND rank < ?3 ORDER BY rank LIMIT 8");
        let old = self.all(&sql, params![endpoint, schema::number(state), before.0])?;
        for found in &old {
            self.delete(found.sequence)?;
            self.memory.count(endpoint, Some(state), None);
            self.memory.count_retries(endpoint, found.life.retries(), 0);
        }
        Ok(old.len())
    }

    fn delete(&mut self, sequence: i64) -> rusqlite::Result<()> {
        self.delete_payload("DELETE FROM inputs WHERE sequence = ?1 RETURNING file", sequence)?;
        self.delete_payload("DELETE FROM outputs WHERE sequence = ?1 RETURNING file", sequence)?;
        for table in ["attempts", "webhooks", "jobs"] {
            self.connection.prepare_cached(&format!("DELETE FROM {table} WHERE sequence = ?1"))?.execute([sequence])?;
        }
        Ok(())
    }

    fn delete_payload(&mut self, sql: &str, sequence: i64) -> rusqlite::Result<()> {
        let mut delete = self.connection.prepare_cached(sql)?;
        let files = delete.query_map([sequence], |row| row.get::<_, Option<String>>(0))?;
        for file in files {
            self.unnamed.extend(file?);
        }
        Ok(())
    }

    /// Voids all leases. Gives how many there were.
    pub(super) fn void(&mut self) -> rusqlite::Result<usize> {
        let mut voided = 0;
        for endpoint in self.memory.endpoints() {
            let sql = format!("SELECT {LIFE} FROM jobs WHERE endpoint = ?1 AND state = 2");
            for found in self.all(&sql, [endpoint])? {
                let Ok(done) = step(&found.life, &found.policy, Event::Void, self.now, 0) else { continue };
                let lease = Lease { sequence: found.sequence, attempt: found.life.attempt };
                self.keep_attempt(lease, Ended::Void, "the server ended while the job was leased", "", &Ran::default())?;
                self.write(&found, &done)?;
                voided += 1;
            }
        }
        Ok(voided)
    }

    /// A webhook is over, or due again.
    pub(super) fn webhook_done(&mut self, id: &str, again: Option<Timestamp>) -> rusqlite::Result<()> {
        let sql = "UPDATE webhooks SET due = ?2, tries = tries + 1 WHERE sequence = (SELECT sequence FROM jobs WHERE id = ?1) AND due IS NOT NULL";
        self.connection.prepare_cached(sql)?.execute(params![id, again.map(|time| time.0)])?;
        Ok(())
    }

    fn find(&self, column: &str, value: impl rusqlite::ToSql) -> rusqlite::Result<Option<Found>> {
        let sql = format!("SELECT {LIFE} FROM jobs WHERE {column} = ?1");
        self.connection.prepare_cached(&sql)?.query_row([value], found).optional()
    }

    fn all(&self, sql: &str, values: impl rusqlite::Params) -> rusqlite::Result<Vec<Found>> {
        self.connection.prepare_cached(sql)?.query_map(values, found)?.collect()
    }

    /// Makes the row what the rule has said. True where it has a webhook that is due now, or no longer.
    fn write(&mut self, found: &Found, done: &Step) -> rusqlite::Result<bool> {
        let life = &done.life;
        let place = match (done.place, found.life.state) {
            (Place::Last, _) => self.memory.next_sequence(),
            (Place::Kept, State::Ready | State::Leased) => found.rank.rem_euclid(PLACES),
            (Place::Kept, State::Delayed | State::Completed | State::Failed | State::Cancelled | State::TimedOut) => found.sequence,
        };
        let ended = life.state.has_ended().then_some(self.now.0);
        let sql = "UPDATE jobs SET state = ?2, rank = ?3, deadline = ?4, attempt = ?5, failures = ?6, raised = ?7, losses = ?8, ended = ?9
            WHERE sequence = ?1";
        self.connection.prepare_cached(sql)?.execute(params![
            found.sequence,
            schema::number(life.state),
            rank(life, &found.policy, place, self.now),
            life.deadline.0,
            life.attempt,
            life.failures,
            life.raised,
            life.losses,
            ended,
        ])?;
        let mut webhook = false;
        if ended.is_some() != found.life.state.has_ended() {
            let due = "UPDATE webhooks SET due = ?2, tries = 0 WHERE sequence = ?1";
            webhook = self.connection.prepare_cached(due)?.execute(params![found.sequence, ended])? > 0;
        }
        self.memory.count(found.endpoint, Some(found.life.state), Some(life.state));
        self.memory.count_retries(found.endpoint, found.life.retries(), life.retries());
        self.memory.note_due(life);
        Ok(webhook)
    }
}

/// The longest error that is kept of an attempt.
const ERROR_LENGTH: usize = 16 << 10;
/// The longest traceback.
const TRACEBACK_LENGTH: usize = 64 << 10;

/// A text that is too long loses its middle: its ends tell most.
fn cut(text: &str, limit: usize) -> std::borrow::Cow<'_, str> {
    if text.len() <= limit {
        return text.into();
    }
    let (head, tail) = (text.floor_char_boundary(limit / 2), text.ceil_char_boundary(text.len() - limit / 2));
    format!("{}\n... {} bytes left out ...\n{}", &text[..head], tail - head, &text[tail..]).into()
}
