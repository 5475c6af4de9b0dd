//! Finds the pod of a target.
//!
//! Workloads are found by the `ownerReferences` of pods, so the Role only needs `list` on pods.

use std::{collections::BTreeSet, net::IpAddr};

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{Api, api::ListParams};
use serde::Serialize;
use thiserror::Error;

use crate::access::cluster::{self, Action, Cluster};

pub mod owner;
#[cfg(test)]
mod tests;

use owner::{Ancestors, Kind, Owner};

/// Why the target does not lead to a pod.
#[derive(Debug, Error, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Error {
    /// An invalid target.
    #[error("{target:?} is no target")]
    InvalidTarget {
        /// The given target.
        target: String,
    },
    /// There is no such pod.
    #[error("no pod {pod}")]
    NoSuchPod {
        /// The pod.
        pod: String,
        /// The namespace.
        namespace: String,
    },
    /// The pod was replaced by another one with the same name.
    #[error("pod {pod} was replaced")]
    Replaced {
        /// The pod.
        pod: String,
        /// The namespace.
        namespace: String,
    },
    /// The target selects no pods.
    #[error("no pods of {target}")]
    NoPods {
        /// The target, as given.
        target: String,
        /// The namespace.
        namespace: String,
        /// The owners of the pods that are there, such as `statefulset.apps/app`.
        owners: Vec<String>,
    },
    /// No pod names the target as its owner, and the owners of its owners may not be listed.
    #[error("no pods of {target}, and {resources:?} may not be listed: {message}")]
    OwnersForbidden {
        /// The target, as given.
        target: String,
        /// The namespace.
        namespace: String,
        /// The kinds that may not be listed, such as `statefulsets.apps`.
        resources: Vec<String>,
        /// The message of the API server.
        message: String,
    },
    /// The workload or the Service of the target was deleted.
    #[error("{target} was deleted")]
    WorkloadDeleted {
        /// The target, as given.
        target: String,
        /// The namespace.
        namespace: String,
    },
    /// The pod is not running.
    #[error("pod {pod} is {phase}")]
    NotRunning {
        /// The pod.
        pod: String,
        /// The namespace.
        namespace: String,
        /// Its phase, and why it waits.
        phase: String,
    },
    /// The request to the API server failed.
    #[error(transparent)]
    #[serde(untagged)]
    Cluster(#[from] cluster::Error),
}

/// What a user can connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `app-0`, `pod/app-0`
    Pod(String),
    /// `sts/app`, `deployment.apps/web`, `rollout.argoproj.io/web`
    Owner(Owner),
    /// `svc/app`
    Service(String),
    /// A label selector.
    Labels(String),
}

impl Target {
    /// Parses what a user has typed, or what `kubectl get -o name` prints.
    ///
    /// # Errors
    /// [`Error::InvalidTarget`]
    pub fn parse(text: &str) -> Result<Self, Error> {
        let invalid = || Error::InvalidTarget { target: text.into() };
        let (kind, name) = text.split_once('/').unwrap_or(("pod", text));
        if !is_object_name(name) {
            return Err(invalid());
        }
        let name = name.to_owned();
        match kind.to_ascii_lowercase().as_str() {
            "pod" | "pods" | "po" => Ok(Self::Pod(name)),
            "svc" | "service" | "services" => Ok(Self::Service(name)),
            kind => {
                let kind = Kind::parse(kind).ok_or_else(invalid)?;
                Ok(Self::Owner(Owner { kind, name }))
            }
        }
    }
}

/// The names of objects are RFC 1123 subdomains.
fn is_object_name(name: &str) -> bool {
    let inner =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    bytes.len() <= 253
        && bytes.iter().all(|byte| inner(*byte))
        && edge(bytes.first())
        && edge(bytes.last())
}

/// The chosen pod, and the names of other ready ones.
pub struct Choice {
    /// The pod.
    pub pod: Pod,
    /// Other ready pods of the target.
    pub others: Vec<String>,
}

/// Reads one pod.
///
/// # Errors
/// [`Error::NoSuchPod`], or [`Error::Cluster`].
pub async fn get(cluster: &Cluster, pod: &str) -> Result<Pod, Error> {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), cluster.namespace());
    let action = Action { verb: "get", resource: "pods" };
    cluster.request(action, api.get(pod)).await.map_err(|error| match error {
        cluster::Error::Refused { code: 404, .. } => {
            Error::NoSuchPod { pod: pod.into(), namespace: cluster.namespace().into() }
        }
        error => error.into(),
    })
}

