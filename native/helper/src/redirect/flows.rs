//! The connections that go by a redirect. They outlive it: their packets are translated for as long
//! as anybody's rules translate, and when the last of those are gone, what a program still writes
//! leaves the machine as it is, in clear, towards the pod's address. So they are ended first.
//!
//! After `kill -9` of this program nobody does that; see SECURITY.md for what can be left then.

use std::collections::HashSet;

use k8s_connect_netlink::sock_diag::{SockDiag, TcpSocket};
use k8s_connect_wire::Redirect;

use crate::policy;

/// Each pass ends what it has seen; one more sees what was just being made.
const PASSES: usize = 3;

/// Ends the connections of `uid` that go by these redirects. To be called with the capability on,
/// when no new ones are redirected and before the rules go. Failures are passed over: the rest must
/// go on.
pub fn end(sockets: &mut SockDiag, uid: u32, redirects: &[Redirect]) {
    // Asking for all connections costs more than all the rest of a change.
    if redirects.is_empty() {
        return;
    }
    for _ in 0..PASSES {
        let all = sockets.connections().unwrap_or_default();
        let ended = redirected(&all, uid, redirects);
        if ended.is_empty() {
            return;
        }
        for socket in ended {
            let _ = sockets.destroy(socket);
        }
    }
}

/// Both ends of a redirected connection are sockets of this machine: one has arrived at our
/// listener, and knows where the other is. That tells it from a connection to the same address
/// that goes by another session's redirect, or by none.
fn redirected<'a>(all: &'a [TcpSocket], uid: u32, redirects: &[Redirect]) -> Vec<&'a TcpSocket> {
    let arrivals: HashSet<_> = redirects.iter().map(policy::arrival).collect();
    let destinations: HashSet<_> = redirects.iter().map(|redirect| redirect.to).collect();
    let clients: HashSet<_> = all
        .iter()
        .filter(|socket| arrivals.contains(&socket.local))
        .map(|socket| socket.remote)
        .collect();
    let is_client = |socket: &&TcpSocket| {
        socket.uid == uid
            && destinations.contains(&socket.remote)
            && clients.contains(&socket.local)
    };
    all.iter().filter(is_client).collect()
}
