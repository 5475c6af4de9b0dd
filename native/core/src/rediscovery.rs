//! Discovers a node again on a port-forward connection that lives: its container has restarted, or starts.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tokio::time::{Instant, sleep};

use crate::{
    Error,
    attach::{Wish, explain},
    cluster::Cluster,
    container,
    link::Link,
    node::{self, Node},
    target,
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
    pub fn new(pod: &Pod, wish: &Wish) -> Self {
        let container = container::choose(pod, wish.container.as_deref());
        Self {
            pod: target::name_of(pod),
            uid: pod.metadata.uid.clone(),
            node: wish.node.clone(),
            port: wish.port,
            ports: container.map(|container| node::port::told(pod, container)).unwrap_or_default(),
        }
    }

    /// Waits until the node answers.
    ///
    /// # Errors
    /// The end of the connection, of the pod, or an answer that waiting does not change.
    pub async fn run(&self, cluster: &Cluster, link: &Link) -> Result<Node, Error> {
        let start = Instant::now();
        let mut delay = FIRST_DELAY;
        let mut next_check = start;
        loop {
            match self.discover(link).await {
                Err(error) if is_starting(&error) => {}
                result => return result.map_err(|error| explain(cluster, &self.pod, error)),
            }
            if Instant::now() >= next_check {
                self.check_pod(cluster).await?;
                next_check = Instant::now() + POD_CHECK_INTERVAL;
            }
            tokio::select! {
                () = sleep(delay) => {}
                reason = link.closed() => return Err(Error::LinkClosed { reason }),
            }
            delay = if start.elapsed() < STARTING { STARTING_DELAY.min(delay * 2) } else { DELAY };
        }
    }

    /// Looks where a node without epmd may be, after epmd led to none.
    ///
    /// # Errors
    /// [`node::Error`]
    pub async fn without_epmd(&self, link: &Link, error: node::Error) -> Result<Node, node::Error> {
        if self.port.is_some() {
            return Err(error);
        }
        node::without_epmd(link, self.ports.clone(), self.node.as_deref(), error).await
    }

    async fn discover(&self, link: &Link) -> Result<Node, node::Error> {
        if let Some(port) = self.port {
            return node::at(link, port).await;
        }
        match node::probe(link, self.node.as_deref(), || None).await {
            Err(error) => self.without_epmd(link, error).await,
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

/// Whether a node that starts, or is stopped, looks like this.
pub(crate) fn is_starting(error: &node::Error) -> bool {
    use node::Error as E;
    match error {
        E::NoEpmd { .. }
        | E::NothingAt { .. }
        | E::EpmdSilent
        | E::NoNodes
        | E::UnknownNode { .. }
        | E::PortRefused { .. }
        | E::HandshakeSilent { .. }
        | E::HandshakeClosed { .. } => true,
        E::EpmdJunk { .. }
        | E::SeveralNodes { .. }
        | E::Junk { .. }
        | E::TlsOnly { .. }
        | E::Rejected { .. }
        | E::TooOld
        | E::BadName { .. }
        | E::LinkClosed { .. } => false,
    }
}
