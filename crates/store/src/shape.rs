//! Whether a file of SQLite is as its migrations make it. Programs other than ours may have written anything into one, its number included.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;

/// What is not as it should be in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unlike {
    /// What it is, in words.
    pub(crate) why: String,
    /// The `user_version` that it should have, where nothing else is wrong.
    pub(crate) number: Option<i32>,
}

impl Unlike {
    /// What to do about the file at `path`, where `otherwise` is what one does without it.
    pub(crate) fn remedy(&self, path: &std::path::Path, otherwise: &str) -> String {
        let path = path.display();
        let number = self.number.map(|number| {
            format!("; or set the number back, where only that was changed: sqlite3 {path} 'PRAGMA user_version = {number}'")
        });
        format!("put a backup in its place{}; or move it away and {otherwise}: mv {path} {path}.other", number.unwrap_or_default())
    }
}

/// The number of a file's schema, as anybody may have set it.
pub(crate) fn number(connection: &Connection) -> rusqlite::Result<i32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Holds a file against the tables that `steps` make; the first of them leads from number `base`, or from an empty file, to the one after it.
pub(crate) fn unlike(connection: &Connection, base: i32, steps: &[&str]) -> rusqlite::Result<Option<Unlike>> {
    let (number, tables) = (number(connection)?, tables(connection)?);
    let latest = base + i32::try_from(steps.len()).expect("there are few steps");
    if (base + 1..=latest).contains(&number) {
        let lacking = lacking(&tables, &steps[..usize::try_from(number - base).expect("it is more")])?;
        return Ok(
            lacking.map(|what| Unlike { why: format!("it has no {what}, which all of its schema's number ({number}) have"), number: None })
        );
    }
    if number == 0 && tables.is_empty() {
        return Ok(None);
    }
    let names = tables.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let why = match number {
        0 => format!("its `user_version` is 0, as that of an empty file, and yet it has tables: {names}"),
        number => format!("its `user_version` is {number}, which no version of flash writes"),
    };
    Ok(Some(Unlike { why, number: lacking(&tables, steps)?.is_none().then_some(latest) }))
}

/// The first table or column that is not there.
fn lacking(found: &BTreeMap<String, BTreeSet<String>>, steps: &[&str]) -> rusqlite::Result<Option<String>> {
    let model = Connection::open_in_memory()?;
    for step in steps {
        model.execute_batch(step)?;
    }
    for (table, columns) in tables(&model)? {
        let Some(found) = found.get(&table) else { return Ok(Some(format!("table `{table}`"))) };
        if let Some(column) = columns.difference(found).next() {
            return Ok(Some(format!("column `{column}` in table `{table}`")));
        }
    }
    Ok(None)
}

/// Columns by table, without what SQLite keeps for itself.
fn tables(connection: &Connection) -> rusqlite::Result<BTreeMap<String, BTreeSet<String>>> {
    let sql = "SELECT s.name, c.name FROM sqlite_schema s, pragma_table_info(s.name) c WHERE s.type = 'table' AND s.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
    let mut tables = BTreeMap::<String, BTreeSet<String>>::new();
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        tables.entry(row.get(0)?).or_default().insert(row.get(1)?);
    }
    Ok(tables)
}
