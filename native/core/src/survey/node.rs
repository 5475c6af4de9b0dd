//! The link to a pod, and the node behind it, step by step.

use crate::{
    Error,
    attach::{self, Wish},
    cluster::Cluster,
    container,
    link::{self, Link, Protocol},
    node::{self, epmd::Entry, port},
    target,
};

use super::Facts;

/// A node, and how it was found.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its full name, by its own word.
    pub name: String,
    /// Its port.
    pub port: u16,
    /// What told the port.
    pub source: String,
    /// The name that the pod's spec tells.
    pub expected: Option<String>,
}

/// Opens a link to the pod, and says what it is.
///
/// # Errors
/// [`Error::Target`] where it does not run, [`Error::Cluster`] where the API server says no.
pub async fn link(
    cluster: &Cluster,
    facts: &Facts,
    protocol: Protocol,
) -> Result<(Link, String), Error> {
    target::check_running(&facts.pod)?;
    let pod = target::name_of(&facts.pod);
    Ok(link::to(cluster, &pod, node::epmd::PORT, protocol).await?)
}

/// All that epmd knows.
///
/// # Errors
/// [`Error::Node`], [`Error::LinkClosed`]
pub async fn epmd(cluster: &Cluster, facts: &Facts, link: &Link) -> Result<Vec<Entry>, Error> {
    let names = node::names(link).await;
    names.map_err(|error| attach::explain(cluster, &target::name_of(&facts.pod), error))
}

/// The node, as [`attach::attach`] looks for it; its name is never taken from the spec.
///
/// # Errors
/// [`Error::Node`], [`Error::LinkClosed`]
pub async fn find(
    cluster: &Cluster,
    facts: &Facts,
    link: &Link,
    wish: &Wish,
) -> Result<Found, Error> {
    let pod = &facts.pod;
    let explain = |error| attach::explain(cluster, &target::name_of(pod), error);
    let container = container::choose(pod, Some(&facts.container));
    let told = container.map(|container| port::sources(pod, container)).unwrap_or_default();
    let (node, source) = match wish.port {
        Some(port) => (node::at(link, port).await.map_err(explain)?, "--port".into()),
        None => by_epmd_or_spec(link, wish.node.as_deref(), &told).await.map_err(explain)?,
    };
    Ok(Found {
        name: node.name,
        port: node.port,
        source,
        expected: container.and_then(|container| node::name::expected(pod, container)),
    })
}

async fn by_epmd_or_spec(
    link: &Link,
    wanted: Option<&str>,
    told: &[(u16, String)],
) -> Result<(node::Node, String), node::Error> {
    match node::probe(link, wanted, || None).await {
        Ok(node) => Ok((node, "epmd".into())),
        Err(error) => {
            let ports = told.iter().map(|(port, _)| *port).collect();
            let node = node::without_epmd(link, ports, wanted, error).await?;
            let source = told.iter().find(|(port, _)| *port == node.port);
            let source = source.map(|(_, source)| source.clone()).unwrap_or_default();
            Ok((node, source))
        }
    }
}
