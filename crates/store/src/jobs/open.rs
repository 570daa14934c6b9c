//! Opening the queue: one server alone, a whole database, and what a server before it has left.

use std::fs::{self, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::{Arc, Mutex};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::care::care;
use super::clock::Clock;
use super::error::{Error, Result, told};
use super::inbox::Inbox;
use super::memory::{Memory, last_time};
use super::payload::Payloads;
use super::reader::Readers;
use super::rows::Rows;
use super::shown::Shown;
use super::writer::{Writer, follow_log};
use super::{Settings, Shared, connect, schema};

/// Stands in the lock's file once there was a whole database.
const WHOLE: &[u8] = b"jobs.db was whole\n";

pub(super) fn open(home: &Path, mut settings: Settings) -> Result<Shared> {
    let path = home.join("jobs.db");
    let refused = |why: std::io::Error| Error::Open { path: path.clone(), why: why.to_string() };
    let private = |path: &Path| {
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        Ok(file)
    };
    let lock = private(&home.join("jobs.lock")).map_err(refused)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(Error::InUse { home: home.to_owned() }),
        Err(TryLockError::Error(why)) => return Err(refused(why)),
    }
    let is_there = path.exists();
    let file = private(&path).map_err(refused)?;
    let length = |file: &fs::File| file.metadata().map(|found| found.len()).map_err(refused);
    // SQLite would take it for a new one. It is new where no server had one before, and one that was killed in its first moments leaves it so.
    let was_whole = length(&lock)? > 0;
    if is_there && was_whole && length(&file)? == 0 {
        return Err(Error::Damaged { path, why: "it is empty, and was not before".into() });
    }
    drop(file);
    let payloads = Payloads::open(&home.join("payloads")).map_err(refused)?;
    // What was made just now stays when the power is cut.
    fs::File::open(home).and_then(|folder| folder.sync_all()).map_err(refused)?;

    let failed = |error: rusqlite::Error| match told(&error) {
        Error::Disk { why } if is_damage(&error) => Error::Damaged { path: path.clone(), why },
        Error::Disk { why } | Error::Other { why } => Error::Open { path: path.clone(), why },
        other => other,
    };
    let mut connection = connect(&path, settings.synchronous).map_err(failed)?;
    if let Some(found) = schema::newer(&connection).map_err(failed)? {
        return Err(Error::Newer { path, found, known: schema::VERSION });
    }
    if let Some(what) = schema::unlike(&connection).map_err(failed)? {
        return Err(Error::Unlike { path, what });
    }
    schema::migrate(&mut connection).map_err(failed)?;
    if !was_whole {
        (&lock).write_all(WHOLE).and_then(|()| lock.sync_all()).map_err(refused)?;
    }
    let last = last_time(&connection).map_err(failed)?;
    settings.clock = settings.clock.not_before(last);
    let memory = void(&mut connection, &settings.clock).map_err(failed)?;

    follow_log(&mut connection).map_err(failed)?;

    let (inbox, shown, payloads) = (Arc::new(Inbox::new()), Arc::new(Shown::new(&memory)), Arc::new(payloads));
    let (care, caretaker) = care(connect(&path, settings.synchronous).map_err(failed)?, Arc::clone(&payloads), settings.log_limit);
    let writer = Writer {
        connection,
        care,
        memory,
        outdated: false,
        inbox: Arc::clone(&inbox),
        shown: Arc::clone(&shown),
        clock: settings.clock.clone(),
    };
    let start = |name: &str, run: Box<dyn FnOnce() + Send>| std::thread::Builder::new().name(name.into()).spawn(run).map_err(refused);
    let threads = vec![start("jobs-writer", Box::new(|| writer.run()))?, start("jobs-care", Box::new(|| caretaker.run()))?];
    let (readers, threads) = (Readers::new(&path), Mutex::new(threads));
    Ok(Shared { inbox, shown, readers, payloads, settings, threads, _lock: lock })
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase))
}

/// What servers before this one were running is to run again.
fn void(connection: &mut Connection, clock: &Clock) -> rusqlite::Result<Memory> {
    let mut memory = Memory::load(connection, &Memory::default())?;
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    let mut unnamed = Vec::new();
    let mut rows = Rows { connection: &transaction, memory: &mut memory, now: clock.now(), unnamed: &mut unnamed };
    let voided = rows.void()?;
    memory.write_counts(&transaction)?;
    transaction.commit()?;
    if voided > 0 {
        tracing::warn!("{voided} jobs were running when the server before this one ended; they run again");
    }
    Ok(memory)
}
