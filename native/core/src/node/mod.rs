//! The Erlang nodes in a pod: which there are, where they listen, and what they are truly called.

use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::time::{Instant, timeout_at};
use tracing::field::Empty;

use crate::link::{Link, Refused, Stream};

pub mod epmd;
pub mod handshake;
pub mod name;
pub mod port;

/// For a whole answer, of epmd or of a node: they take milliseconds, and a pod may send one byte at a time.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Names that an epmd may know.
const MAX_NAMES: usize = 64;

/// Why no node could be found behind a link.
#[derive(Debug, Error)]
pub enum Error {
    /// Nothing listens on epmd's port, and no node where the pod's spec says that one may be.
    #[error("no epmd in the pod: {message}")]
    NoEpmd {
        /// The container runtime's words.
        message: String,
        /// The ports that the spec led to.
        tried: Vec<u16>,
    },
    /// Nothing takes a connection at the port that was asked for.
    #[error("port {port} takes no connection: {message}")]
    NothingAt {
        /// The port.
        port: u16,
        /// The container runtime's words.
        message: String,
    },
    /// Something listens on epmd's port and does not answer, or not to the end.
    #[error("epmd does not answer")]
    EpmdSilent,
    /// Something listens on epmd's port and is not epmd.
    #[error("epmd's port answers with {seen}")]
    EpmdJunk {
        /// What was seen.
        seen: String,
    },
    /// epmd knows no node.
    #[error("epmd knows no node")]
    NoNodes,
    /// epmd knows nodes, and not the one that was asked for.
    #[error("epmd does not know {wanted}")]
    UnknownNode {
        /// The name that was asked for.
        wanted: String,
        /// The names that it knows.
        known: Vec<String>,
    },
    /// epmd knows several nodes and none was asked for.
    #[error("epmd knows several nodes: {known:?}")]
    SeveralNodes {
        /// The names that it knows.
        known: Vec<String>,
    },
    /// epmd knows the node's port, and nothing takes a connection there on the pod's loopback.
    #[error("port {port} of {node} takes no connection: {message}")]
    PortRefused {
        /// The node's name in epmd.
        node: String,
        /// The port that epmd gave.
        port: u16,
        /// The container runtime's words.
        message: String,
    },
    /// The node took the connection and did not answer, or not to the end.
    #[error("{node} does not answer the handshake")]
    HandshakeSilent {
        /// The node's name in epmd.
        node: String,
    },
    /// The node took the connection and ended it without an answer.
    #[error("{node} ends the handshake")]
    HandshakeClosed {
        /// The node's name in epmd.
        node: String,
    },
    /// What answers is not an Erlang node.
    #[error("expected {expected}, got {seen:?}")]
    Junk {
        /// The message of the handshake that was due.
        expected: &'static str,
        /// What came instead.
        seen: String,
    },
    /// What answers speaks TLS, and only that.
    #[error("port {port} of {node} speaks TLS")]
    TlsOnly {
        /// The node's name in epmd.
        node: String,
        /// Its port.
        port: u16,
    },
    /// The node refused us before the challenge.
    #[error("the node says {status}")]
    Rejected {
        /// The node's status.
        status: String,
    },
    /// The node is older than OTP 23.
    #[error("the node is older than OTP 23")]
    TooOld,
    /// The node's name is not one that a node can have.
    #[error("the node calls itself {name:?}")]
    BadName {
        /// The name.
        name: String,
    },
    /// The link was closed on the way.
    #[error("the link was closed: {reason}")]
    LinkClosed {
        /// Why.
        reason: String,
    },
}

/// A node that has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its full name.
    pub name: String,
    /// The port it listens on, on the pod's loopback.
    pub port: u16,
    /// Whether the name is by its own word; otherwise the pod's spec has told it.
    pub probed: bool,
    /// What epmd had told by the time it answered: itself and its neighbours, without visitors.
    pub names: Vec<epmd::Entry>,
}

/// Finds the node behind the link: the one whose name begins with `wanted`, or the only one.
/// Two round trips, one where `expected` has the name when epmd has answered; and no cookie.
///
/// A name whose port takes no connection does not count where another's does: epmd keeps what a
/// node on another machine has registered through a forward for a while.
///
/// # Errors
/// [`Error`]
pub async fn probe(
    link: &Link,
    wanted: Option<&str>,
    expected: impl Fn() -> Option<String>,
) -> Result<Node, Error> {
    find(link, wanted, expected).await.map_err(|error| match link.closed_by() {
        // Then whatever else was seen is only its consequence.
        Some(reason) => Error::LinkClosed { reason },
        None => error,
    })
}

