//! Reading beside the writer: connections of their own, which never wait for it nor keep it waiting.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use flash_queue::{State, Timestamp};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params_from_iter, types::Value};

use super::error::{Result, told};
use super::payload::Stored;
use super::record::{Attempt, Cursor, Ended, Filter, Job, Lease, Listed, PAGE, Page, Ran, Webhook};
use super::rows::{LIFE, LIFE_COLUMNS, life, policy};
use super::schema;

/// So many connections are kept for the next who reads.
const KEPT: usize = 4;

pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), idle: Mutex::default() }
    }

    /// Reads one state of the database. Blocks.
    pub(super) fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => open(&self.path).map_err(|error| told(&error))?,
        };
        // One transaction, so that all that is read is of one moment.
        let done = connection.unchecked_transaction().and_then(|transaction| work(&transaction));
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if done.is_ok() && idle.len() < KEPT {
            idle.push(connection);
        }
        done.map_err(|error| told(&error))
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// A job, and its output where that is kept.
pub(super) fn job(connection: &Connection, id: &str) -> rusqlite::Result<Option<(Job, Option<Stored>)>> {
    let sql = format!(
        "SELECT {LIFE}, id, function, arrived, begun, ended, worker, e.name, i.bytes
        FROM jobs JOIN endpoints e ON e.number = endpoint JOIN inputs i USING (sequence) WHERE id = ?1"
    );
    let found = connection.prepare_cached(&sql)?.query_row([id], |row| {
        let (sequence, life): (i64, _) = (row.get(0)?, life(row)?);
        let time = |index| row.get::<_, Option<i64>>(LIFE_COLUMNS + index).map(|time| time.map(Timestamp));
        let lease = (life.state == State::Leased).then_some(Lease { sequence, attempt: life.attempt });
        let job = Job {
            id: row.get(LIFE_COLUMNS)?,
            endpoint: row.get(LIFE_COLUMNS + 6)?,
            function: row.get(LIFE_COLUMNS + 1)?,
            policy: policy(row)?,
            life,
            lease,
            arrived: time(2)?.unwrap_or_default(),
            begun: time(3)?,
            ended: time(4)?,
            worker: row.get(LIFE_COLUMNS + 5)?,
            output: None,
            lost: None,
            input_bytes: row.get(LIFE_COLUMNS + 7)?,
            attempts: Vec::new(),
        };
        Ok((sequence, job))
    });
    let Some((sequence, mut job)) = found.optional()? else { return Ok(None) };
    let output = if job.life.state == State::Completed {
        let sql = "SELECT bytes, body, file FROM outputs WHERE sequence = ?1";
        connection.prepare_cached(sql)?.query_row([sequence], |row| Stored::read(row, 0)).optional()?
    } else {
        None
    };
    if job.life.attempt > 0 {
        job.attempts = attempts(connection, sequence)?;
    }
    Ok(Some((job, output)))
}

fn attempts(connection: &Connection, sequence: i64) -> rusqlite::Result<Vec<Attempt>> {
    let sql = "SELECT ended, error, traceback, worker, begun, at FROM attempts WHERE sequence = ?1 ORDER BY attempt";
    let mut select = connection.prepare_cached(sql)?;
    let attempts = select.query_map([sequence], |row| {
        let ended: String = row.get(0)?;
        Ok(Attempt {
            number: 0,
            ended: Ended::named(&ended).ok_or(rusqlite::Error::InvalidQuery)?,
            error: row.get(1)?,
            traceback: row.get(2)?,
            ran: Ran { worker: row.get(3)?, begun: row.get::<_, Option<i64>>(4)?.map(Timestamp) },
            at: Timestamp(row.get(5)?),
        })
    })?;
    // Leases that were not used have numbers, too: to people they are no attempts.
    let numbered = (1..).zip(attempts).map(|(number, attempt)| attempt.map(|attempt| Attempt { number, ..attempt }));
    numbered.collect()
}

/// A job's input, where there is such a job.
pub(super) fn input(connection: &Connection, id: &str) -> rusqlite::Result<Option<Stored>> {
    let sql = "SELECT bytes, body, file FROM inputs WHERE sequence = (SELECT sequence FROM jobs WHERE id = ?1)";
    connection.prepare_cached(sql)?.query_row([id], |row| Stored::read(row, 0)).optional()
}

