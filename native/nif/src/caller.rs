//! The process that called a NIF, and messages to it.

use std::sync::{Mutex, PoisonError};

use rustler::{Encoder, Env, LocalPid, OwnedEnv, Reference, env::SavedTerm};

/// The calling process, and the reference in all messages to it.
pub struct Caller {
    pid: LocalPid,
    /// The reference, and the environment that keeps it.
    reference: Mutex<(OwnedEnv, SavedTerm)>,
}

impl Caller {
    pub fn new(caller: Env, reference: Reference) -> Self {
        let home = OwnedEnv::new();
        let reference = home.save(reference);
        Self { pid: caller.pid(), reference: Mutex::new((home, reference)) }
    }

    pub fn pid(&self) -> LocalPid {
        self.pid
    }

    /// Sends `{reference, message}`. Never on a scheduler's thread, where the VM forbids it.
    pub fn send(&self, message: &impl Encoder) {
        let kept = self.reference.lock().unwrap_or_else(PoisonError::into_inner);
        let (home, reference) = &*kept;
        // An error means that the caller has exited.
        let _ = OwnedEnv::new().send_and_clear(&self.pid, |env| {
            let reference = home.run(|home| reference.load(home).in_env(env));
            (reference, message.encode(env)).encode(env)
        });
    }
}
