//! `flash stop`: ends the server that runs on this machine.

use std::time::{Duration, Instant};

use flash_api::Server;
use flash_control::is_taken;
use flash_manifest::FlashToml;

use crate::connection::{Connection, NamedBy, home};
use crate::output::print;
use crate::report::{Failure, Fault, Trouble};

/// What the user asked for.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    connection: Connection,
}

/// Requests under way are answered first, each within its own limit: this long is waited for the end.
const PATIENCE: Duration = Duration::from_secs(90);

/// Asks the server to end, and waits until it has.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let connection = &arguments.connection;
    let client = connection.client()?;
    // That of this machine: it is about to stop listening, and has its home until its workers have ended. The next one could not start.
    let home = home().filter(|_| matches!(connection.named(&FlashToml::default(), None).by, NamedBy::Running(_)));
    let server: Server = client.get("/server")?;
    client.order("/server/stop")?;
    let until = Instant::now() + PATIENCE;
    while client.is_there() || home.as_deref().is_some_and(is_taken) {
        if Instant::now() >= until {
            let why = "requests that it answers may still be under way";
            let trouble = Trouble::new(format!("the server (process {}) has not ended yet", server.pid), why, "wait, or end the process");
            return Err(Failure::new(Fault::Request, trouble));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    print(&format!("Stopped the server at {}\n", client.url()))
}
