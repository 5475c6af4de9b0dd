//! The nodes that this VM has connected to: a second connect to the same pod needs neither epmd nor a probe. If such a
//! node is gone, the caller connects again without this knowledge.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use crate::node::Node;

const MAX: usize = 256;

struct Entry {
    uid: String,
    /// The requested name, where the pod has several nodes.
    requested: Option<String>,
    name: String,
    port: u16,
}

/// The newest first.
static NODES: Mutex<VecDeque<Entry>> = Mutex::new(VecDeque::new());

/// The name and the port of the node in the pod of this uid.
pub(super) fn get(uid: &str, requested: Option<&str>) -> Option<(String, u16)> {
    let nodes = NODES.lock().unwrap_or_else(PoisonError::into_inner);
    let node = nodes.iter().find(|node| is_for(node, uid, requested))?;
    Some((node.name.clone(), node.port))
}

/// Remembers what the node in the pod of this uid has reported.
pub(super) fn put(uid: &str, requested: Option<&str>, node: &Node) {
    if uid.is_empty() {
        return;
    }
    let mut nodes = NODES.lock().unwrap_or_else(PoisonError::into_inner);
    nodes.retain(|known| !is_for(known, uid, requested));
    nodes.truncate(MAX - 1);
    let (name, port) = (node.name.clone(), node.port);
    nodes.push_front(Entry { uid: uid.into(), requested: requested.map(Into::into), name, port });
}

fn is_for(node: &Entry, uid: &str, requested: Option<&str>) -> bool {
    node.uid == uid && node.requested.as_deref() == requested
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_node_of_a_uid_is_remembered_for_each_requested_name() {
        let node = |name: &str, port| Node { name: name.into(), port, probed: true, names: vec![] };
        let uid = "the_last_node_of_a_uid";
        assert_eq!(get(uid, None), None);
        put(uid, None, &node("app@h", 1));
        put(uid, None, &node("app@i", 2));
        put(uid, Some("second"), &node("second@i", 3));
        assert_eq!(get(uid, None), Some(("app@i".into(), 2)));
        assert_eq!(get(uid, Some("second")), Some(("second@i".into(), 3)));
        assert_eq!(get(uid, Some("third")), None);
        put("", None, &node("app@h", 1));
        assert_eq!(get("", None), None);
        for number in 0..2 * MAX {
            put(&format!("uid {number}"), None, &node("x@h", 1));
        }
        assert!(NODES.lock().unwrap_or_else(PoisonError::into_inner).len() <= MAX);
        assert_eq!(get(uid, None), None);
    }
}
