//! The `portforward` subresource, and the protocols on it.

use crate::streaming::negotiation::Subresource;

pub(super) const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
pub(super) const CHANNELS: &str = "v4.channel.k8s.io";
/// Old servers leak memory with each WebSocket that they refuse, so this has a protocol that each of them
/// accepts.
pub(super) const EITHER: &str = "SPDY/3.1+portforward.k8s.io, v4.channel.k8s.io";

/// A request for a port-forward connection. `websocket`: the protocols to offer.
pub(super) fn port_forward<'a>(
    pod: &'a str,
    port: u16,
    websocket: &'static str,
) -> Subresource<'a> {
    Subresource {
        pod,
        name: "portforward",
        resource: "pods/portforward",
        // SPDY names its ports later.
        query: format!("ports={port}"),
        spdy: "portforward.k8s.io",
        websocket,
        remember: true,
    }
}
