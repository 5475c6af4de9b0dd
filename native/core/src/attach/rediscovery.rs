//! Discovers a node on an open port-forward connection, while the node's container starts or restarts.

use std::time::Duration;

use bytes::Bytes;
use k8s_openapi::api::core::v1::Pod;
use tokio::time::{Instant, sleep, timeout};

use super::request::AttachRequest;
use crate::{
    Error,
    access::cluster::Cluster,
    node::{self, HintReceiver, Hints, Node},
    node_name::local_part,
    pod::{container, target},
    port_forward::PortForward,
};

/// The delay between two discoveries. Each discovery passes through the API server and the kubelet. The delay
/// starts at `FIRST_DELAY`, and is at most `STARTING_DELAY` during `STARTING`, in which a container usually starts.
const FIRST_DELAY: Duration = Duration::from_millis(50);
const STARTING_DELAY: Duration = Duration::from_millis(200);
const STARTING: Duration = Duration::from_secs(30);
/// The delay after `STARTING`: the container is likely in a crash loop.
const DELAY: Duration = Duration::from_secs(2);
/// How long `probe_port` waits for a refusal: `MIN_TIMEOUT` plus the time of two requests to the API server, and at most
/// `MAX_TIMEOUT`.
const MIN_TIMEOUT: Duration = Duration::from_millis(100);
const MAX_TIMEOUT: Duration = Duration::from_millis(500);
/// The interval between two requests for the pod, which may be deleted meanwhile.
const POD_CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// The pod, and the options to discover its node.
#[derive(Debug, Clone)]
pub struct Rediscovery {
    pod: String,
    uid: Option<String>,
    node: Option<String>,
    port: Option<u16>,
    /// The distribution ports in the pod's spec, for a node that is not registered with epmd.
    ports: Vec<u16>,
}

impl Rediscovery {
    /// Takes the name, the uid and the ports from `pod`, and the options from `request`.
    #[must_use]
    pub fn new(pod: &Pod, request: &AttachRequest) -> Self {
        let container = container::choose(pod, request.container.as_deref());
        Self {
            pod: target::name_of(pod),
            uid: pod.metadata.uid.clone(),
            node: request.node.clone(),
            port: request.port,
            ports: container
                .map(|container| node::port::candidates(pod, container))
                .unwrap_or_default(),
        }
    }

    /// Waits until the node answers.
    ///
    /// # Errors
    /// If the port-forward connection closes, if the pod is deleted or replaced, or if the discovery fails with
    /// an error that waiting does not change.
    pub async fn run(&self, cluster: &Cluster, connection: &PortForward) -> Result<Node, Error> {
        let start = Instant::now();
        let mut delay = FIRST_DELAY;
        let mut next_check = start;
        let mut limit = MAX_TIMEOUT;
        loop {
            if Instant::now() >= next_check {
                let asked = Instant::now();
                // Check the pod before the discovery: a node that shuts down still answers for a moment.
                self.check_pod(cluster).await?;
                next_check = Instant::now() + POD_CHECK_INTERVAL;
                limit = MAX_TIMEOUT.min(MIN_TIMEOUT + 2 * asked.elapsed());
            }
            // Of a program on the kernel route
            if connection.has_lost_worker() {
                return Err(unusable(connection));
            }
            let discovered = match self.discover(connection, limit).await {
                // The port refused only after `probe_port` stopped waiting.
                Err(Unreachable::AfterSending(_)) => return Err(unusable(connection)),
                Err(Unreachable::Error(error)) => Err(error),
                Ok(node) => Ok(node),
            };
            match discovered {
                Err(error) if error.is_starting() => {}
                result => {
                    return result
                        .map_err(|error| Error::at_node(&self.pod, cluster.namespace(), error));
                }
            }
            tokio::select! {
                () = sleep(delay) => {}
                reason = connection.closed() => return Err(Error::PortForwardClosed { reason }),
            }
            delay = if start.elapsed() < STARTING { STARTING_DELAY.min(delay * 2) } else { DELAY };
        }
    }

    /// Whether the pod's spec has distribution ports for a node that is not registered with epmd.
    #[must_use]
    pub fn has_other_ports(&self) -> bool {
        self.port.is_none() && !self.ports.is_empty()
    }

