//! The store in a file of SQLite: one connection, so one writer.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Params, Row, Transaction, TransactionBehavior, params};

use crate::error::{Error, Result};
use crate::record::{App, Begun, Build, Deployment, Endpoint, Environment, Event, Key, NewDeployment, State};
use crate::schema;
use crate::{Store, Timestamp};

/// How long another program may keep the file locked.
const PATIENCE: Duration = Duration::from_secs(5);

/// A store in one file.
pub struct Sqlite {
    path: PathBuf,
    /// The files that are open: the database, and its log of writes.
    files: Vec<(PathBuf, (u64, u64))>,
    connection: Mutex<Connection>,
}

impl Sqlite {
    /// Opens a file that its owner alone may read, and makes it where it is not there.
    ///
    /// # Errors
    /// Where it cannot be opened, is damaged, or of a release whose files this one does not know. It is left as it was.
    pub fn open(path: &Path) -> Result<Self> {
        let refused = |why: std::io::Error| Error::Open { path: path.to_owned(), why: why.to_string() };
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path).map_err(refused)?;
        file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(refused)?;
        drop(file);
        let connection = prepare(path).map_err(|error| told(path, error))?;
        if let Some(found) = schema::other_release(&connection).map_err(|error| told(path, error))? {
            return Err(Error::OtherRelease { path: path.to_owned(), found, known: schema::VERSION });
        }
        let mut connection = checked(connection, path)?;
        if let Some(what) = schema::unlike(&connection).map_err(|error| told(path, error))? {
            return Err(Error::Unlike { path: path.to_owned(), what });
        }
        schema::migrate(&mut connection).map_err(|error| told(path, error))?;
        let log = PathBuf::from(format!("{}-wal", path.display()));
        let files = [path.to_owned(), log].into_iter().filter_map(|file| Some((file.clone(), identity(&file)?))).collect();
        Ok(Self { path: path.to_owned(), files, connection: Mutex::new(connection) })
    }

    /// The same of a file that has been written, as `trace` shows, which only a server makes that has a state: one without a byte is damaged, not
    /// new. One that is not there at all was moved away.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_again(path: &Path, trace: &Path) -> Result<Self> {
        if fs::metadata(path).is_ok_and(|found| found.len() == 0) {
            let why = format!("it is empty, and `{}` is of a server that had written it", trace.display());
            return Err(Error::Damaged { path: path.to_owned(), why });
        }
        Self::open(path)
    }

    /// SQLite would write into a file that has no name any more, and say that it is done.
    fn is_there(&self) -> Result<()> {
        match self.files.iter().find(|(file, opened)| identity(file) != Some(*opened)) {
            Some((file, _)) => Err(Error::Removed { path: file.clone() }),
            None => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic while it was held has dropped its transaction, which took all of that back.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told<T>(&self, done: rusqlite::Result<T>) -> Result<T> {
        done.map_err(|error| told(&self.path, error))
    }

    /// All of it on the disk, or none.
    fn write<T>(&self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T> {
        let mut connection = self.lock();
        self.is_there()?;
        let done = Transaction::new(&mut connection, TransactionBehavior::Immediate).and_then(|transaction| {
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        });
        self.told(done)
    }

    fn all<T>(&self, sql: &str, values: impl Params, record: impl FnMut(&Row<'_>) -> rusqlite::Result<T>) -> Result<Vec<T>> {
        self.told(all(&self.lock(), sql, values, record))
    }
}

/// What a file is by, whatever its name: device and number.
fn identity(file: &Path) -> Option<(u64, u64)> {
    fs::metadata(file).ok().map(|found| (found.dev(), found.ino()))
}

fn prepare(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A deployment that was told to be current is so after the power was cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(connection)
}

/// A server that would find the damage later might have told somebody that all is well before.
fn checked(connection: Connection, path: &Path) -> Result<Connection> {
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(|error| told(path, error))?;
    if found == "ok" { Ok(connection) } else { Err(Error::Damaged { path: path.to_owned(), why: found }) }
}

fn told(path: &Path, error: rusqlite::Error) -> Error {
    let why = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Error::Full,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::Locked,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Error::Damaged { path: path.to_owned(), why },
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Error::Open { path: path.to_owned(), why },
        _ => Error::Other(why),
    }
}

fn all<T>(
    connection: &Connection,
    sql: &str,
    values: impl Params,
    record: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare_cached(sql)?.query_map(values, record)?.collect()
}

impl Store for Sqlite {
    fn builds(&self) -> Result<Vec<Build>> {
        self.all(&format!("{BUILDS} ORDER BY created DESC, digest"), [], build)
    }

    fn build(&self, digest: &str) -> Result<Option<Build>> {
        Ok(self.all(&format!("{BUILDS} WHERE digest = ?1"), [digest], build)?.pop())
    }

    fn add_build(&self, build: &Build) -> Result<()> {
        self.write(|transaction| {
            transaction.execute(
                "INSERT OR REPLACE INTO builds (digest, bytes, app, endpoints, created) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![build.digest, build.bytes, build.app, build.endpoints.join("\n"), build.created.0],
            )?;
            Ok(())
        })
    }

    fn collect_builds(&self, kept: u32, before: Timestamp) -> Result<Vec<String>> {
        self.write(|transaction| {
            let sql = "DELETE FROM builds WHERE created < ?2 AND digest NOT IN (
                SELECT build FROM (
                    SELECT build, state, row_number() OVER (PARTITION BY app, environment ORDER BY id DESC) AS age FROM deployments
                ) WHERE age <= ?1 OR state IN ('rolling', 'current')
            ) RETURNING digest";
            all(transaction, sql, params![kept, before.0], |row| row.get(0))
        })
    }

    fn apps(&self) -> Result<Vec<App>> {
        self.all("SELECT name, created FROM apps ORDER BY name", [], |row| Ok(App { name: row.get(0)?, created: Timestamp(row.get(1)?) }))
    }

    fn environments(&self, app: Option<&str>) -> Result<Vec<Environment>> {
        let sql = "SELECT e.app, e.name, e.created, d.id, d.build FROM environments e
            LEFT JOIN deployments d ON d.app = e.app AND d.environment = e.name AND d.state = 'current'
            WHERE ?1 IS NULL OR e.app = ?1 ORDER BY e.app, e.name";
        self.all(sql, [app], |row| {
            let current = row.get::<_, Option<u64>>(3)?.zip(row.get(4)?);
            Ok(Environment { app: row.get(0)?, name: row.get(1)?, created: Timestamp(row.get(2)?), current })
        })
    }

    fn make_environment(&self, app: &str, environment: &str, now: Timestamp) -> Result<bool> {
        self.write(|transaction| make_environment(transaction, app, environment, now))
    }

    fn remove_environment(&self, app: &str, environment: &str) -> Result<Option<Vec<Endpoint>>> {
        self.write(|transaction| {
            let freed = free_endpoints(transaction, app, Some(environment))?;
            let removed = transaction.execute("DELETE FROM environments WHERE app = ?1 AND name = ?2", [app, environment])?;
            Ok((removed > 0).then_some(freed))
        })
    }

    fn remove_app(&self, app: &str) -> Result<Option<Vec<Endpoint>>> {
        self.write(|transaction| {
            let freed = free_endpoints(transaction, app, None)?;
            Ok((transaction.execute("DELETE FROM apps WHERE name = ?1", [app])? > 0).then_some(freed))
        })
    }

    fn begin(&self, new: &NewDeployment) -> Result<Begun> {
        self.write(|transaction| {
            let (app, environment) = (&*new.app, &*new.environment);
            if !transaction.prepare_cached("SELECT 1 FROM builds WHERE digest = ?1")?.exists([&new.build])? {
                return Ok(Begun::NoBuild);
            }
            make_environment(transaction, app, environment, new.created)?;
            let sql = "SELECT id FROM deployments WHERE app = ?1 AND environment = ?2 AND state = 'rolling'";
            if let Some(id) = transaction.query_row(sql, [app, environment], |row| row.get(0)).optional()? {
                return Ok(Begun::Busy(id));
            }
            transaction.execute(
                "INSERT INTO deployments (app, environment, build, state, settings, created) VALUES (?1, ?2, ?3, 'rolling', ?4, ?5)",
                params![app, environment, new.build, new.settings, new.created.0],
            )?;
            let id = transaction.last_insert_rowid() as u64;
            let endpoints: rusqlite::Result<_> = new.endpoints.iter().map(|name| claim(transaction, new, name, id)).collect();
            Ok(Begun::Rolling(id, endpoints?))
        })
    }

    fn note(&self, deployment: u64, event: &Event) -> Result<()> {
        self.write(|transaction| note(transaction, deployment, event))
    }

    fn make_current(&self, deployment: u64, endpoints: &[String], event: &Event) -> Result<bool> {
        self.write(|transaction| {
            let sql = "SELECT app, environment FROM deployments WHERE id = ?1 AND state = 'rolling'";
            let place = transaction.query_row(sql, [deployment], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
            let Some((app, environment)): Option<(String, String)> = place else { return Ok(false) };
            transaction.execute(
                "UPDATE deployments SET state = 'superseded' WHERE app = ?1 AND environment = ?2 AND state = 'current'",
                [&app, &environment],
            )?;
            transaction.execute("UPDATE deployments SET state = 'current' WHERE id = ?1", [deployment])?;
            transaction.execute("UPDATE endpoints SET deployment = NULL WHERE app = ?1 AND environment = ?2", [&app, &environment])?;
            for name in endpoints {
                transaction.execute(
                    "UPDATE endpoints SET deployment = ?4, claimed = NULL WHERE app = ?1 AND environment = ?2 AND name = ?3",
                    params![app, environment, name, deployment],
                )?;
            }
            note(transaction, deployment, event)?;
            Ok(true)
        })
    }

    fn fail(&self, deployment: u64, problem: &str, output: &str, event: &Event) -> Result<()> {
        self.write(|transaction| fail(transaction, deployment, problem, output, event).map(drop))
    }

    fn fail_rolling(&self, problem: &str, event: &Event) -> Result<usize> {
        self.write(|transaction| {
            let rolling: Vec<u64> = all(transaction, "SELECT id FROM deployments WHERE state = 'rolling'", [], |row| row.get(0))?;
            for id in &rolling {
                fail(transaction, *id, problem, "", event)?;
            }
            Ok(rolling.len())
        })
    }

    fn deployment(&self, id: u64) -> Result<Option<Deployment>> {
        self.told(find_deployment(&self.lock(), id))
    }

    fn deployments(&self, app: &str, environment: &str, limit: u32) -> Result<Vec<Deployment>> {
        let sql = format!("{DEPLOYMENTS} WHERE app = ?1 AND environment = ?2 ORDER BY id DESC LIMIT ?3");
        let connection = self.lock();
        self.told(all(&connection, &sql, params![app, environment, limit], deployment).and_then(|found| with_events(&connection, found)))
    }

    fn current(&self) -> Result<Vec<Deployment>> {
        let connection = self.lock();
        let sql = format!("{DEPLOYMENTS} WHERE state = 'current' ORDER BY id");
        self.told(all(&connection, &sql, [], deployment).and_then(|found| with_events(&connection, found)))
    }

    fn endpoints(&self) -> Result<Vec<Endpoint>> {
        self.all(&format!("{ENDPOINTS} WHERE deployment IS NOT NULL ORDER BY id"), [], endpoint)
    }

    fn ids(&self, app: &str, environment: &str) -> Result<Vec<Endpoint>> {
        self.all(&format!("{ENDPOINTS} WHERE app = ?1 AND environment = ?2 ORDER BY name"), [app, environment], endpoint)
    }

    fn remove_endpoint(&self, app: &str, environment: &str, name: &str) -> Result<Option<Endpoint>> {
        self.write(|transaction| {
            let sql = "DELETE FROM endpoints WHERE app = ?1 AND environment = ?2 AND name = ?3 AND claimed IS NULL
                RETURNING id, app, environment, name, deployment";
            Ok(all(transaction, sql, [app, environment, name], endpoint)?.pop())
        })
    }

    fn keys(&self) -> Result<Vec<Key>> {
        self.all("SELECT id, name, scope, hash, created FROM keys ORDER BY created, id", [], |row| {
            let created = Timestamp(row.get(4)?);
            Ok(Key { id: row.get(0)?, name: row.get(1)?, scope: row.get(2)?, hash: row.get(3)?, created })
        })
    }

    fn add_key(&self, key: &Key) -> Result<()> {
        self.write(|transaction| {
            transaction.execute(
                "INSERT INTO keys (id, name, scope, hash, created) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![key.id, key.name, key.scope, key.hash, key.created.0],
            )?;
            Ok(())
        })
    }

    fn remove_key(&self, id: &str) -> Result<bool> {
        self.write(|transaction| Ok(transaction.execute("DELETE FROM keys WHERE id = ?1", [id])? > 0))
    }
}

const BUILDS: &str = "SELECT digest, bytes, app, endpoints, created FROM builds";
const DEPLOYMENTS: &str = "SELECT id, app, environment, build, state, settings, created, problem, output FROM deployments";
const ENDPOINTS: &str = "SELECT id, app, environment, name, deployment FROM endpoints";

fn build(row: &Row<'_>) -> rusqlite::Result<Build> {
    let endpoints: String = row.get(3)?;
    let endpoints = endpoints.lines().map(str::to_owned).collect();
    Ok(Build { digest: row.get(0)?, bytes: row.get(1)?, app: row.get(2)?, endpoints, created: Timestamp(row.get(4)?) })
}

fn endpoint(row: &Row<'_>) -> rusqlite::Result<Endpoint> {
    Ok(Endpoint { id: row.get(0)?, app: row.get(1)?, environment: row.get(2)?, name: row.get(3)?, deployment: row.get(4)? })
}

/// Without its events.
fn deployment(row: &Row<'_>) -> rusqlite::Result<Deployment> {
    let state: String = row.get(4)?;
    Ok(Deployment {
        id: row.get(0)?,
        app: row.get(1)?,
        environment: row.get(2)?,
        build: row.get(3)?,
        state: State::named(&state).expect("the table takes no other"),
        settings: row.get(5)?,
        created: Timestamp(row.get(6)?),
        events: Vec::new(),
        problem: row.get(7)?,
        output: row.get(8)?,
    })
}

fn with_events(connection: &Connection, mut deployments: Vec<Deployment>) -> rusqlite::Result<Vec<Deployment>> {
    for deployment in &mut deployments {
        let sql = "SELECT time, text FROM events WHERE deployment = ?1 ORDER BY id";
        let event = |row: &Row<'_>| Ok(Event { time: Timestamp(row.get(0)?), text: row.get(1)? });
        deployment.events = all(connection, sql, [deployment.id], event)?;
    }
    Ok(deployments)
}

fn find_deployment(connection: &Connection, id: u64) -> rusqlite::Result<Option<Deployment>> {
    let found = all(connection, &format!("{DEPLOYMENTS} WHERE id = ?1"), [id], deployment)?;
    Ok(with_events(connection, found)?.pop())
}

fn make_environment(transaction: &Transaction<'_>, app: &str, environment: &str, now: Timestamp) -> rusqlite::Result<bool> {
    transaction.execute("INSERT OR IGNORE INTO apps (name, created) VALUES (?1, ?2)", params![app, now.0])?;
    let sql = "INSERT OR IGNORE INTO environments (app, name, created) VALUES (?1, ?2, ?3)";
    Ok(transaction.execute(sql, params![app, environment, now.0])? > 0)
}

/// The rows that refer to deployments go first.
fn free_endpoints(transaction: &Transaction<'_>, app: &str, environment: Option<&str>) -> rusqlite::Result<Vec<Endpoint>> {
    let sql = "DELETE FROM endpoints WHERE app = ?1 AND (?2 IS NULL OR environment = ?2) RETURNING id, app, environment, name, deployment";
    all(transaction, sql, params![app, environment], endpoint)
}

fn note(transaction: &Transaction<'_>, deployment: u64, event: &Event) -> rusqlite::Result<()> {
    let sql = "INSERT INTO events (deployment, time, text) VALUES (?1, ?2, ?3)";
    transaction.execute(sql, params![deployment, event.time.0, event.text])?;
    Ok(())
}

fn fail(transaction: &Transaction<'_>, id: u64, problem: &str, output: &str, event: &Event) -> rusqlite::Result<()> {
    let sql = "UPDATE deployments SET state = 'failed', problem = ?2, output = ?3 WHERE id = ?1 AND state = 'rolling'";
    if transaction.execute(sql, params![id, problem, output])? > 0 {
        transaction.execute("DELETE FROM endpoints WHERE claimed = ?1", [id])?;
        note(transaction, id, event)?;
    }
    Ok(())
}

/// The id that the endpoint of this name has there, or gets now: the one that it had, where that is held for it; else the shortest that is
/// free, of its name, its app's and its environment's.
fn claim(transaction: &Transaction<'_>, new: &NewDeployment, name: &str, deployment: u64) -> rusqlite::Result<Endpoint> {
    let (app, environment) = (&*new.app, &*new.environment);
    let sql = format!("{ENDPOINTS} WHERE app = ?1 AND environment = ?2 AND name = ?3");
    if let Some(known) = all(transaction, &sql, [app, environment, name], endpoint)?.pop() {
        return Ok(known);
    }
    let is_held = |id: &String| new.held.contains(id);
    let sql = "SELECT id FROM owners WHERE app = ?1 AND environment = ?2 AND name = ?3 ORDER BY length(id), id";
    let own: Vec<String> = all(transaction, sql, [app, environment, name], |row| row.get(0))?;
    let full = format!("{name}-{app}-{environment}");
    let numbered = (2..).map(|number: u64| format!("{full}-{number}"));
    let others = [name.to_owned(), format!("{name}-{app}"), full.clone()].into_iter().chain(numbered);
    for id in own.into_iter().filter(is_held).chain(others.filter(|id| !is_held(id))) {
        let sql = "INSERT OR IGNORE INTO endpoints (id, app, environment, name, claimed) VALUES (?1, ?2, ?3, ?4, ?5)";
        if transaction.execute(sql, params![id, app, environment, name, deployment])? > 0 {
            let sql = "INSERT OR REPLACE INTO owners (id, app, environment, name) VALUES (?1, ?2, ?3, ?4)";
            transaction.execute(sql, params![id, app, environment, name])?;
            return Ok(Endpoint { id, app: app.into(), environment: environment.into(), name: name.into(), deployment: None });
        }
    }
    unreachable!("numbers do not end")
}

#[cfg(test)]
mod tests;
