//! A worker in Rust: it speaks `docs/wire.md` where else Python does, from the base zygote down.
//!
//! Tests of `flash-workers` and `flash-gateway` have it do what no good worker does ([`Step`]), and the bench has it answer a constant,
//! which leaves of a request's cost the host's. It knows the wire, and nothing of the host's crates, of HTTP or of functions.
//!
//! Its processes are as real as Python's: each has a number, a pidfd and an end of its own. Only a fork is none: that takes `unsafe`,
//! so a zygote starts its own program anew, with the descriptors as standard streams.

mod program;
mod script;
mod worker;
mod zygote;

use std::io;
use std::os::fd::{AsFd as _, OwnedFd, RawFd};
use std::process::ExitCode;

use bytes::{Bytes, BytesMut};
use flash_wire::{Kind, VERSION};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};

pub use program::scripted_worker;
pub use script::{Script, Step, steps};
pub use worker::{Order, Request, Worker};
pub use zygote::tell;

/// The last argument of each process: for the base zygote the host's options, for the others what their zygote was told.
#[derive(Serialize, Deserialize)]
struct Options {
    #[serde(default)]
    role: Role,
    /// Who started it. Should that process end, so does this one.
    parent: u32,
    /// Its place among the processes that its zygote started, from 1.
    #[serde(default)]
    number: usize,
    /// A worker's shared page, which it has inherited under this number.
    #[serde(default)]
    page: Option<RawFd>,
    #[serde(default)]
    config: serde_json::Value,
}

#[derive(Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Role {
    /// Its options name no role.
    #[default]
    Base,
    Zygote,
    Worker,
    Description,
}

/// The whole of a program that the host may start as its base zygote. `work` is what a worker does from its start to its end.
pub fn run(work: impl FnOnce(Worker) -> io::Result<()>) -> ExitCode {
    match play_part(work) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("flash-testkit: {error}");
            ExitCode::from(70)
        }
    }
}

fn play_part(work: impl FnOnce(Worker) -> io::Result<()>) -> io::Result<()> {
    let options = std::env::args().next_back().unwrap_or_default();
    let Options { role, parent, number, page, config } = serde_json::from_str(&options)?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid().map(Pid::as_raw_pid) != Some(parent.cast_signed()) {
        return Ok(()); // it ended before the call
    }
    let channel = take_channel()?;
    match role {
        Role::Base => {
            let about = serde_json::json!({ "executable": std::env::current_exe()?, "pid": std::process::id() });
            tell(&channel, Kind::Hello, &[&[VERSION], about.to_string().as_bytes()].concat(), &[])?;
            zygote::serve(&channel)
        }
        Role::Zygote => {
            tell(&channel, Kind::Ready, br#"{"unsafe": []}"#, &[])?;
            zygote::serve(&channel)
        }
        Role::Description => {
            let mut said = BytesMut::new();
            flash_wire::encode_chunk(&mut said, 0, &Bytes::from_static(br#"{"paths": {}, "components": {}}"#));
            rustix::io::write(&channel, &said).map(drop)?;
            Ok(())
        }
        Role::Worker => {
            let page = page.ok_or_else(|| io::Error::other("a worker has a page"))?;
            work(Worker::new(channel, page, number, config)?)
        }
    }
}

/// Standard input is the way to the host. What reads standard input by mistake finds it empty.
fn take_channel() -> io::Result<OwnedFd> {
    let channel = io::stdin().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    Ok(channel)
}