/// The node that listens at a port, whatever epmd says. One round trip.
///
/// # Errors
/// [`Error`]
pub async fn at(link: &Link, port: u16) -> Result<Node, Error> {
    let entry = epmd::Entry { name: format!("at port {port}"), port };
    let challenge = shake(link, &entry).await.map_err(|error| match (link.closed_by(), error) {
        (Some(reason), _) => Error::LinkClosed { reason },
        (None, Error::PortRefused { port, message, .. }) => Error::NothingAt { port, message },
        (None, error) => error,
    })?;
    let name = local(&challenge.name).to_owned();
    let names = vec![epmd::Entry { name, port }];
    Ok(Node { name: challenge.name, port, probed: true, names })
}

/// All that epmd knows, to the end of its answer.
///
/// # Errors
/// [`Error`]
pub async fn names(link: &Link) -> Result<Vec<epmd::Entry>, Error> {
    let mut epmd = Epmd::ask(link).await?;
    // No name is an empty one, so this reads all of them.
    match epmd.next_fit(Some("")).await {
        Ok(_) | Err(Error::NoNodes | Error::UnknownNode { .. }) => Ok(epmd.seen),
        Err(error) => Err(error),
    }
}

/// Looks where a node without epmd may be, when there is none that epmd knows. `wanted` is as for
/// [`probe`], and `error` is what that gave.
///
/// # Errors
/// [`Error`]; where no node is at any of the ports, it is `error`.
pub async fn without_epmd(
    link: &Link,
    ports: Vec<u16>,
    wanted: Option<&str>,
    error: Error,
) -> Result<Node, Error> {
    if !matches!(error, Error::NoEpmd { .. } | Error::NoNodes) {
        return Err(error);
    }
    for port in &ports {
        match at(link, *port).await {
            Ok(node) if wanted.is_none_or(|name| local(name) == local(&node.name)) => {
                return Ok(node);
            }
            Err(error @ (Error::LinkClosed { .. } | Error::TlsOnly { .. })) => return Err(error),
            _ => {}
        }
    }
    Err(match error {
        Error::NoEpmd { message, .. } => Error::NoEpmd { message, tried: ports },
        error => error,
    })
}

/// The part of a name before the host.
fn local(name: &str) -> &str {
    name.split('@').next().unwrap_or(name)
}

async fn find(
    link: &Link,
    wanted: Option<&str>,
    expected: impl Fn() -> Option<String>,
) -> Result<Node, Error> {
    let mut epmd = Epmd::ask(link).await?;
    let wanted = wanted.map(local);
    let (entry, name, probed) = first_alive(link, &mut epmd, wanted, expected).await?;
    // epmd had sent all its lines before the node answered: what else there is has arrived.
    let arrived = epmd.take_arrived();
    if wanted.is_none() {
        arrived?;
        let mut known = vec![entry.name.clone()];
        // One that is silent does not count; those that there was no time to ask do.
        let deadline = Instant::now() + 2 * TIMEOUT;
        for other in epmd.rest() {
            if !matches!(timeout_at(deadline, shake(link, other)).await, Ok(Err(_))) {
                known.push(other.name.clone());
            }
        }
        if known.len() > 1 {
            return Err(Error::SeveralNodes { known });
        }
    }
    Ok(Node { name, port: entry.port, probed, names: epmd.names_around(&entry) })
}

