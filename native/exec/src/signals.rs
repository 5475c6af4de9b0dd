//! Which process gets Ctrl-C, and which signals a command ignores at its start.
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
    // SAFETY: all zeroes is a valid `sigaction`.
    let mut current: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes the current action and changes nothing.
    let result = unsafe { libc::sigaction(signal as i32, ptr::null(), &raw mut current) };
    result == 0 && current.sa_sigaction == libc::SIG_IGN
}

/// The signals that a command starts with the default action: all except those that `nohup` or a
/// shell has set to ignored. For SIGINT and SIGQUIT the BEAM has installed handlers, so the
/// inherited actions are unknown.
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

/// The number of `IgnoredKeys`, and the original actions.
struct IgnoredState {
    count: usize,
    before: [Option<SigAction>; 2],
}

static IGNORED: Mutex<IgnoredState> = Mutex::new(IgnoredState { count: 0, before: [None; 2] });

/// While one of these exists, the process ignores Ctrl-C and Ctrl-\, as `system(3)` does.
pub struct IgnoredKeys(());

impl IgnoredKeys {
    /// Ignores the keys from now on.
    #[must_use]
    pub fn new() -> Self {
        let mut state = state();
        if state.count == 0 {
            let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
            // SAFETY: no handler is installed.
            state.before = KEYS.map(|key| unsafe { sigaction(key, &ignore) }.ok());
        }
        state.count += 1;
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
        let mut state = state();
        state.count -= 1;
        if state.count > 0 {
            return;
        }
        for (key, before) in KEYS.into_iter().zip(state.before) {
            let Some(before) = before else { continue };
            // SAFETY: restores an action that was valid in this process before.
            let _ = unsafe { sigaction(key, &before) };
        }
    }
}

fn state() -> MutexGuard<'static, IgnoredState> {
    IGNORED.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_ignored_until_the_last_command_has_ended() {
        // A shell without job control starts its background jobs with both ignored.
        let before = KEYS.map(is_ignored);
        let first = IgnoredKeys::new();
        let second = IgnoredKeys::new();
        drop(first);
        assert!(KEYS.into_iter().all(is_ignored));
        drop(second);
        assert_eq!(KEYS.map(is_ignored), before);
    }
}
