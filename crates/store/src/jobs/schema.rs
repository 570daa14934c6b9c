//! Tables of the queue.

use flash_queue::State;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::shape::{self, Unlike};

/// One step each; the number of those that a file has gone through is its `user_version`. What has been released is not changed again.
const MIGRATIONS: &[&str] = &[
    "
CREATE TABLE endpoints (
    number INTEGER PRIMARY KEY,
    name   TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE jobs (
    sequence     INTEGER PRIMARY KEY, -- the order of arrival
    id           TEXT NOT NULL,
    endpoint     INTEGER NOT NULL,
    state        INTEGER NOT NULL,
    rank         INTEGER NOT NULL, -- ready and leased: what is least is first; delayed: when it is due; ended: when it did
    deadline     INTEGER NOT NULL,
    attempt      INTEGER NOT NULL,
    failures     INTEGER NOT NULL,
    raised       INTEGER NOT NULL,
    losses       INTEGER NOT NULL,
    arrived      INTEGER NOT NULL,
    begun        INTEGER,
    ended        INTEGER,
    worker       TEXT,
    function     TEXT NOT NULL,
    priority     INTEGER NOT NULL,
    low          INTEGER NOT NULL,
    attempts     INTEGER NOT NULL,
    execution_ms INTEGER NOT NULL,
    ttl_ms       INTEGER NOT NULL,
    delay_ms     INTEGER NOT NULL,
    key          TEXT,
    digest       BLOB
) STRICT;
CREATE UNIQUE INDEX jobs_by_id ON jobs(id);
-- One index has what may begin in its order, what is delayed by its time, and what has ended by its age.
CREATE INDEX jobs_by_state ON jobs(endpoint, state, rank);
-- Whether a job has ended is told by `ended`: a lease does not touch this one.
CREATE INDEX jobs_by_deadline ON jobs(deadline) WHERE ended IS NULL;
CREATE UNIQUE INDEX jobs_by_key ON jobs(endpoint, key) WHERE key IS NOT NULL;

-- Each has its bytes, or the name of a file with them.
CREATE TABLE inputs (
    sequence INTEGER PRIMARY KEY,
    bytes    INTEGER NOT NULL,
    body     BLOB,
    file     TEXT
) STRICT;
CREATE INDEX inputs_by_file ON inputs(file) WHERE file IS NOT NULL;
CREATE TABLE outputs (
    sequence INTEGER PRIMARY KEY,
    bytes    INTEGER NOT NULL,
    body     BLOB,
    file     TEXT
) STRICT;
CREATE INDEX outputs_by_file ON outputs(file) WHERE file IS NOT NULL;

CREATE TABLE attempts (
    sequence  INTEGER NOT NULL,
    attempt   INTEGER NOT NULL,
    ended     TEXT NOT NULL,
    error     TEXT NOT NULL,
    traceback TEXT NOT NULL,
    worker    TEXT,
    begun     INTEGER,
    at        INTEGER NOT NULL,
    PRIMARY KEY (sequence, attempt)
) STRICT, WITHOUT ROWID;

CREATE TABLE webhooks (
    sequence INTEGER PRIMARY KEY,
    url      TEXT NOT NULL,
    tries    INTEGER NOT NULL,
    due      INTEGER -- once the job has ended
) STRICT;
CREATE INDEX webhooks_by_due ON webhooks(due) WHERE due IS NOT NULL;

CREATE TABLE counts (
    endpoint INTEGER NOT NULL,
    state    INTEGER NOT NULL,
    number   INTEGER NOT NULL,
    PRIMARY KEY (endpoint, state)
) STRICT, WITHOUT ROWID;

-- The latest time that this queue has seen: it does not go back when the machine's clock does.
CREATE TABLE clock (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    time INTEGER NOT NULL
) STRICT;
INSERT INTO clock VALUES (1, 0);
",
    "
-- Where a job stands that may begin: by priority, then by a place, which is behind all others once it is tried again.
UPDATE jobs SET rank = rank * 281474976710656 + sequence WHERE state IN (0, 2);
-- The last number that was given: to a job that arrived, or as a place.
ALTER TABLE clock ADD COLUMN last INTEGER NOT NULL DEFAULT 0;
-- How often jobs were tried again is a count as those of states are. A last failure is no try of what failed.
INSERT INTO counts SELECT endpoint, 7, sum(max(failures - (state = 4), 0)) FROM jobs GROUP BY endpoint;
",
];

/// The schema of this release.
pub(super) const VERSION: u32 = MIGRATIONS.len() as u32;

/// The schema of a file, where it is a newer release's.
pub(super) fn newer(connection: &Connection) -> rusqlite::Result<Option<u32>> {
    Ok(u32::try_from(shape::number(connection)?).ok().filter(|version| *version > VERSION))
}

/// What is not as our tables are.
pub(super) fn unlike(connection: &Connection) -> rusqlite::Result<Option<Unlike>> {
    shape::unlike(connection, 0, MIGRATIONS)
}

/// Brings a file's schema up to ours, each step whole or not at all.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    for (done, step) in MIGRATIONS.iter().enumerate().skip(shape::number(connection)?.max(0) as usize) {
        let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", done as u32 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

/// What stands in the place of a state where retries are counted.
pub(super) const RETRIES: i64 = 7;

/// How a state is written.
pub(super) const fn number(state: State) -> i64 {
    match state {
        State::Ready => 0,
        State::Delayed => 1,
        State::Leased => 2,
        State::Completed => 3,
        State::Failed => 4,
        State::Cancelled => 5,
        State::TimedOut => 6,
    }
}

pub(super) fn state(number: i64) -> rusqlite::Result<State> {
    let found = State::ALL.into_iter().find(|state| self::number(*state) == number);
    found.ok_or(rusqlite::Error::IntegralValueOutOfRange(0, number))
}
