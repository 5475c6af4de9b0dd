use std::net::SocketAddr;

use serde::Serialize;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::{
    access::{cluster, kubeconfig},
    endpoint::guard,
    node,
    pod::target,
};

/// Any failure of this crate. The variant says in which step it happened.
///
/// As all errors of this crate, it serializes to its kind and details: the variant in snake case,
/// and a map of its fields.
#[derive(Debug, Error, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Error {
    /// The pod has no such container.
    #[error("no container {container}")]
    NoContainer {
        /// The requested container.
        container: String,
        /// The containers of the pod.
        available: Vec<String>,
    },
    /// The cookie could not be read from the running node.
    #[error("pod {pod}: {problem}")]
    ExecFailed {
        /// The pod.
        pod: String,
        /// The cause.
        problem: String,
    },
    /// No Erlang node answered.
    #[error("pod {pod}: {error}")]
    #[serde(skip)]
    Node {
        /// The pod.
        pod: String,
        /// The namespace of the pod.
        namespace: String,
        /// The cause.
        error: node::Error,
    },
    /// The port-forward connection was closed.
    #[error("the port-forward connection was closed: {reason}")]
    PortForwardClosed {
        /// The close reason.
        reason: String,
    },
    /// The certificates for a node whose distribution is over TLS cannot be used.
    #[error("cannot use TLS: {problem}")]
    UnusableTlsFiles {
        /// The file and the cause.
        problem: String,
    },
    /// The local socket for the BEAM could not be created.
    #[error("no socket in {directory}: {problem}")]
    NoSocket {
        /// The directory of the socket.
        directory: String,
        /// The error of the operating system.
        problem: String,
    },
    /// The file of the audit log could not be opened.
    #[error("cannot open the audit log {file}: {problem}")]
    NoAuditFile {
        /// Its path.
        file: String,
        /// The error of the operating system.
        problem: String,
    },
    /// The program that runs a command could not be started.
    #[error("cannot run {program}: {problem}")]
    NoRunner {
        /// The path of the program.
        program: String,
        /// The error of the operating system.
        problem: String,
    },
    /// The local ports that stand for the pod's ports could not be opened.
    #[error("cannot listen on {address}: {problem}")]
    NoListener {
        /// The local address.
        address: &'static str,
        /// The error of the operating system.
        problem: String,
    },
    /// The pod's address and port are also the API server's: a redirect would lead to itself.
    #[error("{address} is the API server's address")]
    TargetIsServer {
        /// The address and port.
        address: SocketAddr,
    },
    /// The guard has ended a connection to the node.
    #[error(transparent)]
    #[serde(untagged)]
    Guard(#[from] guard::Error),
    /// The kubeconfig gives no usable access to a cluster.
    #[error(transparent)]
    #[serde(untagged)]
    Kubeconfig(#[from] kubeconfig::Error),
    /// The request to the API server failed.
    #[error(transparent)]
    #[serde(untagged)]
    Cluster(#[from] cluster::Error),
    /// The target does not lead to a running pod.
    #[error(transparent)]
    #[serde(untagged)]
    Target(target::Error),
}

impl From<target::Error> for Error {
    fn from(error: target::Error) -> Self {
        match error {
            target::Error::Cluster(error) => Self::Cluster(error),
            error => Self::Target(error),
        }
    }
}

/// What kind of failure it is, and its details by name.
#[derive(Debug, PartialEq, Eq)]
pub struct Reason {
    /// The variant of the error in snake case.
    pub kind: String,
    /// The fields of the variant.
    pub details: Map<String, Value>,
}

impl Error {
    /// A failure of node discovery in a pod, or of the connection below it.
    #[must_use]
    pub fn at_node(pod: &str, namespace: &str, error: node::Error) -> Self {
        match error {
            node::Error::PortForwardClosed { reason } => Self::PortForwardClosed { reason },
            error => Self::Node { pod: pod.into(), namespace: namespace.into(), error },
        }
    }

    /// The step that failed.
    #[must_use]
    pub fn stage(&self) -> &'static str {
        match self {
            Self::Kubeconfig(_) => "config",
            Self::Cluster(_) => "cluster",
            Self::Target(_) | Self::NoContainer { .. } => "target",
            Self::ExecFailed { .. } => "cookie",
            Self::Node { .. } | Self::PortForwardClosed { .. } => "node",
            Self::NoSocket { .. }
            | Self::NoListener { .. }
            | Self::TargetIsServer { .. }
            | Self::NoAuditFile { .. }
            | Self::Guard(_) => "endpoint",
            Self::NoRunner { .. } => "exec",
            Self::UnusableTlsFiles { .. } => "options",
        }
    }

    /// Its kind and details. `None` never happens for the errors of this crate, whose fields are
    /// texts, numbers and lists of them.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Node { pod, namespace, error } => {
                let mut reason = reason(error)?;
                reason.details.insert("pod".into(), pod.as_str().into());
                reason.details.insert("namespace".into(), namespace.as_str().into());
                Some(reason)
            }
            Self::Cluster(
                cluster::Error::Forbidden { message, .. }
                | cluster::Error::ForbiddenGetAndCreate { message, .. }
                | cluster::Error::Refused { message, .. },
            ) if is_of_policy(message) => {
                let mut details = Map::new();
                details.insert("message".into(), message.as_str().into());
                Some(Reason { kind: "denied_by_policy".into(), details })
            }
            error => reason(error),
        }
    }
}

