//! Runs the handshake with a node up to its challenge.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};
use tracing::field::{Empty, display};

use super::{
    epmd::Entry,
    error::Error,
    handshake::{self, Challenge},
};
use crate::{node_name::local_part, port_forward::PortForward, streaming::Refused};

/// For a whole answer, of epmd or of a node. They answer in milliseconds; a pod may send one byte at a time.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// The challenge of the node on the port of this entry.
pub(super) async fn probe(connection: &PortForward, entry: &Entry) -> Result<Challenge, Error> {
    match handshake(connection, entry, handshake::send_name()).await {
        Err(Error::HandshakeClosed { .. }) if is_older_than_otp_23(connection, entry).await => {
            Err(Error::UnsupportedOtp)
        }
        result => result,
    }
}

/// Why the node `node` on this port rejects a node named `name`, unless it is a cookie mismatch: the cookie is
/// only checked after the challenge. Otherwise the distribution flags of the node, if it has reported them. Needs one
/// round trip.
///
/// # Errors
/// [`Error`]
pub async fn rejection(
    connection: &PortForward,
    node: &str,
    port: u16,
    name: &str,
) -> Result<Option<u64>, Error> {
    let entry = Entry { name: local_part(node).to_owned(), port };
    match handshake(connection, &entry, handshake::send_name_of(name)).await {
        // A node of this name is connected, or about to be. The node asks how to continue, and rejects nothing.
        Err(Error::Rejected { status }) if status == "alive" || status == "nok" => Ok(None),
        answer => Ok(Some(answer?.flags)),
    }
}

/// Whether the node answers the handshake of OTP 22, which closes today's without an answer.
async fn is_older_than_otp_23(connection: &PortForward, entry: &Entry) -> bool {
    match handshake(connection, entry, handshake::send_name_of_otp_22()).await {
        Ok(_) | Err(Error::UnsupportedOtp | Error::Rejected { .. }) => true,
        Err(_) => false,
    }
}

async fn handshake(
    connection: &PortForward,
    entry: &Entry,
    send_name: Bytes,
) -> Result<Challenge, Error> {
    let node = || entry.name.clone();
    let span = tracing::debug_span!("handshake", port = entry.port, name = Empty, flags = Empty);
    let mut stream = connection
        .open_node(entry.port, send_name)
        .await
        .map_err(|reason| Error::PortForwardClosed { reason })?;
    let deadline = Instant::now() + TIMEOUT;
    let mut reader = handshake::Reader::default();
    loop {
        match timeout_at(deadline, stream.read()).await.ok() {
            None => return Err(Error::HandshakeTimedOut { node: node() }),
            Some(Ok(None)) => return Err(Error::HandshakeClosed { node: node() }),
            Some(Err(Refused::Runtime(message))) => {
                connection.note_refused_data();
                return Err(Error::PortRefused { node: node(), port: entry.port, message });
            }
            Some(Err(Refused::Tls(problem))) => {
                return Err(Error::TlsFailed { node: node(), port: entry.port, problem });
            }
            Some(Ok(Some(bytes))) => reader.feed(&bytes),
        }
        if reader.speaks_tls() {
            return Err(Error::TlsOnly { node: node(), port: entry.port, problem: None });
        }
        if let Some(challenge) = reader.challenge()? {
            span.record("name", challenge.name.as_str());
            span.record("flags", display(format_args!("{:#x}", challenge.flags)));
            return Ok(challenge);
        }
    }
}
