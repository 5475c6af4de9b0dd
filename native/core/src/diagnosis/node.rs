//! The port-forward connection to a pod, and the node behind it, step by step.

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::{
    Error,
    access::cluster::Cluster,
    attach::{AttachRequest, container_of, tls},
    node::{self, HintReceiver, Hints, Node, epmd::Entry, port},
    pod::{target, tls_files},
    port_forward::{NodeTls, PortForward},
};

use super::pod::PodFacts;

/// A node, and how it was found.
#[derive(Debug, Clone)]
pub struct FoundNode {
    /// Its full name, as reported in the handshake.
    pub name: String,
    /// Its port.
    pub port: u16,
    /// The source of the port.
    pub source: String,
    /// The name in the pod's spec.
    pub expected: Option<String>,
    /// Where the certificates were found, if its distribution is over TLS.
    pub tls: Option<String>,
}

/// Opens a port-forward connection, and describes it.
///
/// # Errors
/// [`Error::Target`] where the pod does not run, [`Error::Cluster`] where the API server refuses,
/// [`Error::UnusableTlsFiles`].
pub async fn connect(
    cluster: &Cluster,
    facts: &PodFacts,
    request: &AttachRequest,
) -> Result<(PortForward, String), Error> {
    target::check_running(&facts.pod)?;
    let tls = NodeTls::new(request.tls().await?);
    let pod = target::name_of(&facts.pod);
    let connect = PortForward::connect(cluster, &pod, node::epmd::PORT, request.protocol);
    let (connection, description) = connect.await?;
    Ok((connection.with_tls(tls), description))
}

/// All names in epmd.
///
/// # Errors
/// [`Error::Node`], [`Error::PortForwardClosed`]
pub async fn epmd(
    cluster: &Cluster,
    facts: &PodFacts,
    connection: &PortForward,
) -> Result<Vec<Entry>, Error> {
    let names = node::registered_names(connection).await;
    names.map_err(|error| at_node(cluster, facts, error))
}

/// Finds the node as [`attach`](crate::attach::attach) does, but never takes its name from the spec.
///
/// # Errors
/// [`Error::Node`], [`Error::PortForwardClosed`]
pub async fn find(
    cluster: &Cluster,
    facts: &PodFacts,
    connection: &PortForward,
    request: &AttachRequest,
) -> Result<FoundNode, Error> {
    let pod = &facts.pod;
    let container = container_of(pod, Some(&facts.container))?;
    let mut tls = request.tls.as_ref().map(|_| "the given files".to_owned());
    if tls.is_none() && tls_files::is_expected(pod, container) {
        // A failure counts only if the node accepts nothing but TLS.
        let found = tls::of_spec(cluster, pod, container).await.ok();
        tls = found.map(|(client, source)| {
            connection.node_tls().set(Some(client));
            source
        });
    }
    let mut found = on(connection, request, pod, container).await;
    if let Err(error @ node::Error::TlsOnly { .. }) = found {
        let source = tls::set(cluster, pod, container, connection.node_tls(), error).await;
        let at = |error: tls::TlsError| error.at(&target::name_of(pod), cluster.namespace());
        tls = Some(source.map_err(at)?);
        found = on(connection, request, pod, container).await;
    }
    let (node, source) = found.map_err(|error| at_node(cluster, facts, error))?;
    node::confirm(connection, &node).map_err(|error| at_node(cluster, facts, error))?;
    Ok(FoundNode {
        name: node.name,
        port: node.port,
        source,
        expected: node::name::expected(pod, container),
        tls,
    })
}

/// The node, and the source of its port.
async fn on(
    connection: &PortForward,
    request: &AttachRequest,
    pod: &Pod,
    container: &Container,
) -> Result<(Node, String), node::Error> {
    if let Some(port) = request.port {
        return Ok((node::at_port(connection, port).await?, "--port".into()));
    }
    let ports = port::sources(pod, container);
    by_epmd_or_spec(connection, request.node.as_deref(), &ports).await
}

async fn by_epmd_or_spec(
    connection: &PortForward,
    requested: Option<&str>,
    ports: &[(u16, String)],
) -> Result<(Node, String), node::Error> {
    match node::discover(connection, requested, &HintReceiver::known(Hints::default())).await {
        Ok(node) => Ok((node, "epmd".into())),
        Err(error) => {
            let candidates = ports.iter().map(|(port, _)| *port).collect();
            let node = node::at_known_port(connection, candidates, requested, error).await?;
            let source = ports.iter().find(|(port, _)| *port == node.port);
            let source = source.map(|(_, source)| source.clone()).unwrap_or_default();
            Ok((node, source))
        }
    }
}

fn at_node(cluster: &Cluster, facts: &PodFacts, error: node::Error) -> Error {
    let error = error.explain(target::runtime_class_of(&facts.pod));
    Error::at_node(&target::name_of(&facts.pod), cluster.namespace(), error)
}
