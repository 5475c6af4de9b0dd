//! The port-forward connection to a pod, and the node behind it, step by step.

use crate::{
    Error,
    access::cluster::Cluster,
    attach::AttachRequest,
    node::{self, HintReceiver, Hints, Node, epmd::Entry, port},
    pod::{container, target},
    port_forward::PortForward,
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
    let tls = request.tls().await?;
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
    let container = container::choose(pod, Some(&facts.container));
    let ports = container.map(|container| port::sources(pod, container)).unwrap_or_default();
    let found = match request.port {
        Some(port) => node::at_port(connection, port).await.map(|node| (node, "--port".into())),
        None => by_epmd_or_spec(connection, request.node.as_deref(), &ports).await,
    };
    let (node, source) = found.map_err(|error| at_node(cluster, facts, error))?;
    node::confirm(connection, &node).map_err(|error| at_node(cluster, facts, error))?;
    Ok(FoundNode {
        name: node.name,
        port: node.port,
        source,
        expected: container.and_then(|container| node::name::expected(pod, container)),
    })
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
