//! What `flash` is measured against: Celery with Redis, and Procrastinate with PostgreSQL, each as durable as ours.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::daemon::{self, Daemon};
use super::load;
use crate::bench::figures::Turn;
use crate::bench::files::Folder;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::server::free_port;
use crate::{process, project};

/// So many jobs a worker of Procrastinate has at a time where it may have several.
pub const SEVERAL: u32 = 16;

/// A worker of Celery with one process for its tasks, and its Redis. The worker ends first.
pub struct Celery {
    worker: Daemon,
    redis: Daemon,
    load: Loads,
}

impl Celery {
    /// Whether it can be measured here.
    pub fn check() -> Result<(), Failure> {
        if process::is_installed("redis-server") {
            return Ok(());
        }
        Err(Failure::new("Celery is not measured", "`redis-server` is missing", "apt-get install redis-server (Debian, Ubuntu)"))
    }

    /// Starts both.
    pub fn start(environment: &Environment) -> Result<Self, Failure> {
        let folder = Folder::empty("jobs/redis")?;
        let port = free_port(0)?;
        let mut redis = Command::new("redis-server");
        redis.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"]).arg(folder.path(""));
        redis.args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""]);
        let redis = Daemon::start(&mut redis, "jobs-redis", || daemon::listens(port))?;
        let load = Loads { program: "celery_load.py", variable: ("BENCH_REDIS", format!("redis://127.0.0.1:{port}/0")) };
        let mut worker = load.python(environment);
        worker.args(["-m", "celery", "--app", "celery_app", "worker", "--loglevel", "WARNING", "--concurrency", "1"]);
        worker.args(["--without-gossip", "--without-mingle", "--without-heartbeat"]);
        let worker = Daemon::start(&mut worker, "jobs-celery", || true)?;
        Ok(Self { worker, redis, load })
    }

    /// One turn.
    pub fn turn(&mut self, environment: &Environment, clients: u32, seconds: u32) -> Result<Turn, Failure> {
        load::turn(&mut self.load.command(environment, clients, seconds), &mut [&mut self.worker, &mut self.redis])
    }
}

/// Workers of Procrastinate, one with its default concurrency and one with more, each with a queue of its own; and their PostgreSQL, which
/// ends last.
pub struct Procrastinate {
    one: Daemon,
    several: Daemon,
    postgres: Daemon,
    load: Loads,
}

impl Procrastinate {
    /// Starts all.
    pub fn start(environment: &Environment, programs: &Programs) -> Result<Self, Failure> {
        let folder = Folder::empty("jobs/postgres")?;
        let data = folder.path("data");
        programs.make(&data)?;
        let port = free_port(0)?;
        let mut postgres = programs.command("postgres");
        postgres.arg("-D").arg(&data).args(["-p", &port.to_string(), "-k", ""]);
        for setting in ["listen_addresses=127.0.0.1", "fsync=on", "synchronous_commit=on"] {
            postgres.args(["-c", setting]);
        }
        let ready = || {
            let asked = programs
                .command("psql")
                .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", "bench", "-qc", "select 1", "postgres"])
                .output();
            asked.is_ok_and(|answer| answer.status.success())
        };
        let postgres = Daemon::start(&mut postgres, "jobs-postgres", ready)?;
        let address = format!("host=127.0.0.1 port={port} user=bench dbname=postgres");
        let load = Loads { program: "procrastinate_load.py", variable: ("BENCH_POSTGRES", address) };
        process::read(load.python(environment).args([load.program, "prepare"]))?;
        let worker = |queue: &str, concurrency: u32| {
            let mut worker = load.python(environment);
            // By default it writes two lines for each job.
            worker.args(["-m", "procrastinate", "--app", "procrastinate_app.app", "--log-level", "warning", "worker", "--queues", queue]);
            // It may miss that it was told of a job, and would find it by its next look, by default 5 s later.
            worker.args(["--concurrency", &concurrency.to_string(), "--fetch-job-polling-interval", "0.1"]);
            Daemon::start(&mut worker, &format!("jobs-procrastinate-{queue}"), || true)
        };
        Ok(Self { one: worker("one", 1)?, several: worker("several", SEVERAL)?, postgres, load })
    }