    /// Tries epmd and the distribution ports in the pod's spec once, one after the other.
    ///
    /// # Errors
    /// [`node::Error`]
    pub async fn once(&self, connection: &PortForward) -> Result<Node, node::Error> {
        self.discover(connection, MAX_TIMEOUT).await.map_err(|unreachable| match unreachable {
            Unreachable::AfterSending(error) | Unreachable::Error(error) => error,
        })
    }

    async fn discover(
        &self,
        connection: &PortForward,
        limit: Duration,
    ) -> Result<Node, Unreachable> {
        if let Some(port) = self.port {
            probe_port(connection, port, limit)
                .await
                .map_err(|message| node::Error::NoNodeOnPort { port, message })?;
            return node::at_port(connection, port).await.map_err(Unreachable::after_sending);
        }
        let error = match probe_port(connection, node::epmd::PORT, limit).await {
            Ok(()) => {
                let hints = HintReceiver::known(Hints::default());
                match node::discover(connection, self.node.as_deref(), &hints).await {
                    Err(error @ node::Error::NoNodes) => error,
                    node => return node.map_err(Unreachable::after_sending),
                }
            }
            Err(message) => node::Error::NoEpmd { message, ports: self.ports.clone() },
        };
        for port in &self.ports {
            if probe_port(connection, *port, limit).await.is_ok() {
                match node::at_port(connection, *port).await {
                    Ok(node) if !self.is_requested(&node) => {}
                    node => return node.map_err(Unreachable::after_sending),
                }
            }
        }
        Err(error.into())
    }

    fn is_requested(&self, node: &Node) -> bool {
        self.node.as_deref().is_none_or(|name| local_part(name) == local_part(&node.name))
    }

    /// Fails if the pod was deleted or replaced. A failed request to the API server is ignored.
    async fn check_pod(&self, cluster: &Cluster) -> Result<(), Error> {
        let (pod, namespace) = (self.pod.clone(), cluster.namespace().to_owned());
        match target::get(cluster, &self.pod).await {
            Ok(now) if now.metadata.uid != self.uid => {
                Err(target::Error::Replaced { pod, namespace }.into())
            }
            Ok(now) if now.metadata.deletion_timestamp.is_some() => {
                let phase = "Terminating".into();
                Err(target::Error::NotRunning { pod, namespace, phase }.into())
            }
            // Not NoSuchPod: a new pod may get the same name soon.
            Err(target::Error::NoSuchPod { .. }) => {
                Err(target::Error::NotRunning { pod, namespace, phase: "Deleted".into() }.into())
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// Why a node was not discovered.
enum Unreachable {
    /// A port refused the connection after data was sent to the port.
    AfterSending(node::Error),
    Error(node::Error),
}

impl Unreachable {
    fn after_sending(error: node::Error) -> Self {
        use node::Error as E;
        match error {
            error @ (E::NoEpmd { .. } | E::NoNodeOnPort { .. } | E::PortRefused { .. }) => {
                Self::AfterSending(error)
            }
            error => Self::Error(error),
        }
    }
}

impl From<node::Error> for Unreachable {
    fn from(error: node::Error) -> Self {
        Self::Error(error)
    }
}

/// Closes a connection that has lost a worker: see [`PortForward::has_lost_worker`].
fn unusable(connection: &PortForward) -> Error {
    connection.close();
    Error::PortForwardClosed { reason: "a port refused what was sent to it".into() }
}

/// Connects to a port without sending anything. Returns `Err` if the port refuses within `limit`, otherwise `Ok`.
///
/// A port that refuses what was sent to it makes the connection unusable: see [`PortForward::has_lost_worker`]. So
/// while a node starts, send nothing before its port accepts.
async fn probe_port(connection: &PortForward, port: u16, limit: Duration) -> Result<(), String> {
    let mut stream = connection.open(port, Bytes::new()).await?;
    match timeout(limit, stream.read()).await {
        Ok(Err(refused)) => Err(refused.to_string()),
        Ok(Ok(None)) => Err("the connection was closed".into()),
        Ok(Ok(Some(_))) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
