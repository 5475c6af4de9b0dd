//! Finds the node in a pod: by epmd, or on a known port.

use std::pin::pin;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};

use super::{
    epmd::Entry,
    epmd_query::EpmdQuery,
    error::Error,
    hints::HintReceiver,
    probe::{TIMEOUT, probe},
};
use crate::{node_name::local_part, port_forward::PortForward};

/// How many hinted ports are asked.
const MAX_PORTS: usize = 2;

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

/// Finds the node with the name `requested` before its host, or the only node. Needs no cookie. Needs no round trip
/// where the hints have its name and port, one where they have its port or its name, and otherwise two.
///
/// A name whose port refuses connections is skipped where another node answers: for a while epmd keeps what a
/// node on another machine registered through a forward.
///
/// # Errors
/// [`Error`]
pub async fn discover(
    connection: &PortForward,
    requested: Option<&str>,
    hints: &HintReceiver,
) -> Result<Node, Error> {
    let requested = requested.map(local_part);
    find(connection, requested, hints).await.map_err(|error| match connection.close_reason() {
        // Any other error is a consequence.
        Some(reason) => Error::PortForwardClosed { reason },
        None => error,
    })
}

/// Compares the host in the name of a node with the certificate that the node has shown. If it has shown none yet, the
/// next connection compares it. Does nothing without TLS.
///
/// # Errors
/// [`Error::TlsFailed`]
pub fn confirm(connection: &PortForward, node: &Node) -> Result<(), Error> {
    let (Some(tls), Some((_, host))) = (connection.tls(), node.name.split_once('@')) else {
        return Ok(());
    };
    tls.confirm(host).map_err(|problem| Error::TlsFailed {
        node: node.name.clone(),
        port: node.port,
        problem,
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
    hints: &HintReceiver,
) -> Result<Node, Error> {
    if let Some(known) = hints.soon().await
        && (known.without_epmd || known.node(requested).is_some())
        && let Some(node) = by_hints(connection, requested, hints).await
    {
        return Ok(node);
    }
    let mut epmd = EpmdQuery::send(connection).await?;
    let mut hinted = pin!(by_hints(connection, requested, hints));
    let first = {
        let mut registered = pin!(by_epmd(connection, &mut epmd, requested, hints));
        tokio::select! {
            biased;
            node = &mut hinted => match node {
                Some(node) => Ok(node),
                None => return registered.await,
            },
            node = &mut registered => Err(node),
        }
    };
    match first {
        // The spec has its name and port.
        Ok(node) if !node.probed => Ok(node),
        Ok(node) => {
            epmd.await_answer().await;
            take_arrived(&mut epmd, requested)?;
            let entry = Entry { name: local_part(&node.name).to_owned(), port: node.port };
            check_only(connection, &epmd, &entry, requested).await?;
            Ok(Node { names: epmd.nodes_and_self(&entry), ..node })
        }
        Err(Ok(node)) => Ok(node),
        // A node without epmd may answer later.
        Err(Err(error)) => hinted.await.ok_or(error),
    }
}

/// The node on the first of the hinted ports that has the requested one. All ports are asked at the same time, and at
/// the same time as epmd. So a wrong port costs no round trip, unless it refuses: see [`PortForward::has_lost_worker`].
async fn by_hints(
    connection: &PortForward,
    requested: Option<&str>,
    hints: &HintReceiver,
) -> Option<Node> {
    let hints = hints.wait().await;
    if let Some((name, port)) = hints.node(requested) {
        let names = vec![Entry { name: local_part(&name).to_owned(), port }];
        return Some(Node { name, port, probed: false, names });
    }
    let ports = hints.ports.iter().take(MAX_PORTS);
    let answers = join_all(ports.map(|port| at_port(connection, *port))).await;
    let is_requested = |node: &Node| requested.is_none_or(|name| name == local_part(&node.name));
    answers.into_iter().flatten().find(is_requested)
}

/// The node that is registered with epmd.
async fn by_epmd(
    connection: &PortForward,
    epmd: &mut EpmdQuery,
    requested: Option<&str>,
    hints: &HintReceiver,
) -> Result<Node, Error> {
    let expected = || hints.now().and_then(|hints| hints.name);
    let (entry, name, probed) = first_alive(connection, epmd, requested, expected).await?;
    check_only(connection, epmd, &entry, requested).await?;
    Ok(Node { name, port: entry.port, probed, names: epmd.nodes_and_self(&entry) })
}

/// Fails if no node was requested, and another one than `entry` answers.
async fn check_only(
    connection: &PortForward,
    epmd: &EpmdQuery,
    entry: &Entry,
    requested: Option<&str>,
) -> Result<(), Error> {
    if requested.is_some() {
        return Ok(());
    }
    let mut available = vec![entry.name.clone()];
    // Nodes that do not answer do not count. Those that there was no time for do.
    let deadline = Instant::now() + 2 * TIMEOUT;
    for other in epmd.may_be_alive().filter(|other| other.name != entry.name) {
        if !matches!(timeout_at(deadline, probe(connection, other)).await, Ok(Err(_))) {
            available.push(other.name.clone());
        }
    }
    if available.len() > 1 { Err(Error::SeveralNodes { available }) } else { Ok(()) }
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
        let is_expected = |name: &str| expected().is_some_and(|full| local_part(&full) == name);
        let entry = match epmd.next_match(requested, is_expected).await {
            Ok(entry) => entry,
            // Of several names without a node the first one is the error.
            Err(error) => return Err(refused.unwrap_or(error)),
        };
        let is_entry = |name: &String| local_part(name) == entry.name;
        if let Some(name) = expected().filter(is_entry) {
            take_arrived(epmd, requested)?;
            return Ok((entry, name, false));
        }
        let answer = probe(connection, &entry).await;
        // epmd sent all its lines before the node answered, so the other names have arrived.
        take_arrived(epmd, requested)?;
        match answer {
            // The node that it is named after has arrived later.
            _ if requested.is_none() && epmd.is_transient(&entry.name) => {}
            Ok(challenge) => return Ok((entry, challenge.name, true)),
            Err(error @ Error::PortRefused { .. }) => {
                epmd.mark_refused(&entry);
                refused.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Takes what has already arrived. Junk does not matter after the requested name.
fn take_arrived(epmd: &mut EpmdQuery, requested: Option<&str>) -> Result<(), Error> {
    let arrived = epmd.take_arrived();
    if requested.is_none() { arrived } else { Ok(()) }
}