    /// One turn, with the worker that has one job at a time, or the other one.
    pub fn turn(&mut self, environment: &Environment, one: bool, clients: u32, seconds: u32) -> Result<Turn, Failure> {
        let (queue, worker) = if one { ("one", &mut self.one) } else { ("several", &mut self.several) };
        load::turn(self.load.command(environment, clients, seconds).arg(queue), &mut [worker, &mut self.postgres])
    }
}

/// Programs in `bench`, in Python, and how they find the queue.
struct Loads {
    program: &'static str,
    variable: (&'static str, String),
}

impl Loads {
    fn python(&self, environment: &Environment) -> Command {
        let mut command = environment.program("python");
        command.current_dir(project::path("bench")).env(self.variable.0, &self.variable.1);
        command
    }

    fn command(&self, environment: &Environment, clients: u32, seconds: u32) -> Command {
        let mut command = self.python(environment);
        command.args([self.program, &clients.to_string(), &seconds.to_string()]);
        command
    }
}

/// Where PostgreSQL's programs are, and who runs them: it refuses to be root's.
pub struct Programs {
    folder: PathBuf,
    user: Option<User>,
}

struct User {
    uid: u32,
    gid: u32,
}

impl Programs {
    /// Looks for them.
    pub fn find() -> Result<Self, Failure> {
        let missing = |why: &str, remedy: &str| Failure::new("Procrastinate is not measured", why, remedy);
        let mut folders: Vec<PathBuf> =
            fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path().join("bin")).collect();
        // The newest of Debian's first, else what is on PATH.
        folders.sort_by_key(|folder| folder.parent().and_then(|version| version.file_name()?.to_str()?.parse::<u32>().ok()));
        let on_path = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
        let folder =
            folders.into_iter().rev().chain(on_path).find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file());
        let folder = folder.ok_or_else(|| missing("PostgreSQL is missing", "apt-get install postgresql (Debian, Ubuntu)"))?;
        let user = if rustix::process::geteuid().is_root() { Some(User::find()?) } else { None };
        Ok(Self { folder, user })
    }

    fn command(&self, program: &str) -> Command {
        let path = self.folder.join(program);
        match &self.user {
            None => Command::new(path),
            Some(User { uid, gid }) => {
                let mut command = Command::new("setpriv");
                command.args([&format!("--reuid={uid}"), &format!("--regid={gid}"), "--clear-groups"]).arg(path);
                command
            }
        }
    }

    fn make(&self, data: &Path) -> Result<(), Failure> {
        let failed =
            |cause: &dyn std::fmt::Display| Failure::new("PostgreSQL has no place for its data", cause, "make target/bench writable");
        fs::create_dir_all(data).map_err(|cause| failed(&cause))?;
        if let Some(User { uid, gid }) = self.user {
            chown(data, Some(uid), Some(gid)).map_err(|cause| failed(&cause))?;
        }
        process::read(self.command("initdb").arg("-D").arg(data).args(["-U", "bench", "--auth=trust", "--no-instructions"])).map(drop)
    }
}

impl User {
    /// The one that Debian's package makes, else nobody.
    fn find() -> Result<Self, Failure> {
        let number = |option: &str, name: &str| process::read(Command::new("id").args([option, name])).ok()?.trim().parse().ok();
        let found = ["postgres", "nobody"].iter().find_map(|name| Some(Self { uid: number("-u", name)?, gid: number("-g", name)? }));
        found.ok_or_else(|| {
            Failure::new(
                "Procrastinate is not measured",
                "PostgreSQL does not run as root, and there is no other user for it",
                "useradd postgres",
            )
        })
    }
}