/// What selects a target's pods.
#[derive(Debug, Default)]
pub struct Selection {
    /// A label selector.
    pub labels: Option<String>,
    /// A field selector.
    pub fields: Option<String>,
    /// The pod's owner.
    owner: Option<Owner>,
    ancestors: Ancestors,
    /// The governing Service of the pod.
    subdomain: Option<String>,
    /// Whether no pod is selected: a Service without a selector.
    nothing: bool,
}

impl Selection {
    /// Reads who owns the owners of these pods, if that decides which of them belong to the target.
    ///
    /// # Errors
    /// [`Error::Cluster`]
    pub async fn read_owners(&mut self, cluster: &Cluster, pods: &[Pod]) -> Result<(), Error> {
        match &self.owner {
            Some(owner) => Ok(self.ancestors.read(cluster, owner, pods).await?),
            None => Ok(()),
        }
    }

    /// Whether a pod belongs to the target. The API server has applied the selectors.
    #[must_use]
    pub fn matches(&self, pod: &Pod) -> bool {
        let owner = self.owner.as_ref().is_none_or(|owner| owner.owns(pod, &self.ancestors));
        let service = self.subdomain.as_deref().is_none_or(|name| is_governed(pod, name));
        owner && service && !self.nothing
    }
}

/// How the pods of a target are selected. Reads a Service for that, if the Role allows it.
///
/// # Errors
/// [`Error::Cluster`]
pub async fn selection(cluster: &Cluster, target: &Target) -> Result<Selection, Error> {
    Ok(match target {
        Target::Pod(name) => {
            Selection { fields: Some(format!("metadata.name={name}")), ..Selection::default() }
        }
        Target::Owner(owner) => Selection { owner: Some(owner.clone()), ..Selection::default() },
        Target::Labels(labels) => {
            Selection { labels: Some(labels.clone()), ..Selection::default() }
        }
        Target::Service(name) => match service_labels(cluster, name).await {
            Ok(None) => Selection { nothing: true, ..Selection::default() },
            Ok(labels) => Selection { labels, ..Selection::default() },
            Err(cluster::Error::Forbidden { .. }) => {
                Selection { subdomain: Some(name.clone()), ..Selection::default() }
            }
            Err(error) => return Err(error.into()),
        },
    })
}

/// Finds a pod of a target, preferring ready pods. `given`: the target as the user typed it.
///
/// # Errors
/// [`Error`]
pub async fn choose(cluster: &Cluster, target: &Target, given: &str) -> Result<Choice, Error> {
    pick(pods(cluster, target, given).await?).ok_or_else(|| no_pods(cluster, given, vec![]))
}

/// The pods of a target, at least one. `given`: the target as the user typed it.
///
/// # Errors
/// [`Error`]
pub async fn pods(cluster: &Cluster, target: &Target, given: &str) -> Result<Vec<Pod>, Error> {
    let pods = match target {
        Target::Pod(name) => vec![get(cluster, name).await?],
        Target::Owner(owner) => {
            let all = list(cluster, None).await?;
            let mut ancestors = Ancestors::default();
            ancestors.read(cluster, owner, &all).await?;
            let pods: Vec<_> =
                all.iter().filter(|pod| owner.owns(pod, &ancestors)).cloned().collect();
            return match (pods.is_empty(), ancestors.refused) {
                (false, _) => Ok(pods),
                (true, Some((resources, message))) => Err(Error::OwnersForbidden {
                    target: given.into(),
                    namespace: cluster.namespace().into(),
                    resources: resources.into_iter().collect(),
                    message,
                }),
                (true, None) => Err(no_pods(cluster, given, owners_of(&all))),
            };
        }
        Target::Service(name) => of_service(cluster, name).await?,
        Target::Labels(labels) => list(cluster, Some(labels)).await?,
    };
    if pods.is_empty() { Err(no_pods(cluster, given, vec![])) } else { Ok(pods) }
}

fn no_pods(cluster: &Cluster, given: &str, owners: Vec<String>) -> Error {
    Error::NoPods { target: given.into(), namespace: cluster.namespace().into(), owners }
}

/// The controllers of these pods, as `kubectl get -o name` prints them.
fn owners_of(pods: &[Pod]) -> Vec<String> {
    let owners = pods.iter().flat_map(|pod| pod.metadata.owner_references.iter().flatten());
    let names = owners.filter(|owner| owner.controller == Some(true)).map(|owner| {
        let kind = owner.kind.to_ascii_lowercase();
        match owner.api_version.rsplit_once('/') {
            Some((group, _version)) => format!("{kind}.{group}/{}", owner.name),
            None => format!("{kind}/{}", owner.name),
        }
    });
    names.collect::<BTreeSet<_>>().into_iter().collect()
}

