//! Who gets Ctrl-C.
#![allow(unsafe_code)]

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

const KEYS: [Signal; 2] = [Signal::SIGINT, Signal::SIGQUIT];

/// As long as this exists the process ignores Ctrl-C and Ctrl-\, as `system(3)` does while its
/// command has the terminal.
pub struct IgnoredKeys([Option<SigAction>; 2]);

impl IgnoredKeys {
    /// Ignores them from now on.
    #[must_use]
    pub fn new() -> Self {
        let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
        // SAFETY: no handler is set, so no code of ours runs in one.
        Self(KEYS.map(|key| unsafe { sigaction(key, &ignore) }.ok()))
    }
}

impl Default for IgnoredKeys {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for IgnoredKeys {
    fn drop(&mut self) {
        for (key, before) in KEYS.into_iter().zip(self.0) {
            let Some(before) = before else { continue };
            // SAFETY: the handler was this process's own a moment ago.
            let _ = unsafe { sigaction(key, &before) };
        }
    }
}
