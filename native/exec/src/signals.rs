//! Who gets Ctrl-C, and which signals a command ignores from its start.
#![allow(unsafe_code)]

use std::{
    ptr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

const KEYS: [Signal; 2] = [Signal::SIGINT, Signal::SIGQUIT];

/// Whether this process ignores the signal.
#[must_use]
pub fn is_ignored(signal: Signal) -> bool {
    // SAFETY: all zeroes is a valid value of it.
    let mut current: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes the current action, and changes nothing.
    let result = unsafe { libc::sigaction(signal as i32, ptr::null(), &raw mut current) };
    result == 0 && current.sa_sigaction == libc::SIG_IGN
}

/// The signals that a program gets with their default action: all but those that `nohup` or a shell
/// has this process ignore. The BEAM has a handler of its own for SIGINT and SIGQUIT, which hides
/// what it has inherited.
#[must_use]
pub fn default_actions() -> SigSet {
    let mut signals = SigSet::all();
    for signal in [Signal::SIGHUP, Signal::SIGTSTP] {
        if is_ignored(signal) {
            signals.remove(signal);
        }
    }
    signals
}

/// How many there are, and the actions before the first.
struct Ignoring {
    count: usize,
    before: [Option<SigAction>; 2],
}

static IGNORING: Mutex<Ignoring> = Mutex::new(Ignoring { count: 0, before: [None; 2] });

/// As long as one of these exists the process ignores Ctrl-C and Ctrl-\, as `system(3)` does while
/// its command runs.
pub struct IgnoredKeys(());

impl IgnoredKeys {
    /// Ignores them from now on.
    #[must_use]
    pub fn new() -> Self {
        let mut ignoring = ignoring();
        if ignoring.count == 0 {
            let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
            // SAFETY: no handler is set, so no code of ours runs in one.
            ignoring.before = KEYS.map(|key| unsafe { sigaction(key, &ignore) }.ok());
        }
        ignoring.count += 1;
        Self(())
    }
}

impl Default for IgnoredKeys {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for IgnoredKeys {
    fn drop(&mut self) {
        let mut ignoring = ignoring();
        ignoring.count -= 1;
        if ignoring.count > 0 {
            return;
        }
        for (key, before) in KEYS.into_iter().zip(ignoring.before) {
            let Some(before) = before else { continue };
            // SAFETY: the handler was this process's own a moment ago.
            let _ = unsafe { sigaction(key, &before) };
        }
    }
}

fn ignoring() -> MutexGuard<'static, Ignoring> {
    IGNORING.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_ignored_until_the_last_command_has_ended() {
        let first = IgnoredKeys::new();
        let second = IgnoredKeys::new();
        drop(first);
        assert!(KEYS.into_iter().all(is_ignored));
        drop(second);
        assert!(!KEYS.into_iter().any(is_ignored));
    }
}
