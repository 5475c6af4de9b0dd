//! The processes of OTP, of Elixir and of the library in this VM. All sessions share one list, because a thousand copies
//! would be large.

use std::{
    collections::HashSet,
    sync::{PoisonError, RwLock},
};

use super::capabilities::Process;

/// The newest list.
#[derive(Debug, Default)]
pub struct Servers(RwLock<List>);

#[derive(Debug, Default)]
struct List {
    order: Option<i64>,
    /// By id and serial: the creation changes when the VM becomes a node.
    processes: HashSet<(u32, u32)>,
}

impl Servers {
    /// Replaces the list, unless it is newer: `order` is from before the processes were listed. The pids are in the
    /// external format.
    pub fn replace<'a>(&self, order: i64, pids: impl Iterator<Item = &'a [u8]>) {
        let processes = pids.filter_map(Process::parse).map(key).collect();
        let mut list = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if list.order.is_none_or(|newest| newest < order) {
            *list = List { order: Some(order), processes };
        }
    }

    pub(super) fn contains(&self, process: &Process) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).processes.contains(&key(*process))
    }
}

fn key(Process { id, serial, .. }: Process) -> (u32, u32) {
    (id, serial)
}
