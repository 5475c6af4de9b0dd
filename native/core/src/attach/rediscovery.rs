//! Discovers a node again on a port-forward connection that lives: its container has restarted, or starts.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tokio::time::{Instant, sleep};

use super::request::AttachRequest;
use crate::{
    Error,
    access::cluster::Cluster,
    node::{self, Node},
    pod::{container, target},
    port_forward::PortForward,
};

/// Between two questions to the pod, which pass the API server and the kubelet: the first one, and while a
/// container usually starts.
const FIRST_DELAY: Duration = Duration::from_millis(50);
const STARTING_DELAY: Duration = Duration::from_millis(200);
const STARTING: Duration = Duration::from_secs(30);
/// Afterwards the container is likely to be in a crash loop.
const DELAY: Duration = Duration::from_secs(2);
/// Between two looks at the pod itself: it may be deleted meanwhile.
const POD_CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// What is needed to discover a pod's node.
#[derive(Debug, Clone)]
pub struct Rediscovery {
    pod: String,
    uid: Option<String>,
    node: Option<String>,
    port: Option<u16>,
    /// Where a node may listen that epmd does not know.
    ports: Vec<u16>,
}

impl Rediscovery {
    /// Of the pod, with the options of the connection.
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
    /// The end of the connection, of the pod, or an answer that waiting does not change.
    pub async fn run(&self, cluster: &Cluster, connection: &PortForward) -> Result<Node, Error> {
        let start = Instant::now();
        let mut delay = FIRST_DELAY;
        let mut next_check = start;
        loop {
            // Both at once: a node that is being stopped still answers for a moment.
            let discovered = if Instant::now() >= next_check {
                let (checked, discovered) =
                    tokio::join!(self.check_pod(cluster), self.discover(connection));
                checked?;
                next_check = Instant::now() + POD_CHECK_INTERVAL;
                discovered
            } else {
                self.discover(connection).await
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

    /// Tries the ports of nodes that epmd does not know, after epmd led to none.
    ///
    /// # Errors
    /// [`node::Error`]
    pub async fn without_epmd(
        &self,
        connection: &PortForward,
        error: node::Error,
    ) -> Result<Node, node::Error> {
        if self.port.is_some() {
            return Err(error);
        }
        node::at_known_port(connection, self.ports.clone(), self.node.as_deref(), error).await
    }

    async fn discover(&self, connection: &PortForward) -> Result<Node, node::Error> {
        if let Some(port) = self.port {
            return node::at_port(connection, port).await;
        }
        match node::discover(connection, self.node.as_deref(), || None).await {
            Err(error) => self.without_epmd(connection, error).await,
            node => node,
        }
    }

    /// Whether it is still there. A question that cannot be answered changes nothing.
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
            // Not NoSuchPod: there may be another one of its name soon.
            Err(target::Error::NoSuchPod { .. }) => {
                Err(target::Error::NotRunning { pod, namespace, phase: "Deleted".into() }.into())
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
