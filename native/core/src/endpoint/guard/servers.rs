//! The processes of OTP and Elixir in this VM. All sessions share one list, because a thousand copies would be large.

use std::{
    collections::HashSet,
    sync::{PoisonError, RwLock},
};

use super::capabilities::Process;

/// By id and serial: the creation changes when the VM becomes a node.
#[derive(Debug, Default)]
pub struct Servers(RwLock<HashSet<(u32, u32)>>);

impl Servers {
    /// Replaces the list by what is there now. The pids are in the external format.
    pub fn replace<'a>(&self, pids: impl Iterator<Item = &'a [u8]>) {
        let now = pids.filter_map(Process::parse).map(key).collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = now;
    }

    pub(super) fn contains(&self, process: &Process) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(&key(*process))
    }
}

fn key(Process { id, serial, .. }: Process) -> (u32, u32) {
    (id, serial)
}
