//! What the writer knows without asking the disk. It is what the rows say, as of the transaction that is open; after one that failed, it is
//! read anew.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use flash_queue::{Life, State, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::record::Counts;
use super::schema;

/// What has a count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Counted {
    /// Jobs in this state.
    Jobs(State),
    /// How often those that are kept were tried again.
    Retries,
}

#[derive(Default)]
pub(super) struct Memory {
    numbers: HashMap<String, i64>,
    names: HashMap<i64, String>,
    counts: HashMap<i64, Counts>,
    /// Counts that rows do not say yet.
    changed: Vec<(i64, Counted)>,
    sequence: i64,
    /// Nothing is due before this. Something may be due later than that.
    pub(super) due: Option<Timestamp>,
    /// Answers that were refused because their lease was not in force.
    pub(super) refused: u64,
    dice: u64,
}

impl Memory {
    pub(super) fn load(connection: &Connection, former: &Self) -> rusqlite::Result<Self> {
        let mut memory = Self { refused: former.refused, dice: RandomState::new().hash_one(0) | 1, ..Self::default() };
        let mut select = connection.prepare_cached("SELECT number, name FROM endpoints")?;
        for row in select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))? {
            let (number, name): (i64, String) = row?;
            memory.names.insert(number, name.clone());
            memory.numbers.insert(name, number);
        }
        let mut select = connection.prepare_cached("SELECT endpoint, state, number FROM counts")?;
        for row in select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))? {
            let (endpoint, counted, number): (i64, i64, u64) = row?;
            let counts = memory.counts.entry(endpoint).or_default();
            match counted {
                schema::RETRIES => counts.retried = number,
                state => counts.of[schema::state(state)? as usize] = number,
            }
        }
        let sql = "SELECT max(last, coalesce((SELECT max(sequence) FROM jobs), 0)) FROM clock";
        let last: i64 = connection.query_row(sql, [], |row| row.get(0))?;
        // A number that was given to a job is not given again while leases of it may be about, whether it came to the disk or not.
        memory.sequence = former.sequence.max(last);
        // Due at once: the first sweep finds out.
        memory.due = Some(Timestamp(0));
        Ok(memory)
    }

    /// The number of a job that arrives, or the place of one that is sent behind all others.
    pub(super) fn next_sequence(&mut self) -> i64 {
        self.sequence += 1;
        self.sequence
    }

    pub(super) fn last_sequence(&self) -> i64 {
        self.sequence
    }

    /// A number that nobody can foresee, well enough to spread retries (xorshift).
    pub(super) fn dice(&mut self) -> u32 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        (self.dice >> 32) as u32
    }

    pub(super) fn known_endpoint(&self, name: &str) -> Option<i64> {
        self.numbers.get(name).copied()
    }

    pub(super) fn endpoint(&mut self, connection: &Connection, name: &str) -> rusqlite::Result<i64> {
        if let Some(number) = self.known_endpoint(name) {
            return Ok(number);
        }
        connection.execute("INSERT INTO endpoints (name) VALUES (?1)", [name])?;
        let number = connection.last_insert_rowid();
        self.numbers.insert(name.to_owned(), number);
        self.names.insert(number, name.to_owned());
        Ok(number)
    }

    pub(super) fn endpoints(&self) -> Vec<i64> {
        self.names.keys().copied().collect()
    }

    pub(super) fn name(&self, endpoint: i64) -> String {
        self.names.get(&endpoint).cloned().unwrap_or_default()
    }

    pub(super) fn counts(&self, endpoint: i64) -> Counts {
        self.counts.get(&endpoint).copied().unwrap_or_default()
    }

    /// A job goes from one state to another, comes, or goes.
    pub(super) fn count(&mut self, endpoint: i64, from: Option<State>, to: Option<State>) {
        let counts = self.counts.entry(endpoint).or_default();
        if let Some(from) = from {
            // Where a disk has kept only half of what it took, the rows may be more than their count.
            let count = &mut counts.of[from as usize];
            *count = count.saturating_sub(1);
            self.changed.push((endpoint, Counted::Jobs(from)));
        }
        if let Some(to) = to {
            counts.of[to as usize] += 1;
            self.changed.push((endpoint, Counted::Jobs(to)));
        }
    }

    /// A job was tried again so often in the place of so often; 0 once it goes.
    pub(super) fn count_retries(&mut self, endpoint: i64, from: u32, to: u32) {
        if from != to {
            let counts = self.counts.entry(endpoint).or_default();
            counts.retried = (counts.retried + u64::from(to)).saturating_sub(from.into());
            self.changed.push((endpoint, Counted::Retries));
        }
    }

    pub(super) fn note_due(&mut self, life: &Life) {
        let due = match life.state {
            State::Delayed => life.due.min(life.deadline),
            State::Ready | State::Leased => life.deadline,
            State::Completed | State::Failed | State::Cancelled | State::TimedOut => return,
        };
        self.due = Some(self.due.map_or(due, |before| before.min(due)));
    }

    /// Writes the counts that have changed, once each. Gives them, by name.
    pub(super) fn write_counts(&mut self, connection: &Connection) -> rusqlite::Result<Vec<(String, Counts)>> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        let sql = "INSERT INTO counts (endpoint, state, number) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET number = excluded.number";
        let mut upsert = connection.prepare_cached(sql)?;
        for (endpoint, counted) in &changed {
            let counts = self.counts(*endpoint);
            let (counted, number) = match counted {
                Counted::Jobs(state) => (schema::number(*state), counts.of(*state)),
                Counted::Retries => (schema::RETRIES, counts.retried),
            };
            upsert.execute(params![endpoint, counted, number])?;
        }
        changed.dedup_by_key(|(endpoint, _)| *endpoint);
        Ok(changed.into_iter().map(|(endpoint, _)| (self.name(endpoint), self.counts(endpoint))).collect())
    }

    /// All counts, by name.
    pub(super) fn all_counts(&self) -> HashMap<String, Counts> {
        self.counts.iter().map(|(endpoint, counts)| (self.name(*endpoint), *counts)).collect()
    }
}

/// The latest time that the queue has seen.
pub(super) fn last_time(connection: &Connection) -> rusqlite::Result<Timestamp> {
    connection.query_row("SELECT time FROM clock", [], |row| row.get(0)).optional().map(|time| Timestamp(time.unwrap_or(0)))
}