/// The first node that answers: its entry, its full name, and whether that is by its own word.
async fn first_alive(
    link: &Link,
    epmd: &mut Epmd,
    wanted: Option<&str>,
    expected: impl Fn() -> Option<String>,
) -> Result<(epmd::Entry, String, bool), Error> {
    let mut refused = None;
    loop {
        let entry = match epmd.next_fit(wanted).await {
            Ok(entry) => entry,
            // Of names without a node behind them the first one is told.
            Err(error) => return Err(refused.unwrap_or(error)),
        };
        let fits = |name: &String| local(name) == entry.name;
        if let Some(name) = expected().filter(fits) {
            return Ok((entry, name, false));
        }
        match shake(link, &entry).await {
            Ok(challenge) => return Ok((entry, challenge.name, true)),
            Err(error @ Error::PortRefused { .. }) => {
                refused.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
}

/// epmd's answer, as far as it has come, and how far it has been looked at.
struct Epmd {
    stream: Stream,
    deadline: Instant,
    names: epmd::Names,
    seen: Vec<epmd::Entry>,
    looked_at: usize,
}

impl Epmd {
    async fn ask(link: &Link) -> Result<Self, Error> {
        tracing::debug!(name: "epmd", asked = "NAMES_REQ", port = epmd::PORT);
        let stream = link
            .open(epmd::PORT, epmd::NAMES)
            .await
            .map_err(|reason| Error::LinkClosed { reason })?;
        let deadline = Instant::now() + TIMEOUT;
        Ok(Self { stream, deadline, names: epmd::Names::default(), seen: Vec::new(), looked_at: 0 })
    }

    /// The next node that fits; the answer is read no further than that.
    async fn next_fit(&mut self, wanted: Option<&str>) -> Result<epmd::Entry, Error> {
        loop {
            self.take()?;
            while let Some(entry) = self.seen.get(self.looked_at) {
                self.looked_at += 1;
                if wanted.map_or(!is_visitor(&entry.name), |name| entry.name == name) {
                    return Ok(entry.clone());
                }
            }
            match timeout_at(self.deadline, self.stream.read()).await.ok() {
                None => return Err(Error::EpmdSilent),
                Some(Err(Refused(message))) => {
                    return Err(Error::NoEpmd { message, tried: vec![] });
                }
                Some(Ok(Some(bytes))) => self.names.feed(&bytes),
                Some(Ok(None)) => return Err(self.nothing(wanted)),
            }
        }
    }

    fn nothing(&self, wanted: Option<&str>) -> Error {
        match wanted {
            Some(wanted) if !self.seen.is_empty() => {
                let known = self.seen.iter().map(|entry| entry.name.clone()).collect();
                Error::UnknownNode { wanted: wanted.into(), known }
            }
            _ => Error::NoNodes,
        }
    }

    /// Takes what has arrived by now.
    fn take_arrived(&mut self) -> Result<(), Error> {
        while let Some(bytes) = self.stream.try_read() {
            self.names.feed(&bytes);
        }
        self.take()
    }

    /// The nodes that were not looked at.
    fn rest(&self) -> impl Iterator<Item = &epmd::Entry> {
        self.seen.iter().skip(self.looked_at).filter(|entry| !is_visitor(&entry.name))
    }

    /// The nodes that were seen, this one among them even where it is a visitor.
    fn names_around(&self, chosen: &epmd::Entry) -> Vec<epmd::Entry> {
        let counts = |entry: &&epmd::Entry| *entry == chosen || !is_visitor(&entry.name);
        self.seen.iter().filter(counts).cloned().collect()
    }

    fn take(&mut self) -> Result<(), Error> {
        while let Some(entry) = self.names.next_entry().map_err(|seen| Error::EpmdJunk { seen })? {
            if self.seen.len() == MAX_NAMES {
                return Err(Error::EpmdJunk { seen: format!("more than {MAX_NAMES} names") });
            }
            tracing::debug!(name: "epmd", node = entry.name, port = entry.port);
            self.seen.push(entry);
        }
        Ok(())
    }
}

/// `bin/app remote` and `bin/app rpc` of a release register for as long as they run.
fn is_visitor(name: &str) -> bool {
    name.starts_with("rem-") || name.starts_with("rpc-")
}

/// Why the node lets nobody of this name in, where it is not the cookie: that is only asked for after the
/// challenge. One round trip.
pub async fn refusal(link: &Link, node: &Node, name: &str) -> Option<Error> {
    let entry = epmd::Entry { name: local(&node.name).to_owned(), port: node.port };
    match shake_as(link, &entry, handshake::send_name_of(name)).await {
        // Somebody of this name is connected, or about to be: it is asked about, and no refusal.
        Err(Error::Rejected { status }) if status == "alive" || status == "nok" => None,
        Err(error) => Some(error),
        Ok(_) => None,
    }
}

async fn shake(link: &Link, entry: &epmd::Entry) -> Result<handshake::Challenge, Error> {
    match shake_as(link, entry, handshake::send_name()).await {
        Err(Error::HandshakeClosed { .. }) if answers_of_old(link, entry).await => {
            Err(Error::TooOld)
        }
        result => result,
    }
}

/// Whether the node answers the handshake of OTP 22 and before, which ends that of today without a word.
async fn answers_of_old(link: &Link, entry: &epmd::Entry) -> bool {
    match shake_as(link, entry, handshake::send_name_of_old()).await {
        Ok(_) | Err(Error::TooOld | Error::Rejected { .. }) => true,
        Err(_) => false,
    }
}

async fn shake_as(
    link: &Link,
    entry: &epmd::Entry,
    send_name: Bytes,
) -> Result<handshake::Challenge, Error> {
    let node = || entry.name.clone();
    let span = tracing::debug_span!("handshake", port = entry.port, name = Empty, flags = Empty);
    let mut stream =
        link.open(entry.port, send_name).await.map_err(|reason| Error::LinkClosed { reason })?;
    let deadline = Instant::now() + TIMEOUT;
    let mut reader = handshake::Reader::default();
    loop {
        match timeout_at(deadline, stream.read()).await.ok() {
            None => return Err(Error::HandshakeSilent { node: node() }),
            Some(Ok(None)) => return Err(Error::HandshakeClosed { node: node() }),
            Some(Err(Refused(message))) => {
                return Err(Error::PortRefused { node: node(), port: entry.port, message });
            }
            Some(Ok(Some(bytes))) => reader.feed(&bytes),
        }
        if reader.speaks_tls() {
            return Err(Error::TlsOnly { node: node(), port: entry.port });
        }
        if let Some(challenge) = reader.challenge()? {
            span.record("name", challenge.name.as_str());
            span.record("flags", tracing::field::display(format_args!("{:#x}", challenge.flags)));
            return Ok(challenge);
        }
    }
}

#[cfg(test)]
mod tests;
