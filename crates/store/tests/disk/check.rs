//! What is left is held against what was said.

use std::path::Path;

use flash_store::jobs::{Jobs, Settings, State, Synchronous};

use crate::workload::{self, Promises, input, output};

/// Opens what is left, and looks for everything that was said.
pub fn check(home: &Path, promises: &Promises) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let settings = Settings { synchronous: Synchronous::Off, ..workload::settings() };
        let jobs = Jobs::open(home, settings).map_err(|error| format!("{error}: {}", error.why()))?;
        for id in &promises.accepted {
            let job =
                jobs.get(id).await.map_err(|error| format!("{id}: {error}"))?.ok_or_else(|| format!("{id} was accepted, and is lost"))?;
            let found = jobs.input(id).await.map_err(|error| format!("the input of {id}: {error}: {}", error.why()))?;
            if found.as_deref() != Some(&input(id)[..]) {
                return Err(format!("the input of {id} is another one"));
            }
            if promises.completed.contains(id) && job.output.as_deref() != Some(&output(id)[..]) {
                return Err(format!("{id} had completed, and is {:?}", job.life.state));
            }
            if promises.cancelled.contains(id) && job.life.state != State::Cancelled {
                return Err(format!("{id} was cancelled, and is {:?}", job.life.state));
            }
        }
        // A job that was refused may be there after all. Then it can be run.
        for id in &promises.refused {
            if jobs.get(id).await.map_err(|error| error.to_string())?.is_some() {
                let found = jobs.input(id).await.map_err(|error| format!("{id} was refused, is there, and has lost its input: {error}"))?;
                if found.as_deref() != Some(&input(id)[..]) {
                    return Err(format!("{id} was refused, is there, and its input is another one"));
                }
            }
        }
        // It is whole, and goes on.
        let open = jobs.counts("e").open();
        let mut claimed = 0;
        while let Some(job) = jobs.claim("e", 1).await.map_err(|error| error.to_string())?.pop() {
            workload::complete(&jobs, job).await.map_err(|error| error.to_string())?;
            claimed += 1;
        }
        drop(jobs);
        let connection = rusqlite::Connection::open(home.join("jobs.db")).unwrap();
        let whole: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).map_err(|error| error.to_string())?;
        if whole != "ok" || open != claimed { Err(format!("{whole}; {open} jobs were open, {claimed} could be claimed")) } else { Ok(()) }
    })
}