/// The first ready pod by name. If none is ready, the first pod by name.
pub(crate) fn pick(mut pods: Vec<Pod>) -> Option<Choice> {
    pods.sort_by_key(|pod| (!is_ready(pod), name_of(pod)));
    let others = pods.iter().skip(1).filter(|pod| is_ready(pod)).map(name_of).collect();
    let pod = pods.into_iter().next()?;
    Some(Choice { pod, others })
}

async fn list(cluster: &Cluster, labels: Option<&str>) -> Result<Vec<Pod>, cluster::Error> {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), cluster.namespace());
    let params = ListParams { label_selector: labels.map(Into::into), ..ListParams::default() };
    let action = Action { verb: "list", resource: "pods" };
    Ok(cluster.request(action, api.list(&params)).await?.items)
}

fn is_governed(pod: &Pod, service: &str) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.subdomain.as_deref()) == Some(service)
}

/// The kind and the name of the controller, which creates another pod when this one is deleted.
#[must_use]
pub fn controller_of(pod: &Pod) -> Option<(String, String)> {
    let owners = pod.metadata.owner_references.as_deref().unwrap_or_default();
    let controller = owners.iter().find(|owner| owner.controller == Some(true))?;
    Some((controller.kind.clone(), controller.name.clone()))
}

/// Whether the pod runs and is not being deleted.
#[must_use]
pub fn is_alive(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none() && check_running(pod).is_ok()
}

/// By the selector of the Service. Without permission to read that, the pods whose governing Service it is.
async fn of_service(cluster: &Cluster, name: &str) -> Result<Vec<Pod>, cluster::Error> {
    match service_labels(cluster, name).await {
        Ok(Some(labels)) => list(cluster, Some(&labels)).await,
        Ok(None) | Err(cluster::Error::Refused { code: 404, .. }) => Ok(vec![]),
        Err(error @ cluster::Error::Forbidden { .. }) => {
            let mut pods = list(cluster, None).await?;
            pods.retain(|pod| is_governed(pod, name));
            if pods.is_empty() { Err(error) } else { Ok(pods) }
        }
        Err(error) => Err(error),
    }
}

/// The selector of the Service. A Service without one has no pods of its own.
async fn service_labels(cluster: &Cluster, name: &str) -> Result<Option<String>, cluster::Error> {
    let api: Api<Service> = Api::namespaced(cluster.client.clone(), cluster.namespace());
    let action = Action { verb: "get", resource: "services" };
    let service = cluster.request(action, api.get(name)).await?;
    let selector = service.spec.and_then(|spec| spec.selector);
    Ok(selector.map(|selector| {
        let labels: Vec<_> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
        labels.join(",")
    }))
}

/// Whether the pod can be connected to.
///
/// # Errors
/// [`Error::NotRunning`] with its phase, and why its first container waits.
pub fn check_running(pod: &Pod) -> Result<(), Error> {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Unknown");
    if phase == "Running" {
        return Ok(());
    }
    Err(Error::NotRunning {
        pod: name_of(pod),
        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
        phase: waiting_reason(pod)
            .map_or_else(|| phase.into(), |reason| format!("{phase} ({reason})")),
    })
}

fn waiting_reason(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let container = status.container_statuses.iter().flatten().next();
    let waiting =
        container.and_then(|container| container.state.as_ref()?.waiting.as_ref()?.reason.clone());
    let condition = || {
        let conditions = status.conditions.iter().flatten();
        conditions
            .filter(|condition| condition.status == "False")
            .find_map(|condition| condition.reason.clone())
    };
    waiting.or_else(condition)
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True")
}

/// The pod's name.
#[must_use]
pub fn name_of(pod: &Pod) -> String {
    pod.metadata.name.clone().unwrap_or_default()
}

/// The pod's runtime class.
#[must_use]
pub fn runtime_class_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.runtime_class_name.as_deref()
}

/// The pod's address. A pod that is not scheduled has none.
#[must_use]
pub fn ip_of(pod: &Pod) -> Option<IpAddr> {
    pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()
}

/// The pod's address in the name of its node. If the name has none of them, the pod's primary address.
#[must_use]
pub fn ip_in_name(pod: &Pod, node: &str) -> Option<IpAddr> {
    let named: Option<IpAddr> = node.split_once('@').and_then(|(_, host)| host.parse().ok());
    let ips = pod.status.as_ref()?.pod_ips.iter().flatten();
    let mut ips = ips.filter_map(|ip| ip.ip.parse().ok());
    named.filter(|named| ips.any(|ip: IpAddr| ip == *named)).or_else(|| ip_of(pod))
}
