//! `bench/deployed.py` on a server: how soon it answers when it has no worker, and what calls of it cost.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde::Deserialize;

use super::{Row, calls, typical};
use crate::bench::figures::Quartiles;
use crate::bench::files::Folder;
use crate::bench::home::Home;
use crate::bench::unexpected;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::{http, process, project};

const FILE: &str = "deployed.py";
/// A worker goes once it had nothing to do for this long: the shortest time there is, for twenty of them are waited for.
const SETTINGS: &str = "app = \"bench-deployed\"\n[endpoints.deployed]\nidle_timeout = \"1s\"\n";
/// So long nothing of this takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// What `flash status --json` says of an endpoint, as far as it is looked at.
#[derive(Deserialize)]
struct Status {
    url: String,
    workers: Workers,
}

#[derive(Deserialize)]
struct Workers {
    ready: u32,
    starting: u32,
}

/// What `GET /process` answers.
#[derive(Deserialize)]
struct Processes {
    worker: i32,
    zygote: i32,
}

/// First calls first: those that follow need a worker.
pub fn measure(environment: &Environment) -> Result<Vec<Row>, Failure> {
    let folder = Folder::empty("deployed")?;
    for file in [FILE, "stub.py"] {
        let text = fs::read_to_string(project::path("bench").join(file)).map_err(|cause| unexpected(file, cause))?;
        folder.write(file, &text)?;
    }
    folder.write("flash.toml", SETTINGS)?;
    let home = Home::empty(environment, "deployed-home")?;
    process::read(home.flash("deploy").arg(folder.path("")))?;
    let endpoint = Endpoint::find(&home)?;
    let mut rows = vec![
        Row::new("an endpoint without workers, to its first answer: its zygote is there", endpoint.woken(Zygote::Kept)?),
        Row::new("the same, its zygote gone as well", endpoint.woken(Zygote::Gone)?),
    ];
    let mut stub = home.python(&folder.path("stub.py"));
    rows.extend(calls::deployed(stub.arg(endpoint.url()).env("FLASH_TARGET", "production").current_dir(folder.path("")))?);
    Ok(rows)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Zygote {
    Kept,
    Gone,
}

struct Endpoint<'a> {
    home: &'a Home<'a>,
    address: SocketAddr,
    path: String,
}

impl<'a> Endpoint<'a> {
    fn find(home: &'a Home<'a>) -> Result<Self, Failure> {
        let url = status(home)?.url;
        let parts = url.strip_prefix("http://").and_then(|rest| rest.split_once('/'));
        let found = parts.and_then(|(address, path)| Some((address.parse().ok()?, format!("/{path}"))));
        let (address, path) = found.ok_or_else(|| unexpected("flash status", format!("`{url}` is not the URL of an endpoint")))?;
        Ok(Self { home, address, path })
    }

    fn url(&self) -> String {
        format!("http://{}{}", self.address, self.path)
    }

    fn processes(&self) -> Result<Processes, Failure> {
        let answer = http::ask(self.address, "GET", &format!("{}/process", self.path), None).map_err(|cause| unexpected(FILE, cause))?;
        serde_json::from_str(&answer.body).map_err(|cause| unexpected(FILE, format!("{cause}: {} {}", answer.status, answer.body)))
    }

    /// How long the first request takes, once there is no worker.
    fn woken(&self, zygote: Zygote) -> Result<Quartiles, Failure> {
        let mut before = self.processes()?;
        typical(|| {
            self.wait_until_asleep()?;
            if zygote == Zygote::Gone {
                process::signal(before.zygote, Signal::KILL);
                wait_until(|| Ok(!is_there(before.zygote)), "a zygote that was killed does not end")?;
            }
            let start = Instant::now();
            let after = self.processes()?;
            let took = start.elapsed();
            if after.worker == before.worker || (after.zygote == before.zygote) != (zygote == Zygote::Kept) {
                return Err(unexpected(FILE, "the processes are not the ones that are measured"));
            }
            before = after;
            Ok(took)
        })
    }

    fn wait_until_asleep(&self) -> Result<(), Failure> {
        let asleep = || {
            let Workers { ready, starting } = status(self.home)?.workers;
            Ok(ready + starting == 0)
        };
        wait_until(asleep, "the worker of an endpoint that nobody calls does not end")
    }
}

fn status(home: &Home) -> Result<Status, Failure> {
    let told = process::read(home.flash("status").args(["deployed", "--json"]))?;
    serde_json::from_str(&told).map_err(|cause| unexpected("flash status", cause))
}

fn wait_until(mut condition: impl FnMut() -> Result<bool, Failure>, otherwise: &str) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    while !condition()? {
        if Instant::now() > deadline {
            return Err(unexpected(FILE, otherwise));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn is_there(process: i32) -> bool {
    Path::new("/proc").join(process.to_string()).exists()
}
