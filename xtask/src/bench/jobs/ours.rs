//! `flash serve` with `bench/jobs.py` deployed.

use std::fmt::{self, Display};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use serde_json::Value;

use super::daemon::Daemon;
use super::load;
use crate::bench::figures::Turn;
use crate::bench::files::Folder;
use crate::bench::home::Home;
use crate::bench::{machine, unexpected};
use crate::environment::Environment;
use crate::failure::Failure;
use crate::server::free_port;
use crate::{http, process, project};

const FILE: &str = "jobs.py";

/// A server of its own. Dropped, it is ended.
pub struct Flash<'a> {
    server: Daemon,
    port: u16,
    _home: Home<'a>,
}

impl<'a> Flash<'a> {
    /// Starts one with an empty queue; `name` is its own among those that run.
    pub fn start(environment: &'a Environment, name: &str) -> Result<Self, Failure> {
        let folder = Folder::empty(&format!("jobs/{name}-project"))?;
        let text = fs::read_to_string(project::path("bench").join(FILE)).map_err(|cause| unexpected(FILE, cause))?;
        folder.write(FILE, &text)?;
        folder.write("flash.toml", "app = \"bench-jobs\"\n")?;
        let home = Home::empty(environment, &format!("jobs/{name}-home"))?;
        let port = free_port(0)?;
        let server = Daemon::start(home.flash("serve").args(["--port", &port.to_string()]), &format!("jobs-{name}"), || home.has_server())?;
        process::read(home.flash("deploy").arg(folder.path("")))?;
        Ok(Self { server, port, _home: home })
    }

    /// What `jobs-load` is told first.
    pub fn load(&self, endpoint: &str, what: &str, clients: u32, amount: u32) -> Command {
        let mut command = load::program("jobs-load");
        command.args([&self.port.to_string(), endpoint, what, &clients.to_string(), &amount.to_string()]);
        command
    }

    /// Runs that.
    pub fn turn(&mut self, load: &mut Command) -> Result<Turn, Failure> {
        load::turn(load, &mut [&mut self.server])
    }

    /// What it holds of the memory.
    pub fn resident_bytes(&self) -> Result<u64, Failure> {
        machine::resident_bytes(self.server.id())
    }

    /// Sends a request to an endpoint; gives its JSON.
    pub fn ask(&self, endpoint: &str, method: &str, operation: &str, json: Option<&str>) -> Result<Value, Failure> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let path = format!("/v2/{endpoint}/{operation}");
        let answer = http::ask(address, method, &path, json).map_err(|cause| unexpected(&path, cause))?;
        match answer.status {
            200 => serde_json::from_str(&answer.body).map_err(|cause| unexpected(&path, format!("{cause}: {}", answer.body))),
            status => Err(unexpected(&path, format!("{status} {}", answer.body))),
        }
    }

    /// How many commits there were since its start, and how many commands they had.
    pub fn commits(&self, endpoint: &str) -> Result<Commits, Failure> {
        let metrics = self.ask(endpoint, "GET", "metrics", None)?;
        let number = |name: &str| metrics["queue"][name].as_u64().ok_or_else(|| unexpected("metrics", metrics.to_string()));
        let batches = metrics["queue"]["batches"].as_array().map(|all| all.iter().filter_map(Value::as_u64).collect());
        Ok(Commits { count: number("commits")?, commands: number("written")?, batches: batches.unwrap_or_default() })
    }
}

/// What `/metrics` says of the writer.
#[derive(Default)]
pub struct Commits {
    /// Transactions.
    pub count: u64,
    /// What they had in all.
    pub commands: u64,
    /// How many had 1, 2 to 3, 4 to 7, ...
    pub batches: Vec<u64>,
}

impl Commits {
    /// What came since an earlier look, on top of what `self` has.
    pub fn add(&mut self, before: &Self, after: &Self) {
        self.count += after.count - before.count;
        self.commands += after.commands - before.commands;
        self.batches.resize(after.batches.len(), 0);
        for (place, batch) in self.batches.iter_mut().enumerate() {
            *batch += after.batches[place] - before.batches.get(place).copied().unwrap_or(0);
        }
    }
}

impl Display for Commits {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, commands, batches } = self;
        write!(formatter, "`flash` had {:.1} commands in a commit; of {count} commits", *commands as f64 / *count as f64)?;
        let mut between = "";
        for (place, batch) in batches.iter().enumerate().filter(|(_, batch)| **batch > 0) {
            let size = match (1_u64 << place, (2_u64 << place) - 1) {
                _ if place > 0 && place + 1 == batches.len() => format!("{} and more", 1_u64 << place),
                (first, last) if first == last => first.to_string(),
                (first, last) => format!("{first} to {last}"),
            };
            write!(formatter, "{between} {:.0} % had {size}", *batch as f64 / *count as f64 * 100.0)?;
            between = ",";
        }
        formatter.write_str(".")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_are_those_between_two_looks_and_told_by_their_size() {
        let mut found = Commits::default();
        let before = Commits { count: 2, commands: 2, batches: vec![2, 0, 0] };
        found.add(&before, &Commits { count: 6, commands: 14, batches: vec![3, 2, 1] });
        assert_eq!(
            found.to_string(),
            "`flash` had 3.0 commands in a commit; of 4 commits 25 % had 1, 50 % had 2 to 3, 25 % had 4 and more."
        );
    }
}
