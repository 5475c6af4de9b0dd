//! The processes of OTP, of Elixir and of the library in this VM. All sessions share one list, because a thousand copies
//! would be large.

use std::sync::{PoisonError, RwLock};

use super::{
    capabilities::Process,
    term::{Item, Token, VERSION, item},
};

/// The newest list.
#[derive(Debug, Default)]
pub struct Servers(RwLock<List>);

#[derive(Debug, Default)]
struct List {
    order: Option<i64>,
    /// By id and serial, sorted: the creation changes when the VM becomes a node.
    processes: Vec<(u32, u32)>,
}

impl Servers {
    /// Replaces the list, unless it is newer: `order` is from before the processes were listed. `pids` is a list in the
    /// external format.
    pub fn replace(&self, order: i64, pids: &[u8]) {
        let mut processes: Vec<_> = parse(pids).map(key).collect();
        processes.sort_unstable();
        let mut list = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if list.order.is_none_or(|newest| newest < order) {
            *list = List { order: Some(order), processes };
        }
    }

    pub(super) fn contains(&self, process: &Process) -> bool {
        let list = self.0.read().unwrap_or_else(PoisonError::into_inner);
        list.processes.binary_search(&key(*process)).is_ok()
    }
}

/// The pids of a list, up to an element that is none.
fn parse(list: &[u8]) -> impl Iterator<Item = Process> {
    let mut rest = list.strip_prefix(&[VERSION]).unwrap_or_default();
    if let Ok(Item { token: Token::List(_), size, .. }) = item(rest) {
        rest = &rest[size..];
    }
    std::iter::from_fn(move || {
        let Ok(Item { token: Token::Pid(pid), size, .. }) = item(rest) else { return None };
        rest = &rest[size..];
        Some(pid.into())
    })
}

fn key(Process { id, serial, .. }: Process) -> (u32, u32) {
    (id, serial)
}