/// More jobs than this are looked for in the order of their arrival; fewer are found by their state, and sorted.
const FEW: u64 = 10_000;

pub(super) fn list(connection: &Connection, filter: &Filter) -> rusqlite::Result<Page> {
    let limit = if filter.limit == 0 { PAGE } else { filter.limit.min(PAGE) };
    let mut values: Vec<Value> = Vec::new();
    let mut conditions = vec!["1".to_owned()];
    if let Some(Cursor(after)) = filter.after {
        values.push(after.into());
        conditions.push(format!("sequence < ?{}", values.len()));
    }
    let endpoint: Option<i64> = match &filter.endpoint {
        None => None,
        Some(name) => {
            let sql = "SELECT number FROM endpoints WHERE name = ?1";
            let Some(number) = connection.prepare_cached(sql)?.query_row([name], |row| row.get(0)).optional()? else {
                return Ok(Page::default());
            };
            Some(number)
        }
    };
    let states: Vec<String> = filter.states.iter().map(|state| schema::number(*state).to_string()).collect();
    let states = if states.is_empty() { "0, 1, 2, 3, 4, 5, 6".into() } else { states.join(", ") };
    // The unary plus keeps the index by state out of it: then rows come in their order, and none needs to be sorted.
    let sql = format!("SELECT coalesce(sum(number), 0) FROM counts WHERE state IN ({states}) AND (?1 IS NULL OR endpoint = ?1)");
    let matching: u64 = connection.prepare_cached(&sql)?.query_row([endpoint], |row| row.get(0))?;
    let by_state = endpoint.is_some() && matching <= FEW;
    let plus = if by_state { "" } else { "+" };
    if let Some(endpoint) = endpoint {
        values.push(endpoint.into());
        conditions.push(format!("{plus}endpoint = ?{}", values.len()));
    }
    if !filter.states.is_empty() || by_state {
        conditions.push(format!("{plus}state IN ({states})"));
    }
    let sql = format!(
        "SELECT {LIFE}, id, function, arrived, begun, ended, worker, e.name FROM jobs JOIN endpoints e ON e.number = endpoint
        WHERE {} ORDER BY sequence DESC LIMIT {}",
        conditions.join(" AND "),
        limit + 1,
    );
    let mut select = connection.prepare_cached(&sql)?;
    let rows = select.query_map(params_from_iter(values), |row| {
        let time = |index| row.get::<_, Option<i64>>(LIFE_COLUMNS + index).map(|time| time.map(Timestamp));
        let listed = Listed {
            id: row.get(LIFE_COLUMNS)?,
            endpoint: row.get(LIFE_COLUMNS + 6)?,
            function: row.get(LIFE_COLUMNS + 1)?,
            life: life(row)?,
            priority: policy(row)?.priority,
            arrived: time(2)?.unwrap_or_default(),
            begun: time(3)?,
            ended: time(4)?,
            worker: row.get(LIFE_COLUMNS + 5)?,
        };
        Ok((row.get::<_, i64>(0)?, listed))
    })?;
    let mut rows: Vec<(i64, Listed)> = rows.collect::<rusqlite::Result<_>>()?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|(sequence, _)| Cursor(*sequence));
    Ok(Page { jobs: rows.into_iter().map(|(_, listed)| listed).collect(), next })
}

/// Webhooks that are due, the longest due first.
pub(super) fn webhooks(connection: &Connection, now: Timestamp, at_most: usize) -> rusqlite::Result<Vec<Webhook>> {
    let sql = "SELECT id, url, tries FROM webhooks JOIN jobs USING (sequence) WHERE due IS NOT NULL AND due <= ?1 ORDER BY due LIMIT ?2";
    let mut select = connection.prepare_cached(sql)?;
    let webhooks = select.query_map([now.0, i64::try_from(at_most).unwrap_or(i64::MAX)], |row| {
        Ok(Webhook { id: row.get(0)?, url: row.get(1)?, tries: row.get(2)? })
    })?;
    webhooks.collect()
}
