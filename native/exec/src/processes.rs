//! The child processes of the command.

use std::{collections::HashMap, fs};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

struct Process {
    parent: i32,
    session: i32,
}

/// All descendants in the same session. A daemon has left the session and keeps running.
pub fn descendants() -> Vec<Pid> {
    let ours = i32::try_from(std::process::id()).unwrap_or(0);
    let all: HashMap<i32, Process> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, read_stat(pid)?)))
        .collect();
    let session = all.get(&ours).map(|process| process.session);
    let descends = |mut pid: i32| {
        // Limits the loop if PIDs change while /proc is read.
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

/// Sends a signal to all descendants and to the command.
pub fn signal(signal: Signal, command: Option<Pid>) {
    let mut all = descendants();
    all.extend(command.filter(|command| !all.contains(command)));
    for pid in all {
        let _ = kill(pid, signal);
    }
}

/// `None` if the process has ended or is a zombie.
fn read_stat(pid: i32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The process name may contain spaces and parentheses.
    let (_name, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    (state != "Z").then_some(Process { parent, session })
}
