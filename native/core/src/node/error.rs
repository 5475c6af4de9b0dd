use serde::Serialize;
use thiserror::Error;

/// What a kubelet or a container runtime says that has no port-forward, in lower case: without `socat` or `nsenter`,
/// or a virtual node.
const CANNOT_FORWARD: [&str; 5] =
    ["unable to do port forwarding", "socat", "not implemented", "unimplemented", "not supported"];

/// What the names of runtime classes of sandboxes contain.
const SANDBOXES: [&str; 5] = ["gvisor", "runsc", "kata", "firecracker", "sandbox"];

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
    /// The pod runs in a sandbox with a network of its own, whose loopback a port-forward does not reach.
    #[error("the sandbox {runtime_class} takes no connection: {message}")]
    Sandboxed {
        /// The pod's `runtimeClassName`.
        runtime_class: String,
        /// The message of the container runtime.
        message: String,
    },
    /// The pod's Kubernetes node cannot forward ports.
    #[error("the pod's node cannot forward: {message}")]
    CannotForward {
        /// The message of the kubelet or the container runtime.
        message: String,
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
        /// Why the pod's spec does not lead to its certificates, if that was tried.
        #[serde(skip_serializing_if = "Option::is_none")]
        problem: Option<String>,
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
            | Self::Sandboxed { .. }
            | Self::CannotForward { .. }
            | Self::PortForwardClosed { .. } => false,
        }
    }

    /// The reason behind a refusal: a node that cannot forward, or the sandbox of a pod with this runtime class.
    #[must_use]
    pub fn explain(self, runtime_class: Option<&str>) -> Self {
        let message = match &self {
            Self::NoEpmd { message, .. }
            | Self::NoNodeOnPort { message, .. }
            | Self::PortRefused { message, .. } => message.clone(),
            _ => return self,
        };
        let lower = message.to_ascii_lowercase();
        if CANNOT_FORWARD.iter().any(|words| lower.contains(words)) {
            return Self::CannotForward { message };
        }
        let is_sandbox = |class: &&str| {
            let class = class.to_ascii_lowercase();
            SANDBOXES.iter().any(|name| class.contains(name))
        };
        match runtime_class.filter(is_sandbox) {
            Some(class) => Self::Sandboxed { runtime_class: class.into(), message },
            None => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_a_reason_behind_it() {
        let refused = |message: &str| Error::NoEpmd { message: message.into(), ports: vec![] };
        let plain = "dial tcp4 127.0.0.1:4369: connect: connection refused";
        assert!(matches!(refused(plain).explain(None), Error::NoEpmd { .. }));
        assert!(matches!(refused(plain).explain(Some("nvidia")), Error::NoEpmd { .. }));
        for class in ["gvisor", "kata-qemu", "Kata-CLH", "runsc"] {
            let error = refused(plain).explain(Some(class));
            assert!(
                matches!(error, Error::Sandboxed { runtime_class, .. } if runtime_class == class)
            );
        }
        for message in [
            "unable to do port forwarding: socat not found",
            "rpc error: code = Unimplemented desc = unknown method",
            "port forwarding is not supported by this provider",
        ] {
            let error = refused(message).explain(Some("gvisor"));
            assert!(matches!(error, Error::CannotForward { message: m } if m == message));
        }
        assert!(matches!(Error::NoNodes.explain(Some("kata")), Error::NoNodes));
    }
}
