//! Pods as Elixir structs.

use k8s_connect_core::pod;
use rustler::NifStruct;

#[derive(NifStruct)]
#[module = "K8sConnect.Pod"]
pub struct Pod {
    name: String,
    namespace: String,
    uid: String,
    phase: String,
    ip: Option<String>,
    beam: bool,
    containers: Vec<Container>,
}

#[derive(NifStruct)]
#[module = "K8sConnect.Pod.Container"]
pub struct Container {
    name: String,
    image: String,
    ready: bool,
}

impl From<pod::Pod> for Pod {
    fn from(pod: pod::Pod) -> Self {
        Self {
            name: pod.name,
            namespace: pod.namespace,
            uid: pod.uid,
            phase: pod.phase,
            ip: pod.ip,
            beam: pod.beam,
            containers: pod.containers.into_iter().map(Container::from).collect(),
        }
    }
}

impl From<pod::Container> for Container {
    fn from(container: pod::Container) -> Self {
        Self { name: container.name, image: container.image, ready: container.ready }
    }
}
