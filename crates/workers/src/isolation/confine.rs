//! The launcher's side: it brings an order about on itself, then becomes the program.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use bytes::BytesMut;
use flash_wire::{Kind, encode};
use landlock::{
    ABI, Access as _, AccessFs, Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
    path_beneath_rules,
};
use rustix::fs::Mode;
use rustix::process::{Gid, Resource, Rlimit, Uid, getpid, getrlimit, set_child_subreaper, setrlimit, setsid, umask};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, CpuSet, sched_getaffinity, sched_setaffinity, set_capabilities,
    set_capabilities_secure_bits, set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use super::order::Order;

/// The version of Landlock that is asked for. An older kernel gives what it has of it.
const VERSION: ABI = ABI::V6;

/// What could not be done.
struct Refused {
    what: String,
    why: String,
    remedy: String,
}

/// Waits at standard input for what the host wants, does it, and becomes the base zygote. Returns when that failed, which the host is told in
/// the zygote's place, or when there is no host.
///
/// This process must have one thread: some of what is done holds for the calling thread alone.
pub fn confine() {
    let channel = io::stdin();
    let order = match Order::receive(&channel) {
        Ok(Some(order)) => order,
        Ok(None) => return,
        Err(cause) => return tell(&Refused::system("told what to do", &cause)),
    };
    match apply(&order) {
        Ok(()) => {
            let mut command = Command::new(&order.program);
            let cause = command.args(&order.arguments).env_clear().envs(order.environment.iter().map(|(name, value)| (name, value))).exec();
            tell(&cannot_start(&order, &cause));
        }
        Err(refused) => tell(&refused),
    }
}

fn apply(order: &Order) -> Result<(), Refused> {
    let system = |what: &'static str| move |cause: rustix::io::Errno| Refused::system(what, &cause.into());
    // Away from the server's terminal, in which its workers could type, and from what its own parent left open.
    setsid().map_err(system("given a session of its own"))?;
    // What workers leave behind becomes the base zygote's, not the host's: so it is known whose it is.
    set_child_subreaper(Some(getpid())).map_err(system("made the parent of what they leave behind"))?;
    close_fds::set_fds_cloexec(3, &[]);
    umask(Mode::RWXG | Mode::RWXO);
    limit(order).map_err(system("limited in what it uses"))?;
    // The paths are looked up while they all can be.
    let rules = if order.landlock { Some(rules(order).map_err(|cause| Refused::landlock(&cause))?) } else { None };
    become_user(order.user).map_err(system("made another user"))?;
    set_no_new_privs(true).map_err(system("kept from becoming another user"))?;
    if let Some(rules) = rules {
        let status = rules.restrict_self().map_err(|cause| Refused::landlock(&cause))?;
        if status.ruleset == RulesetStatus::NotEnforced {
            return Err(Refused::landlock(&"the kernel does not offer Landlock"));
        }
    }
    std::env::set_current_dir(&order.directory).map_err(|cause| cannot_start(order, &cause))
}

fn limit(order: &Order) -> rustix::io::Result<()> {
    let lower = |resource, most: u64, soft: Option<u64>| {
        let maximum = getrlimit(resource).maximum.map_or(most, |before| before.min(most));
        let current = soft.unwrap_or(maximum).min(maximum);
        setrlimit(resource, Rlimit { current: Some(current), maximum: Some(maximum) })
    };
    // A core file would hold the memory of a worker, where anybody may find it.
    lower(Resource::Core, 0, None)?;
    lower(Resource::Nofile, order.open_files, order.soft_open_files.or(getrlimit(Resource::Nofile).current))?;
    if let Some(processes) = order.processes {
        lower(Resource::Nproc, processes, None)?;
    }
    if let Some(processors) = order.processors {
        let offered = sched_getaffinity(None)?;
        let mut taken = CpuSet::new();
        (0..CpuSet::MAX_CPU)
            .filter(|processor| offered.is_set(*processor))
            .take(processors as usize)
            .for_each(|processor| taken.set(processor));
        sched_setaffinity(None, &taken)?;
    }
    Ok(())
}

fn rules(order: &Order) -> Result<RulesetCreated, RulesetError> {
    let all = AccessFs::from_all(VERSION);
    let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::ReadDir | AccessFs::IoctlDev;
    Ruleset::default()
        .handle_access(all)?
        .scope(Scope::from_all(VERSION))?
        .create()?
        .add_rules(path_beneath_rules(&order.readable, AccessFs::from_read(VERSION)))?
        .add_rules(path_beneath_rules(&order.writable, all))?
        .add_rules(path_beneath_rules(&order.devices, device))
}

/// Becomes a user without any privilege. Root that stays root keeps none of its own either.
fn become_user(user: Option<u32>) -> rustix::io::Result<()> {
    if let Some(user) = user {
        let (group, user) = (Gid::from_raw(user), Uid::from_raw(user));
        set_thread_groups(&[])?;
        set_thread_res_gid(group, group, group)?;
        return set_thread_res_uid(user, user, user); // which takes all capabilities
    }
    if rustix::process::geteuid().is_root() {
        // Else a program that is started would get them back.
        set_capabilities_secure_bits(CapabilitiesSecureBits::NO_ROOT | CapabilitiesSecureBits::NO_ROOT_LOCKED)?;
        let none = CapabilitySet::empty();
        set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    }
    Ok(())
}

impl Refused {
    fn system(what: &str, cause: &io::Error) -> Self {
        Self {
            what: format!("the endpoint's processes could not be {what}"),
            why: cause.to_string(),
            remedy: "see what the server may do: a container or a unit's settings can take rights from it".into(),
        }
    }

    fn landlock(cause: &dyn std::fmt::Display) -> Self {
        Self {
            what: "the endpoint's processes could not be confined to their files".into(),
            why: cause.to_string(),
            remedy: "start the server again: it then finds out anew what this kernel offers".into(),
        }
    }
}

fn cannot_start(order: &Order, cause: &io::Error) -> Refused {
    let program = order.program.display();
    let user = order.user.map_or_else(String::new, |user| format!(" as user {user}"));
    let confined = if order.landlock { ", confined to what it needs" } else { "" };
    Refused {
        what: format!("cannot start the interpreter `{program}`{user}"),
        why: format!("{cause}{confined}"),
        remedy: "have the interpreter, the environment and FLASH_HOME in directories that everybody may pass through".into(),
    }
}

/// Says FAILED, as a base zygote does that cannot go on.
fn tell(refused: &Refused) {
    let report = serde_json::json!({ "error": refused.what, "why": refused.why, "try": refused.remedy, "traceback": null });
    let mut packet = BytesMut::new();
    encode(&mut packet, Kind::Failed, 0, report.to_string().as_bytes());
    let _ = rustix::io::write(io::stdin(), &packet); // a host that is gone need not know
}
