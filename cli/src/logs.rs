//! `flash logs`: what endpoints printed, and the requests that they answered.

use std::fmt::Write as _;

use flash_api::{LogLine, LogStream};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use owo_colors::OwoColorize as _;

use crate::client::{Client, segment};
use crate::connection::{Connection, endpoint};
use crate::lines::to_errors;
use crate::output::offer;
use crate::report::{Failure, Fault, Trouble};

/// What the user asked for.
#[derive(clap::Args)]
pub struct Arguments {
    /// An endpoint's name or id; without it, all of the server's
    endpoint: Option<String>,
    /// Go on with what comes, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Only what is younger: `10m`, `2 hours`, or a time such as 2026-11-25T08:00:00Z
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Only what belongs to the request of this id, which its answer has as `x-request-id`, or to the job of this id
    #[arg(long, value_name = "ID")]
    request: Option<String>,
    /// The app that the endpoint belongs to
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// The environment that it is deployed to
    #[arg(long, env = "FLASH_ENV", value_name = "NAME")]
    env: Option<String>,
    /// A line of JSON for each line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Prints lines as they come.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let since = arguments.since.as_deref().map(when).transpose()?;
    let client = crate::project::connection(&arguments.connection, arguments.env.as_deref())?.client()?;
    let mut query = format!("?follow={}", arguments.follow);
    if let Some(named) = &arguments.endpoint {
        let found = endpoint(&client, named, arguments.app.as_deref(), arguments.env.as_deref())?;
        let _ = write!(query, "&endpoint={}", segment(&found.id)); // to a String
    }
    if let Some(since) = since {
        let _ = write!(query, "&since={}", segment(&since.to_string()));
    }
    if let Some(request) = &arguments.request {
        let _ = write!(query, "&request={}", segment(request));
    }
    let several = arguments.endpoint.is_none();
    let (mut failed, mut some) = (None, false);
    client.lines(&format!("/logs{query}"), |line| {
        some = true;
        let text = if arguments.json { json(&line) } else { shown(&line, several) };
        offer(&text).unwrap_or_else(|failure| {
            failed = Some(failure);
            false
        })
    })?;
    if let Some(failure) = failed {
        return Err(failure);
    }
    if arguments.follow {
        return ended(&client);
    }
    match &arguments.request {
        Some(request) if !some => {
            let why = "no line that is kept belongs to a request or job of that id; the id is an answer's `x-request-id`, or a job's id";
            let trouble = Trouble::new(format!("no lines of `{request}`"), why, "see all lines: `flash logs`");
            Err(Failure::new(Fault::Request, trouble))
        }
        _ => Ok(()),
    }
}

/// Why lines that were followed come no more. A server that is stopped lets go of who follows, and nothing is wrong with that.
fn ended(client: &Client) -> Result<(), Failure> {
    if client.is_stranger() {
        let what = format!("the server at {} sends no more lines", client.url());
        let why = "it does not take the credential any more that it was asked with: the key was revoked";
        return Err(Failure::new(Fault::Request, Trouble::new(what, why, "set FLASH_API_KEY to another key (`flash key create`)")));
    }
    to_errors(&format!("The server at {} has ended the log\n", client.url()));
    Ok(())
}

fn json(line: &LogLine) -> String {
    serde_json::to_string(line).expect("what the API says can be JSON") + "\n"
}

fn shown(line: &LogLine, several: bool) -> String {
    let time = line
        .time
        .parse::<Timestamp>()
        .map_or_else(|_| line.time.clone(), |time| TimeZone::system().to_datetime(time).strftime("%m-%d %H:%M:%S").to_string());
    let endpoint = if several && !line.endpoint.is_empty() { format!("{} ", line.endpoint.cyan()) } else { String::new() };
    let request = line.request.as_ref().map(|request| format!("{} ", request.dimmed())).unwrap_or_default();
    let text = match line.stream {
        LogStream::Stderr => line.text.yellow().to_string(),
        LogStream::Server => line.text.bold().to_string(),
        LogStream::Stdout | LogStream::Request => line.text.clone(),
    };
    format!("{} {endpoint}{request}{text}\n", time.dimmed())
}

/// A moment: one that is written out, or so long ago.
fn when(text: &str) -> Result<Timestamp, Failure> {
    if let Ok(moment) = text.parse() {
        return Ok(moment);
    }
    let ago = text.parse::<SignedDuration>().ok().filter(|ago| !ago.is_negative());
    ago.and_then(|ago| Timestamp::now().checked_sub(ago).ok()).ok_or_else(|| {
        let why = "it is neither a time nor a length of time";
        let remedy = "write 30s, 10m, 2h, or 2026-11-25T08:00:00Z";
        Failure::new(Fault::Usage, Trouble::new(format!("--since {text} cannot be read"), why, remedy))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_so_long_ago() {
        assert_eq!(when("2026-11-25T08:00:00Z").ok().map(|moment| moment.to_string()).as_deref(), Some("2026-11-25T08:00:00Z"));
        let before = Timestamp::now() - SignedDuration::from_mins(10);
        assert!(when("10m").is_ok_and(|moment| before <= moment && moment <= Timestamp::now()));
        assert!(when("yesterday").is_err() && when("-5m").is_err() && when("").is_err());
    }
}
