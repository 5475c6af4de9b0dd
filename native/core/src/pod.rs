//! Pods: the target pod, its container, and the cookie and the certificates of the node in it.

use k8s_openapi::api::core::v1 as k8s;
use kube::{Api, api::ListParams};

use crate::access::cluster::{Action, Cluster, Error};

pub mod container;
pub mod cookie;
pub mod exec;
mod object;
pub(crate) mod settings;
pub mod target;
pub mod tls_files;
mod volume;
pub mod watch;

use container::has_evidence;

/// A pod, as `kubectl get pods` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// `metadata.name`
    pub name: String,
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.uid`. A replaced pod of the same name has another one.
    pub uid: String,
    /// `status.phase`: `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: String,
    /// `status.podIP`. A pod that is not scheduled has none.
    pub ip: Option<String>,
    /// Whether the ports or the environment of a container suggest an Erlang node.
    pub beam: bool,
    /// The containers of the spec in its order, without init containers.
    pub containers: Vec<Container>,
}

/// A container of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its name in the pod's spec.
    pub name: String,
    /// The image in the spec.
    pub image: String,
    /// Whether the container is ready.
    pub ready: bool,
}

/// Lists the pods of the cluster's namespace, in the API server's order (by name).
///
/// # Errors
/// [`Error`]. An empty or missing namespace gives an empty list.
pub async fn list(cluster: &Cluster) -> Result<Vec<Pod>, Error> {
    let api: Api<k8s::Pod> = Api::namespaced(cluster.client.clone(), cluster.namespace());
    let action = Action { verb: "list", resource: "pods" };
    let pods = cluster.request(action, api.list(&ListParams::default())).await?;
    Ok(pods.items.into_iter().map(Pod::from).collect())
}

impl From<k8s::Pod> for Pod {
    fn from(pod: k8s::Pod) -> Self {
        let status = pod.status.unwrap_or_default();
        let statuses = status.container_statuses.unwrap_or_default();
        let is_ready = |name: &str| statuses.iter().any(|s| s.name == name && s.ready);
        let spec = pod.spec.unwrap_or_default();
        let beam = spec.containers.iter().any(has_evidence);
        let containers = spec.containers.into_iter().map(|container| {
            let ready = is_ready(&container.name);
            Container { ready, image: container.image.unwrap_or_default(), name: container.name }
        });
        Self {
            beam,
            containers: containers.collect(),
            name: pod.metadata.name.unwrap_or_default(),
            namespace: pod.metadata.namespace.unwrap_or_default(),
            uid: pod.metadata.uid.unwrap_or_default(),
            phase: status.phase.unwrap_or_else(|| "Unknown".into()),
            ip: status.pod_ip,
        }
    }
}
