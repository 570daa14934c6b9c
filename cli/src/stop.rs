//! `flash stop`: ends the server that runs on this machine.

use std::time::{Duration, Instant};

use flash_api::Server;
use flash_control::is_taken;
use flash_manifest::FlashToml;

use crate::client::{Client, is_loopback};
use crate::connection::{Connection, home};
use crate::lines::to_errors;
use crate::output::{print, print_json};
use crate::report::{Failure, Fault, Trouble};
use crate::running::{Running, is_flash};

/// What the user asked for.
#[derive(clap::Args)]
pub struct Arguments {
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Beyond what the server waits for by itself: its workers' end.
const MARGIN: Duration = Duration::from_secs(30);
/// What is done within this needs no words on the way.
const UNREMARKED: Duration = Duration::from_secs(1);

/// Asks the server to end, and waits until it has.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let connection = &arguments.connection;
    let client = connection.client()?;
    let url = connection.named(&FlashToml::default(), None).url;
    // That of this machine's home has it until its workers have ended: the next one could not start.
    let home = home().filter(|_| Running::find().is_some_and(|running| running.is_at(&url)));
    let is_taken = || home.as_deref().is_some_and(is_taken);
    let (pid, longest) = if client.is_there() {
        let server: Server = client.get("/server")?;
        client.order("/server/stop")?;
        (Some(server.pid), Duration::from_millis(server.drain_ms))
    } else if is_taken() {
        (None, MARGIN) // it was told already, and finishes what is under way
    } else {
        return Err(nothing(&client));
    };
    // One whose home is elsewhere. Where it is behind a tunnel, its number may be anybody's here.
    let here = url.parse::<http::Uri>().is_ok_and(|url| url.host().is_some_and(is_loopback));
    let pid = pid.filter(|pid| here && is_flash(*pid));
    let (began, mut told) = (Instant::now(), false);
    while client.is_there() || is_taken() || pid.is_some_and(is_flash) {
        if began.elapsed() >= longest.saturating_add(MARGIN) {
            let who = pid.map(|pid| format!(" (process {pid})")).unwrap_or_default();
            let trouble = Trouble::new(
                format!("the server at {}{who} has not ended yet", client.url()),
                format!("it was told to, and more than the {} s that it takes at most are over", longest.as_secs_f64()),
                "see its log, or end the process",
            );
            return Err(Failure::new(Fault::Request, trouble));
        }
        if !told && began.elapsed() > UNREMARKED {
            told = true;
            to_errors(&format!("Waiting for requests and jobs under way, for at most {} s\n", longest.as_secs_f64()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    if arguments.json {
        return print_json(&serde_json::json!({ "stopped": client.url() }));
    }
    print(&format!("Stopped the server at {}\n", client.url()))
}

fn nothing(client: &Client) -> Failure {
    let remedy = "name the server that you mean: --server or FLASH_SERVER its URL, or FLASH_HOME its home";
    let trouble = Trouble::new("there is nothing to stop", format!("no server answers at {}", client.url()), remedy);
    Failure::new(Fault::Request, trouble)
}
