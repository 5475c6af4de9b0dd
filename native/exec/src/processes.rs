//! What the command has started.

use std::{collections::HashMap, fs};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

struct Process {
    parent: i32,
    session: i32,
}

/// All descendants of this process in its session: a daemon has left it, to outlive its parents.
pub fn descendants() -> Vec<Pid> {
    let ours = i32::try_from(std::process::id()).unwrap_or(0);
    let all: HashMap<i32, Process> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, look_at(pid)?)))
        .collect();
    let session = all.get(&ours).map(|process| process.session);
    let descends = |mut pid: i32| {
        // No chain is longer than the list.
        for _ in 0..all.len() {
            match all.get(&pid) {
                Some(process) if process.parent == ours => return true,
                Some(process) => pid = process.parent,
                None => return false,
            }
        }
        false
    };
    let found =
        all.iter().filter(|(pid, process)| Some(process.session) == session && descends(**pid));
    found.map(|(pid, _process)| Pid::from_raw(*pid)).collect()
}

/// Sends a signal to all of them, and to the command.
pub fn signal(signal: Signal, command: Option<Pid>) {
    let mut all = descendants();
    all.extend(command.filter(|command| !all.contains(command)));
    for pid in all {
        let _ = kill(pid, signal);
    }
}

/// `None` for one that is gone, or has ended and waits for its parent to know.
fn look_at(pid: i32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may have spaces and brackets.
    let (_name, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    (state != "Z").then_some(Process { parent, session })
}
