//! A server's home, and an endpoint in it whose function runs the code that it is sent.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flash_wire::{Content, RequestHead};
use flash_workers::{
    Answer, Base, Cancel, Interpreter, Isolation, Landlock, Level, Limits, Outcome, Pool, Printed, Request, ResourceLimits, Settings,
    closed_to_others, user_for,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What may be waited for that is not about time.
const PATIENCE: Duration = Duration::from_secs(120);

/// An endpoint with one function.
const APP: &str = r#"
from runpod_flash import LiveLoadBalancer, remote

api = LiveLoadBalancer(name="probe")


@remote(api, method="POST", path="/do")
def do(code: str):
    scope = {}
    try:
        exec(code, scope)
    except BaseException as error:
        return {"raised": type(error).__name__, "said": str(error)}
    return {"said": scope.get("said")}
"#;

/// The levels that this machine offers, the weakest first.
pub fn levels() -> Vec<Level> {
    let Level { user, landlock } = strongest();
    let users: &[bool] = if user { &[false, true] } else { &[false] };
    let landlocks: &[Landlock] = if landlock == Landlock::No { &[Landlock::No] } else { &[Landlock::No, landlock] };
    users.iter().flat_map(|user| landlocks.iter().map(|landlock| Level { user: *user, landlock: *landlock })).collect()
}

/// The strongest of them. As a server does, it takes no users of their own for workers that could not reach their interpreter.
pub fn strongest() -> Level {
    let level = Level::available();
    let needed = [python(), env!("CARGO_BIN_EXE_flash").into(), repository()];
    match closed_to_others(needed.iter().map(PathBuf::as_path)) {
        Some(closed) if level.user => {
            eprintln!("users of their own are not tried: `{}` is closed to others", closed.display());
            Level { user: false, ..level }
        }
        _ => level,
    }
}

/// A server's home, and the endpoint.
pub struct Trial {
    home: TempDir,
    pub pool: Pool,
    pub user: Option<u32>,
    printed: Arc<Mutex<String>>,
}

/// What is to be tried.
pub struct Setup {
    pub level: Level,
    pub app: &'static str,
    pub environment: &'static [(&'static str, &'static str)],
    pub limits: ResourceLimits,
    pub workers: usize,
}

impl Setup {
    pub fn of(level: Level) -> Self {
        Self { level, app: APP, environment: &[("MODEL", "small")], limits: ResourceLimits::of(2), workers: 1 }
    }

    pub fn start(self) -> Trial {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        // As a server has them: to be passed through, and files for itself alone.
        fs::set_permissions(home.path(), Permissions::from_mode(0o711)).unwrap();
        for directory in ["builds", "builds/one", "builds/one/src", "builds/two", "builds/two/src", "workers"] {
            fs::create_dir(path(directory)).unwrap();
            fs::set_permissions(path(directory), Permissions::from_mode(if directory.ends_with('s') { 0o711 } else { 0o755 })).unwrap();
        }
        for (file, content, mode) in [
            ("token", "the token", 0o600),
            ("state.db", "the state", 0o600),
            ("builds/one/src/app.py", self.app, 0o644),
            ("builds/one/src/data.json", "[1, 2]", 0o644),
            ("builds/two/src/app.py", "KEY = 'of another endpoint'", 0o644),
        ] {
            fs::write(path(file), content).unwrap();
            fs::set_permissions(path(file), Permissions::from_mode(mode)).unwrap();
        }
        let user = |endpoint: &str| self.level.user.then(|| user_for(&path("workers"), endpoint).unwrap().unwrap());
        let (user, other_user) = (user("probe"), user("other"));
        assert!(user.is_none() || user != other_user);
        let other = path("workers/homes/other");
        fs::create_dir_all(&other).unwrap();
        fs::write(other.join("cached"), "of another endpoint").unwrap();
        fs::set_permissions(other.parent().unwrap(), Permissions::from_mode(0o711)).unwrap();
        fs::set_permissions(&other, Permissions::from_mode(0o700)).unwrap();
        chown(other.join("cached"), other_user, other_user).unwrap();

        let isolation = Isolation {
            launcher: env!("CARGO_BIN_EXE_flash").into(),
            level: self.level,
            directory: path("workers"),
            endpoint: "probe".into(),
            sources: path("builds/one/src"),
            readable: Vec::new(),
            environment: self.environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            limits: self.limits,
        };
        let interpreter = Interpreter { python: python(), package: Some(repository().join("python/runpod_flash")), routes: true };
        let printed = Arc::new(Mutex::new(String::new()));
        let sink = printed.clone();
        let sink = Arc::new(move |Printed { text, .. }: Printed<'_>| sink.lock().unwrap().push_str(text));
        let base = Arc::new(Base::new(interpreter, sink).isolated(isolation));
        let file = path("builds/one/src/app.py");
        let module = json!({ "name": "app", "file": file, "import_base": file.parent() });
        let function = json!({ "module": module, "qualname": "do", "method": "POST", "path": "/do" });
        let config = json!({ "endpoint": "probe", "functions": [function], "inline": true, "reload": false, "host": null });
        let settings = Settings {
            limits: Limits { slots: 8, ahead: 0, waiting: 8, grace: PATIENCE },
            workers: flash_workers::Workers::fixed(self.workers),
            timeout: PATIENCE,
            start_timeout: PATIENCE,
            replace_stuck: true,
            unheard: 0,
        };
        let pool = Pool::start("probe", base, config, settings);
        Trial { home, pool, user, printed }
    }
}

impl Trial {
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Waits until so many workers are ready.
    pub async fn until_ready(&self, workers: usize) {
        while self.pool.snapshot().ready < workers {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What became of a request that runs this code.
    pub async fn outcome(&self, code: &str) -> Outcome {
        let head = RequestHead { content: Content::Typed("application/json".into()), ..RequestHead::default() };
        let body = json!({ "code": code }).to_string().into();
        self.pool.request(Request { route: 0, head, body, tag: 0, cancel: Cancel::UnlessBegun }).await
    }

    /// What the code says: the value that it gives the name `said`, or how it failed.
    pub async fn run(&self, code: &str) -> Said {
        match self.outcome(code).await {
            Outcome::Answered(Answer { status: 200, body, .. }) => {
                let said: Value = serde_json::from_slice(&body).unwrap();
                match said["raised"].as_str() {
                    Some(name) => Said::Raised(name.to_owned(), said["said"].as_str().unwrap_or_default().to_owned()),
                    None => Said::Value(said["said"].clone()),
                }
            }
            other => panic!("it was not answered but {other:?}\n{}", self.printed.lock().unwrap()),
        }
    }

    /// The value that it gives the name `said`.
    pub async fn value(&self, code: &str) -> Value {
        match self.run(code).await {
            Said::Value(value) => value,
            Said::Raised(name, said) => panic!("{name}: {said}\n{code}"),
        }
    }

    /// What was printed so far.
    pub fn printed(&self) -> String {
        self.printed.lock().unwrap().clone()
    }

    /// Ends the workers; the server's home is left.
    pub async fn end(self) -> TempDir {
        self.pool.close(Duration::ZERO).await;
        self.home
    }
}

/// What code came to.
#[derive(Debug, PartialEq)]
pub enum Said {
    Value(Value),
    /// The exception's class, and its text.
    Raised(String, String),
}

impl Said {
    /// Whether the system did not let it.
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Raised(name, _) if name == "PermissionError")
    }
}

pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The interpreter of the tests.
pub fn python() -> PathBuf {
    let python = repository().join(".venv/bin/python");
    assert!(python.exists(), "`cargo xtask test` makes .venv");
    python
}
