//! The processes of OTP, of Elixir and of the library in this VM. All sessions share one list, because a thousand copies
//! would be large.

use std::sync::{PoisonError, RwLock};

use super::{
    capabilities::Process,
    term::{Item, Token, VERSION, item},
};

/// The newest list: by id and serial, sorted. The creation changes when the VM becomes a node.
#[derive(Debug, Default)]
pub struct Servers(RwLock<Vec<(u32, u32)>>);

impl Servers {
    /// Replaces the list. `pids` is a list in the external format.
    pub fn replace(&self, pids: &[u8]) {
        let mut list: Vec<_> = parse(pids).collect();
        list.sort_unstable();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = list;
    }

    /// Adds a process: a pid in the external format.
    pub fn add(&self, pid: &[u8]) {
        let mut list = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for process in parse(pid) {
            if let Err(position) = list.binary_search(&process) {
                list.insert(position, process);
            }
        }
    }

    pub(super) fn contains(&self, process: &Process) -> bool {
        let list = self.0.read().unwrap_or_else(PoisonError::into_inner);
        list.binary_search(&key(*process)).is_ok()
    }
}

/// A pid, or the pids of a list, up to an element that is none.
fn parse(term: &[u8]) -> impl Iterator<Item = (u32, u32)> {
    let mut rest = term.strip_prefix(&[VERSION]).unwrap_or_default();
    if let Ok(Item { token: Token::List(_), size, .. }) = item(rest) {
        rest = &rest[size..];
    }
    std::iter::from_fn(move || {
        let Ok(Item { token: Token::Pid(pid), size, .. }) = item(rest) else { return None };
        rest = &rest[size..];
        Some(key(pid.into()))
    })
}

fn key(Process { id, serial, .. }: Process) -> (u32, u32) {
    (id, serial)
}
