//! Pods as Elixir structs.

use k8s_connect_core::listing;
use rustler::{NifMap, NifStruct};

#[derive(NifMap)]
pub struct Query {
    target: Option<String>,
    labels: Option<String>,
    all_namespaces: bool,
}

impl From<Query> for listing::Query {
    fn from(query: Query) -> Self {
        let Query { target, labels, all_namespaces } = query;
        Self { target, labels, all_namespaces }
    }
}

#[derive(NifStruct)]
#[module = "K8sConnect.Pod"]
pub struct Pod {
    name: String,
    namespace: String,
    uid: String,
    phase: String,
    status: String,
    ready_containers: usize,
    total_containers: usize,
    restarts: i32,
    created_at: Option<String>,
    ip: Option<String>,
    kubernetes_node: Option<String>,
    owner: Option<String>,
    beam: bool,
    evidence: Vec<String>,
    node: Option<String>,
    containers: Vec<Container>,
}

#[derive(NifStruct)]
#[module = "K8sConnect.Pod.Container"]
pub struct Container {
    name: String,
    image: String,
    ready: bool,
}

impl From<listing::Pod> for Pod {
    fn from(pod: listing::Pod) -> Self {
        Self {
            name: pod.name,
            namespace: pod.namespace,
            uid: pod.uid,
            phase: pod.phase,
            status: pod.status,
            ready_containers: pod.ready_containers,
            total_containers: pod.total_containers,
            restarts: pod.restarts,
            created_at: pod.created_at,
            ip: pod.ip,
            kubernetes_node: pod.kubernetes_node,
            owner: pod.owner,
            beam: pod.beam,
            evidence: pod.evidence,
            node: pod.node,
            containers: pod.containers.into_iter().map(Container::from).collect(),
        }
    }
}

impl From<listing::Container> for Container {
    fn from(container: listing::Container) -> Self {
        Self { name: container.name, image: container.image, ready: container.ready }
    }
}
