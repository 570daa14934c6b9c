//! What commands answer, on standard output: text for eyes, or JSON.

use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use serde::Serialize;

use crate::report::{Failure, Fault, Trouble};

/// Prints to standard output, without colours where nobody would see them. A reader that has left is no failure.
pub fn print(text: &str) -> Result<(), Failure> {
    offer(text).map(drop)
}

/// Whether JSON was asked for, and whether anything was answered.
static ASKED: AtomicBool = AtomicBool::new(false);
static ANSWERED: AtomicBool = AtomicBool::new(false);

/// From now on a failure is answered in JSON.
pub fn ask_for_json() {
    ASKED.store(true, Ordering::Relaxed);
}

/// Whether JSON was asked for, and nothing has been answered yet.
pub fn owes_json() -> bool {
    ASKED.load(Ordering::Relaxed) && !ANSWERED.load(Ordering::Relaxed)
}

/// As [`print()`], for what goes on: false once its reader has left.
pub fn offer(text: &str) -> Result<bool, Failure> {
    ANSWERED.fetch_or(!text.is_empty(), Ordering::Relaxed);
    let mut out = anstream::stdout().lock();
    written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// What clap answers by itself: help, the version, or what is wrong with the arguments.
pub fn answer_of_clap(answer: &clap::Error) -> ExitCode {
    if answer.use_stderr() {
        let _ = answer.print(); // there is nobody else to tell
        let arguments: Vec<_> = std::env::args_os().skip(1).take_while(|argument| argument != "--").collect();
        // `flash call --json OBJECT` gives JSON and asks for none.
        if arguments.iter().any(|argument| argument == "--json") && arguments.first().is_some_and(|command| command != "call") {
            let text = answer.to_string();
            let (what, why) = text.split_once("\n\n").unwrap_or((&text, ""));
            let trouble = Trouble::new(what.trim_start_matches("error: "), why.trim(), "see --help");
            let _ = print(&Failure::new(Fault::Usage, trouble).json());
        }
        return ExitCode::from(2);
    }
    match written(answer.print().and_then(|()| std::io::stdout().flush())) {
        Ok(_) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn written(done: std::io::Result<()>) -> Result<bool, Failure> {
    match done {
        Ok(()) => Ok(true),
        Err(cause) if cause.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(cause) => {
            let remedy = "make room where it goes, or have it go elsewhere";
            Err(Failure::new(Fault::Request, Trouble::new("cannot write to standard output", cause.to_string(), remedy)))
        }
    }
}

/// A value as JSON, for programs and for eyes.
pub fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).expect("what the API says can be JSON") + "\n"
}

/// Prints a value as JSON.
pub fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    print(&json(value))
}

/// Columns under their names; `empty` where there are no rows.
pub fn table(names: &[&str], rows: Vec<Vec<String>>, empty: &str) -> String {
    if rows.is_empty() {
        return format!("{empty}\n");
    }
    let mut table = Table::new();
    table.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(names).add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// The beginning of a digest: enough to tell builds apart.
pub fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// `1 route`, `2 routes`.
pub fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}
