//! Tables, and how those of earlier releases become those of this one.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::shape::{self, Unlike};

/// Schemas that were never released. Their files are refused, as nobody tests what would become of them.
const UNRELEASED: u32 = 1;

/// One step each; the number of those that a file has gone through, and [`UNRELEASED`], is its `user_version`. What has been released is not
/// changed again.
const MIGRATIONS: &[&str] = &[
    "
CREATE TABLE builds (
    digest    TEXT PRIMARY KEY,
    bytes     INTEGER NOT NULL,
    app       TEXT NOT NULL,
    endpoints TEXT NOT NULL, -- names, a line each
    created   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE apps (
    name    TEXT PRIMARY KEY,
    created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE environments (
    app     TEXT NOT NULL REFERENCES apps(name) ON DELETE CASCADE,
    name    TEXT NOT NULL,
    created INTEGER NOT NULL,
    PRIMARY KEY (app, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE deployments (
    id          INTEGER PRIMARY KEY AUTOINCREMENT, -- a number is never given twice
    app         TEXT NOT NULL,
    environment TEXT NOT NULL,
    build       TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('rolling', 'current', 'superseded', 'failed')),
    settings    TEXT NOT NULL,
    created     INTEGER NOT NULL,
    problem     TEXT,
    output      TEXT NOT NULL DEFAULT '',
    FOREIGN KEY (app, environment) REFERENCES environments(app, name) ON DELETE CASCADE
) STRICT;
CREATE INDEX deployments_of ON deployments(app, environment, id);
CREATE UNIQUE INDEX one_rolls ON deployments(app, environment) WHERE state = 'rolling';
CREATE UNIQUE INDEX one_is_current ON deployments(app, environment) WHERE state = 'current';

CREATE TABLE events (
    id         INTEGER PRIMARY KEY,
    deployment INTEGER NOT NULL REFERENCES deployments(id) ON DELETE CASCADE,
    time       INTEGER NOT NULL,
    text       TEXT NOT NULL
) STRICT;
CREATE INDEX events_of ON events(deployment, id);

CREATE TABLE endpoints (
    id          TEXT PRIMARY KEY,
    app         TEXT NOT NULL,
    environment TEXT NOT NULL,
    name        TEXT NOT NULL,
    claimed     INTEGER, -- the rolling deployment that it is new with
    deployment  INTEGER REFERENCES deployments(id),
    UNIQUE (app, environment, name),
    FOREIGN KEY (app, environment) REFERENCES environments(app, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE keys (
    id      TEXT PRIMARY KEY,
    name    TEXT NOT NULL,
    scope   TEXT NOT NULL,
    hash    BLOB NOT NULL,
    created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
",
    "
-- Who had an id last, also once it is removed: what is kept by an id elsewhere is nobody else's.
CREATE TABLE owners (
    id          TEXT PRIMARY KEY,
    app         TEXT NOT NULL,
    environment TEXT NOT NULL,
    name        TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX ids_of ON owners(app, environment, name);
INSERT INTO owners SELECT id, app, environment, name FROM endpoints;
",
];

/// The schema of this release.
pub(crate) const VERSION: u32 = UNRELEASED + MIGRATIONS.len() as u32;

/// The schema of a file, where it is another release's.
pub(crate) fn other_release(connection: &Connection) -> rusqlite::Result<Option<u32>> {
    let version = u32::try_from(shape::number(connection)?).ok();
    Ok(version.filter(|version| (1..=UNRELEASED).contains(version) || *version > VERSION))
}

/// What is not as our tables are.
pub(crate) fn unlike(connection: &Connection) -> rusqlite::Result<Option<Unlike>> {
    shape::unlike(connection, UNRELEASED as i32, MIGRATIONS)
}

/// Brings a file's schema up to ours, each step whole or not at all.
pub(crate) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let done = shape::number(connection)? - UNRELEASED as i32;
    for (done, step) in MIGRATIONS.iter().enumerate().skip(done.max(0) as usize) {
        let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", UNRELEASED + done as u32 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}
