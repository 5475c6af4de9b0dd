//! Pods as `kubectl get pods` shows them, and the nodes to which their specs lead.

use k8s_openapi::api::core::v1 as k8s;
use kube::{Api, ResourceExt, api::ListParams};

use crate::{
    access::cluster::{self, Action, Cluster},
    node::name,
    pod::{
        container,
        target::{self, Error, Target, owner},
    },
};

mod status;

/// How many pods the API server sends at once, as for kubectl.
const PAGE: u32 = 500;

/// Which pods are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// A pod, a workload or a Service, as a user types it.
    pub target: Option<String>,
    /// A label selector.
    pub labels: Option<String>,
    /// Whether the pods of all namespaces are listed. A target is in one namespace.
    pub all_namespaces: bool,
}

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
    /// The column STATUS of kubectl: the phase, or what explains more.
    pub status: String,
    /// How many containers are ready.
    pub ready_containers: usize,
    /// How many containers there are, with sidecars, without other init containers.
    pub total_containers: usize,
    /// How often the containers were restarted.
    pub restarts: i32,
    /// `metadata.creationTimestamp`, as in RFC 3339.
    pub created_at: Option<String>,
    /// `status.podIP`. A pod that is not scheduled has none.
    pub ip: Option<String>,
    /// `spec.nodeName`: the Kubernetes node. A pod that is not scheduled has none.
    pub kubernetes_node: Option<String>,
    /// The workload that has made the pod, as a target.
    pub owner: Option<String>,
    /// Whether the ports or the environment of a container suggest an Erlang node.
    pub beam: bool,
    /// These ports and variables.
    pub evidence: Vec<String>,
    /// The name of the Erlang node, if the spec determines it.
    pub node: Option<String>,
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

/// Lists pods, in the API server's order (by namespace and name).
///
/// # Errors
/// [`Error`]. Without a target, an empty or missing namespace gives an empty list.
pub async fn list(cluster: &Cluster, query: &Query) -> Result<Vec<Pod>, Error> {
    if let Some(given) = &query.target {
        let pods = target::pods(cluster, &Target::parse(given)?, given).await?;
        return Ok(pods.into_iter().map(Pod::from).collect());
    }
    Ok(select(cluster, query).await?)
}

async fn select(cluster: &Cluster, query: &Query) -> Result<Vec<Pod>, cluster::Error> {
    let client = cluster.client.clone();
    let api: Api<k8s::Pod> = if query.all_namespaces {
        Api::all(client)
    } else {
        Api::namespaced(client, cluster.namespace())
    };
    let action = Action { verb: "list", resource: "pods" };
    let mut params = ListParams::default().limit(PAGE);
    params.label_selector.clone_from(&query.labels);
    let mut found = Vec::new();
    loop {
        let page = cluster.request(action, api.list(&params)).await;
        let page = page.map_err(|error| in_scope(error, query))?;
        found.extend(page.items.into_iter().map(Pod::from));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(found),
        }
    }
}

/// A request for all namespaces has none.
fn in_scope(error: cluster::Error, query: &Query) -> cluster::Error {
    match error {
        cluster::Error::Forbidden { verb, resource, message, .. } if query.all_namespaces => {
            cluster::Error::Forbidden { verb, resource, namespace: String::new(), message }
        }
        error => error,
    }
}

impl From<k8s::Pod> for Pod {
    fn from(pod: k8s::Pod) -> Self {
        let status = status::of(&pod);
        let chosen = container::choose(&pod, None);
        let evidence = chosen.map(container::signs).unwrap_or_default();
        let node = chosen.and_then(|container| name::expected(&pod, container));
        let owner = owner::workload_of(&pod);
        let created = pod.creation_timestamp().map(|time| time.0.to_string());
        let (spec, api) = (pod.spec.unwrap_or_default(), pod.status.unwrap_or_default());
        let statuses = api.container_statuses.unwrap_or_default();
        let is_ready = |name: &str| statuses.iter().any(|s| s.name == name && s.ready);
        let containers = spec.containers.into_iter().map(|container| {
            let ready = is_ready(&container.name);
            Container { ready, image: container.image.unwrap_or_default(), name: container.name }
        });
        Self {
            status: status.text,
            ready_containers: status.ready,
            total_containers: status.total,
            restarts: status.restarts,
            created_at: created,
            kubernetes_node: spec.node_name,
            owner,
            beam: !evidence.is_empty(),
            evidence,
            node,
            containers: containers.collect(),
            name: pod.metadata.name.unwrap_or_default(),
            namespace: pod.metadata.namespace.unwrap_or_default(),
            uid: pod.metadata.uid.unwrap_or_default(),
            phase: api.phase.unwrap_or_else(|| "Unknown".into()),
            ip: api.pod_ip,
        }
    }
}

#[cfg(test)]
mod tests;
