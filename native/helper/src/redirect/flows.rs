//! The connections that go by a redirect. They outlive it: their packets are translated for as long
//! as anybody's rules translate, and when the last of those are gone, what a program still writes
//! leaves the machine as it is, in clear, towards the pod's address. So they are ended first.
//!
//! After `kill -9` of this program nobody does that. The program's peer, our listener, is closed by
//! the library then; see SECURITY.md for what can be left.

use std::{collections::BTreeSet, net::SocketAddr};

use k8s_connect_netlink::sock_diag::SockDiag;

/// Each pass ends what it has seen; one more sees what was just being made.
const PASSES: usize = 3;

/// Ends the connections of `uid` to these addresses. To be called with the capability on, when no
/// new ones are redirected and before the rules go. Failures are passed over: the rest must go on.
pub fn end(sockets: &mut SockDiag, uid: u32, to: &BTreeSet<SocketAddr>) {
    for _ in 0..PASSES {
        let mut found = sockets.connections().unwrap_or_default();
        found.retain(|socket| socket.uid == uid && to.contains(&socket.remote));
        if found.is_empty() {
            return;
        }
        for socket in found {
            let _ = sockets.destroy(&socket);
        }
    }
}