/// Whether the message of an answer is that of an admission policy (403 or 422) or a webhook. A missing permission reads `User "dev"
/// cannot create resource "pods/portforward"`.
fn is_of_policy(message: &str) -> bool {
    ["denied request", "denied the request", "denied by", "admission webhook"]
        .iter()
        .any(|words| message.contains(words))
        && !message.contains(" cannot ")
}

fn reason(error: &impl Serialize) -> Option<Reason> {
    match serde_json::to_value(error).ok()? {
        Value::String(kind) => Some(Reason { kind, details: Map::new() }),
        Value::Object(variant) => match variant.into_iter().next()? {
            (kind, Value::Object(details)) => Some(Reason { kind, details }),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::access::{auth, proxy};

    fn described(error: &Error) -> (&'static str, String, Value) {
        let reason = error.reason().unwrap();
        (error.stage(), reason.kind, reason.details.into())
    }

    #[test]
    fn each_error_has_a_stage_a_kind_and_its_fields() {
        let unreadable =
            kubeconfig::Error::Unreadable { path: "/k".into(), problem: "gone".into() };
        let details = json!({"path": "/k", "problem": "gone"});
        assert_eq!(described(&unreadable.into()), ("config", "unreadable".into(), details));
        let timeout = Duration::from_millis(1500);
        let timed_out = cluster::Error::TimedOut { server: "s".into(), timeout };
        let details = json!({"server": "s", "timeout_ms": 1500});
        assert_eq!(described(&timed_out.into()), ("cluster", "timed_out".into(), details));
        let address = "10.0.0.1:443".parse().unwrap();
        let details = json!({"address": "10.0.0.1:443"});
        let server = Error::TargetIsServer { address };
        assert_eq!(described(&server), ("endpoint", "target_is_server".into(), details));
    }

    #[test]
    fn an_inner_error_is_described_as_itself() {
        let empty = auth::Error::PluginNoCredentials { program: "p".into(), context: "c".into() };
        let empty = Error::Cluster(empty.into());
        let details = json!({"program": "p", "context": "c"});
        assert_eq!(described(&empty), ("cluster", "plugin_no_credentials".into(), details));
        let login = proxy::Error::Unauthorized {
            proxy: "p:1".into(),
            from: "HTTPS_PROXY",
            credentials_given: true,
        };
        let login = Error::Cluster(login.into());
        let details = json!({"proxy": "p:1", "from": "HTTPS_PROXY", "credentials_given": true});
        assert_eq!(described(&login), ("cluster", "proxy_unauthorized".into(), details));
    }

    #[test]
    fn a_policy_is_no_missing_permission() {
        let forbidden = |message: &str| {
            Error::Cluster(cluster::Error::Forbidden {
                verb: "create",
                resource: "pods/portforward",
                namespace: "shop".into(),
                message: message.into(),
            })
        };
        for message in [
            "pods \"app-0\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
            "admission webhook \"x.example.com\" denied the request: no",
        ] {
            let details = json!({"message": message});
            let expected = ("cluster", "denied_by_policy".into(), details);
            assert_eq!(described(&forbidden(message)), expected);
            let refused =
                cluster::Error::Refused { server: "s".into(), code: 422, message: message.into() };
            assert_eq!(described(&Error::Cluster(refused)), expected);
        }
        let rbac =
            "pods \"app-0\" is forbidden: User \"dev\" cannot create resource \"pods/portforward\"";
        assert_eq!(described(&forbidden(rbac)).1, "forbidden");
    }

    #[test]
    fn an_error_of_a_node_has_the_pod_too() {
        let error = Error::at_node("app-0", "shop", node::Error::EpmdTimedOut);
        let details = json!({"pod": "app-0", "namespace": "shop"});
        assert_eq!(described(&error), ("node", "epmd_timed_out".into(), details));
        let refused = node::Error::PortRefused { node: "app".into(), port: 9, message: "m".into() };
        let error = Error::at_node("app-0", "shop", refused);
        let details = json!({
            "pod": "app-0", "namespace": "shop", "node": "app", "port": 9, "message": "m"
        });
        assert_eq!(described(&error), ("node", "port_refused".into(), details));
        let closed = node::Error::PortForwardClosed { reason: "r".into() };
        let error = Error::at_node("app-0", "shop", closed);
        assert_eq!(
            described(&error),
            ("node", "port_forward_closed".into(), json!({"reason": "r"}))
        );
    }
}
