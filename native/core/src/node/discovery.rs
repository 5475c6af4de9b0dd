//! Finds the node in a pod: by epmd, or on a known port.

use tokio::time::{Instant, timeout_at};

use super::{
    epmd::Entry,
    epmd_query::EpmdQuery,
    error::Error,
    probe::{TIMEOUT, probe},
};
use crate::{node_name::local_part, port_forward::PortForward};

/// A node that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its full name.
    pub name: String,
    /// Its port on the pod's loopback.
    pub port: u16,
    /// Whether the node reported its name in the handshake. Otherwise the name is from the pod's spec.
    pub probed: bool,
    /// The nodes that epmd had named by then, without transient CLI nodes.
    pub names: Vec<Entry>,
}

/// Finds the node with the name `requested` before its host, or the only node. Needs two round trips, or one
/// where `expected` has the name when epmd has answered, and no cookie.
///
/// A name whose port refuses connections is skipped where another node answers: for a while epmd keeps what a
/// node on another machine registered through a forward.
///
/// # Errors
/// [`Error`]
pub async fn discover(
    connection: &PortForward,
    requested: Option<&str>,
    expected: impl Fn() -> Option<String>,
) -> Result<Node, Error> {
    find(connection, requested, expected).await.map_err(|error| match connection.close_reason() {
        // Any other error is a consequence.
        Some(reason) => Error::PortForwardClosed { reason },
        None => error,
    })
}

/// The node on a port, without epmd. Needs one round trip.
///
/// # Errors
/// [`Error`]
pub async fn at_port(connection: &PortForward, port: u16) -> Result<Node, Error> {
    let entry = Entry { name: format!("at port {port}"), port };
    let challenge = probe(connection, &entry).await.map_err(|error| {
        match (connection.close_reason(), error) {
            (Some(reason), _) => Error::PortForwardClosed { reason },
            (None, Error::PortRefused { port, message, .. }) => {
                Error::NoNodeOnPort { port, message }
            }
            (None, error) => error,
        }
    })?;
    let name = local_part(&challenge.name).to_owned();
    let names = vec![Entry { name, port }];
    Ok(Node { name: challenge.name, port, probed: true, names })
}

/// All names in epmd, to the end of its answer.
///
/// # Errors
/// [`Error`]
pub async fn registered_names(connection: &PortForward) -> Result<Vec<Entry>, Error> {
    EpmdQuery::send(connection).await?.all().await
}

/// Tries the ports of nodes without epmd, after [`discover`] has failed with `error` because there is no epmd
/// or no node in it. `requested` is as for [`discover`].
///
/// # Errors
/// [`Error`]; `error` where no port has the node.
pub async fn at_known_port(
    connection: &PortForward,
    ports: Vec<u16>,
    requested: Option<&str>,
    error: Error,
) -> Result<Node, Error> {
    if !matches!(error, Error::NoEpmd { .. } | Error::NoNodes) {
        return Err(error);
    }
    let is_requested =
        |node: &Node| requested.is_none_or(|name| local_part(name) == local_part(&node.name));
    for port in &ports {
        match at_port(connection, *port).await {
            Ok(node) if is_requested(&node) => return Ok(node),
            Err(
                error @ (Error::PortForwardClosed { .. }
                | Error::TlsOnly { .. }
                | Error::TlsFailed { .. }),
            ) => {
                return Err(error);
            }
            _ => {}
        }
    }
    Err(match error {
        Error::NoEpmd { message, .. } => Error::NoEpmd { message, ports },
        error => error,
    })
}

async fn find(
    connection: &PortForward,
    requested: Option<&str>,
    expected: impl Fn() -> Option<String>,
) -> Result<Node, Error> {
    let mut epmd = EpmdQuery::send(connection).await?;
    let requested = requested.map(local_part);
    let (entry, name, probed) = first_alive(connection, &mut epmd, requested, expected).await?;
    // epmd sent all its lines before the node answered, so the other names have arrived.
    let arrived = epmd.take_arrived();
    if requested.is_none() {
        arrived?;
        let mut available = vec![entry.name.clone()];
        // Nodes that do not answer do not count. Those that there was no time for do.
        let deadline = Instant::now() + 2 * TIMEOUT;
        for other in epmd.rest() {
            if !matches!(timeout_at(deadline, probe(connection, other)).await, Ok(Err(_))) {
                available.push(other.name.clone());
            }
        }
        if available.len() > 1 {
            return Err(Error::SeveralNodes { available });
        }
    }
    Ok(Node { name, port: entry.port, probed, names: epmd.nodes_and(&entry) })
}

/// The first node that answers: its entry, its full name, and whether it reported that itself.
async fn first_alive(
    connection: &PortForward,
    epmd: &mut EpmdQuery,
    requested: Option<&str>,
    expected: impl Fn() -> Option<String>,
) -> Result<(Entry, String, bool), Error> {
    let mut refused = None;
    loop {
        let entry = match epmd.next_match(requested).await {
            Ok(entry) => entry,
            // Of several names without a node the first one is the error.
            Err(error) => return Err(refused.unwrap_or(error)),
        };
        let is_entry = |name: &String| local_part(name) == entry.name;
        if let Some(name) = expected().filter(is_entry) {
            return Ok((entry, name, false));
        }
        match probe(connection, &entry).await {
            Ok(challenge) => return Ok((entry, challenge.name, true)),
            Err(error @ Error::PortRefused { .. }) => {
                refused.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
}
