//! The server that a deployment starts where none runs: a process of its own, which goes on when the command ends.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use flash_control::HomeError;

use crate::client::Client;
use crate::connection::{Connection, home};
use crate::lines::to_errors;
use crate::report::{Failure, Fault, Trouble};
use crate::running::Running;

/// A server listens within this; the deployments that it brings back start meanwhile.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client of the server that is meant. Where nobody has named one and none runs, one is started on this machine.
pub fn client(connection: &Connection) -> Result<Client, Failure> {
    let client = connection.client()?;
    if connection.is_named() || client.is_there() {
        return Ok(client);
    }
    let Some(home) = home() else {
        let why = "neither FLASH_HOME nor HOME says where its state is to be";
        return Err(Failure::new(Fault::Usage, Trouble::new("no server can be started", why, "set FLASH_HOME to a directory of yours")));
    };
    start(connection, &home)
}

fn start(connection: &Connection, home: &Path) -> Result<Client, Failure> {
    let failed = |what: &str| {
        let what = format!("cannot start a server: {what}");
        move |cause: std::io::Error| Failure::system(&what, &cause)
    };
    let path = home.join("server.log");
    DirBuilder::new().recursive(true).mode(0o700).create(home).map_err(unusable(home))?;
    let mut log = OpenOptions::new().append(true).read(true).create(true).mode(0o600).open(&path).map_err(unusable(&path))?;
    let begins = log.seek(SeekFrom::End(0)).map_err(failed("its log cannot be read"))?;
    let copy = || log.try_clone().map_err(failed("its log cannot be opened"));
    let mut server = Command::new(std::env::current_exe().map_err(failed("this program is not found"))?);
    server.args(["serve", "--background"]).env("FLASH_HOME", home).env_remove("FLASH_API_KEY").env_remove("FLASH_SERVER");
    let mut server = server.stdin(Stdio::null()).stdout(copy()?).stderr(copy()?).spawn().map_err(failed("no process"))?;
    let until = Instant::now() + PATIENCE;
    loop {
        // It says itself where it is: whoever answers at the usual address meanwhile may be another.
        let client = connection.client()?;
        if Running::find().is_some() && client.is_there() {
            to_errors(&format!("Started a server at {}; `flash stop` ends it\n", client.url()));
            return Ok(client);
        }
        let ended = server.try_wait().map_err(failed("it is lost"))?;
        if ended.is_some() || Instant::now() >= until {
            let said = said_since(log, begins);
            let why = match ended {
                Some(status) => format!("it ended ({status})"),
                None => format!("it does not answer within {} s", PATIENCE.as_secs()),
            };
            let mut trouble = Trouble::new("no server could be started on this machine", why, "see what it says with `flash serve`");
            trouble.detail = (!said.is_empty()).then_some(said);
            return Err(Failure::new(Fault::Request, trouble));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// As `flash serve` says it of its home.
fn unusable(path: &Path) -> impl Fn(std::io::Error) -> Failure {
    move |cause| {
        let error = HomeError::Unusable { path: path.to_owned(), cause };
        Failure::new(Fault::Request, Trouble::new(format!("no server can be started: {error}"), error.why(), error.remedy()))
    }
}

fn said_since(mut log: File, begins: u64) -> String {
    let mut said = Vec::new();
    // What cannot be read cannot be shown.
    let _ = log.seek(SeekFrom::Start(begins)).and_then(|_| log.take(64 << 10).read_to_end(&mut said));
    String::from_utf8_lossy(&said).into_owned()
}
