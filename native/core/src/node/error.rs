use serde::Serialize;
use thiserror::Error;

/// Why no node was found in the pod.
#[derive(Debug, Error, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Error {
    /// Nothing listens on epmd's port, and no node on the ports that the pod's spec names.
    #[error("no epmd in the pod: {message}")]
    NoEpmd {
        /// The message of the container runtime.
        message: String,
        /// The ports that were tried, from the spec.
        ports: Vec<u16>,
    },
    /// The requested port refuses connections.
    #[error("port {port} takes no connection: {message}")]
    NoNodeOnPort {
        /// The port.
        port: u16,
        /// The message of the container runtime.
        message: String,
    },
    /// epmd's port accepts the connection, and sends no answer, or not all of it.
    #[error("epmd does not answer")]
    EpmdTimedOut,
    /// The program on epmd's port is not epmd.
    #[error("epmd's port answers with {actual}")]
    EpmdInvalidAnswer {
        /// The unexpected answer.
        actual: String,
    },
    /// epmd knows no node.
    #[error("epmd knows no node")]
    NoNodes,
    /// epmd knows nodes, and not the requested one.
    #[error("epmd does not know {name}")]
    UnknownNode {
        /// The requested name.
        name: String,
        /// The names in epmd.
        available: Vec<String>,
    },
    /// epmd knows several nodes, and none was requested.
    #[error("epmd knows several nodes: {available:?}")]
    SeveralNodes {
        /// The names in epmd.
        available: Vec<String>,
    },
    /// epmd knows the node's port, which refuses connections on the pod's loopback.
    #[error("port {port} of {node} takes no connection: {message}")]
    PortRefused {
        /// The node's name in epmd.
        node: String,
        /// The port in epmd.
        port: u16,
        /// The message of the container runtime.
        message: String,
    },
    /// The node accepts the connection, and sends no answer, or not all of it.
    #[error("{node} does not answer the handshake")]
    HandshakeTimedOut {
        /// The node's name in epmd.
        node: String,
    },
    /// The node accepts the connection, and closes it without an answer.
    #[error("{node} ends the handshake")]
    HandshakeClosed {
        /// The node's name in epmd.
        node: String,
    },
    /// The program on the port is not an Erlang node.
    #[error("expected {expected}, got {actual:?}")]
    InvalidHandshake {
        /// The expected message of the handshake.
        expected: &'static str,
        /// The unexpected answer.
        actual: String,
    },
    /// The port accepts only TLS.
    #[error("port {port} of {node} speaks TLS")]
    TlsOnly {
        /// The node's name in epmd.
        node: String,
        /// Its port.
        port: u16,
    },
    /// The TLS handshake with the node failed.
    #[error("TLS with {node} on port {port}: {problem}")]
    TlsFailed {
        /// The node's name in epmd.
        node: String,
        /// Its port.
        port: u16,
        /// The cause.
        problem: String,
    },
    /// The node rejects the connection before the challenge.
    #[error("the node says {status}")]
    Rejected {
        /// The status in the handshake.
        status: String,
    },
    /// The node is older than OTP 23.
    #[error("the node is older than OTP 23")]
    UnsupportedOtp,
    /// The name reported in the handshake is not a valid node name.
    #[error("the node calls itself {name:?}")]
    InvalidName {
        /// The name.
        name: String,
    },
    /// The port-forward connection was closed meanwhile.
    #[error("the port-forward connection was closed: {reason}")]
    PortForwardClosed {
        /// The close reason.
        reason: String,
    },
}

impl Error {
    /// Whether a node that is starting, or is being stopped, looks like this.
    #[must_use]
    pub fn is_starting(&self) -> bool {
        match self {
            Self::NoEpmd { .. }
            | Self::NoNodeOnPort { .. }
            | Self::EpmdTimedOut
            | Self::NoNodes
            | Self::UnknownNode { .. }
            | Self::PortRefused { .. }
            | Self::HandshakeTimedOut { .. }
            | Self::HandshakeClosed { .. } => true,
            Self::EpmdInvalidAnswer { .. }
            | Self::SeveralNodes { .. }
            | Self::InvalidHandshake { .. }
            | Self::TlsOnly { .. }
            | Self::TlsFailed { .. }
            | Self::Rejected { .. }
            | Self::UnsupportedOtp
            | Self::InvalidName { .. }
            | Self::PortForwardClosed { .. } => false,
        }
    }
}
