//! TLS with the certificates to which the pod's spec leads.

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::{
    Error,
    access::cluster::Cluster,
    node,
    pod::tls_files::{self, TlsFiles},
    port_forward::{
        Tls,
        tls::{self, NodeTls},
    },
};

/// The TLS client, and where its files were found.
///
/// # Errors
/// [`tls_files::Error`], also where the files cannot be used.
pub(crate) async fn of_spec(
    cluster: &Cluster,
    pod: &Pod,
    container: &Container,
) -> Result<(Tls, String), tls_files::Error> {
    let TlsFiles { authority, identity, source } = tls_files::find(cluster, pod, container).await?;
    let unusable = |problem| tls_files::Error::Missing(format!("{source}: {problem}"));
    let tls = Tls::new(&tls::Files { authority, identity }).map_err(unusable)?;
    Ok((tls, source))
}

/// Sets the TLS client for a node that has accepted only TLS. Returns where its files were found.
///
/// # Errors
/// `error` with the reason why there is no client, or the error of the API server.
pub(crate) async fn set(
    cluster: &Cluster,
    pod: &Pod,
    container: &Container,
    client: &NodeTls,
    error: node::Error,
) -> Result<String, TlsError> {
    let node::Error::TlsOnly { node, port, .. } = error else { return Err(TlsError::Node(error)) };
    match of_spec(cluster, pod, container).await {
        Ok((tls, source)) => {
            client.set(Some(tls));
            Ok(source)
        }
        Err(tls_files::Error::Cluster(error)) => Err(TlsError::Other(error.into())),
        Err(tls_files::Error::Missing(problem)) => {
            Err(TlsError::Node(node::Error::TlsOnly { node, port, problem: Some(problem) }))
        }
    }
}

/// Why a node that accepts only TLS cannot be connected to.
pub(crate) enum TlsError {
    Node(node::Error),
    Other(Error),
}

impl TlsError {
    /// With the pod of the node.
    pub fn at(self, pod: &str, namespace: &str) -> Error {
        match self {
            Self::Node(error) => Error::at_node(pod, namespace, error),
            Self::Other(error) => error,
        }
    }
}
