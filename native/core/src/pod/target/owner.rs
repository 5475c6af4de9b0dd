//! The owners of pods: which pods a workload, or the resource of an operator, owns.
//!
//! `ownerReferences` name a pod's owner, and the owner's object names the next one. A Role that may only list
//! pods is enough for the workloads of Kubernetes and for Argo Rollouts.

use std::collections::{BTreeSet, HashMap};

use futures_util::future::join_all;
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
};

use crate::access::cluster::{Action, Cluster, Error};

/// The workloads of Kubernetes: singular, short name, API group.
const WORKLOADS: [(&str, &str, &str); 7] = [
    ("statefulset", "sts", "apps"),
    ("deployment", "deploy", "apps"),
    ("replicaset", "rs", "apps"),
    ("daemonset", "ds", "apps"),
    ("job", "job", "batch"),
    ("cronjob", "cj", "batch"),
    ("replicationcontroller", "rc", ""),
];

/// The label of a pod with the end of its `ReplicaSet`'s name, and the kind that has made the `ReplicaSet`.
const HASHES: [(&str, &str, &str); 2] = [
    ("pod-template-hash", "deployment", "apps"),
    ("rollouts-pod-template-hash", "rollout", "argoproj.io"),
];

/// How many owners are followed, from the pod on. Two owners may own each other.
const MAX_DEPTH: usize = 5;

/// A kind as a user names it: `sts`, `statefulset.apps`, `rollout.argoproj.io`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// In lower case. Singular for a workload of Kubernetes, otherwise as typed.
    name: String,
    /// The API group, if the user typed one. Its beginning is enough, as with kubectl.
    group: Option<String>,
}

impl Kind {
    /// Parses `KIND`, `KIND.GROUP` or `KIND.VERSION.GROUP`, in the singular, in the plural, or as a short name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let (name, group) = match text.split_once('.') {
            Some((name, group)) => (name, Some(without_version(group))),
            None => (text.as_str(), None),
        };
        let workload = WORKLOADS.iter().find(|(singular, short, in_group)| {
            (name == *singular || name == *short || name == plural(singular))
                && group.is_none_or(|group| group == *in_group)
        });
        if let Some((singular, _, group)) = workload {
            return Some(Self { name: (*singular).into(), group: Some((*group).into()) });
        }
        let is_word = |word: &str| {
            word.starts_with(|c: char| c.is_ascii_lowercase())
                && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        };
        let valid = is_word(name) && group.is_none_or(|group| group.split('.').all(is_word));
        valid.then(|| Self { name: name.into(), group: group.map(Into::into) })
    }

    /// The singular of a workload of Kubernetes, with its group.
    #[must_use]
    pub fn workload(&self) -> Option<&'static str> {
        let is_this = |singular: &str, group: &str| {
            self.name == singular && self.group.as_deref() == Some(group)
        };
        WORKLOADS.iter().find(|(name, _, group)| is_this(name, group)).map(|(name, ..)| *name)
    }

    fn matches(&self, api_version: &str, kind: &str) -> bool {
        let kind = kind.to_ascii_lowercase();
        let group = api_version.rsplit_once('/').map_or("", |(group, _version)| group);
        // The group of the core API is empty, and begins all others.
        let in_group = |typed: &str| match typed {
            "" => group.is_empty(),
            typed => group.starts_with(typed),
        };
        (self.name == kind || self.name == plural(&kind))
            && self.group.as_deref().is_none_or(in_group)
    }

    /// Whether the pods alone tell their owner of this kind.
    fn is_on_pods(&self) -> bool {
        let by_hash =
            |(_, name, group): &(&str, &str, &str)| self.matches(&format!("{group}/v1"), name);
        self.workload().is_some() || HASHES.iter().any(by_hash)
    }
}

/// `v1.apps` is the version and the group.
fn without_version(group: &str) -> &str {
    let is_version = |text: &str| {
        text.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    match group.split_once('.') {
        Some((version, group)) if is_version(version) => group,
        None if is_version(group) => "",
        _ => group,
    }
}

/// The name of a resource, as Kubernetes makes it from a kind.
fn plural(kind: &str) -> String {
    match (kind.strip_suffix('y'), kind.ends_with('s')) {
        (Some(stem), _) => format!("{stem}ies"),
        (None, true) => format!("{kind}es"),
        (None, false) => format!("{kind}s"),
    }
}

/// An owner of pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
}

impl Owner {
    /// Whether the pod belongs to this owner, directly or through the owners in between.
    #[must_use]
    pub fn owns(&self, pod: &Pod, ancestors: &Ancestors) -> bool {
        let references = pod.owner_references();
        references.iter().any(|reference| self.made(pod, reference))
            || self.is_among(references, ancestors, MAX_DEPTH)
    }

    fn is_among(&self, references: &[OwnerReference], ancestors: &Ancestors, depth: usize) -> bool {
        references.iter().any(|reference| {
            let is_this = reference.name == self.name
                && self.kind.matches(&reference.api_version, &reference.kind);
            let above = ancestors.owners.get(&reference.uid);
            is_this
                || depth > 1
                    && above.is_some_and(|above| self.is_among(above, ancestors, depth - 1))
        })
    }

    /// Whether the owner in `reference` has a name that only this owner gives: `web-6d4c` with the hash in a
    /// label of the pod, or the Job `backup-29000000` of a `CronJob`.
    fn made(&self, pod: &Pod, reference: &OwnerReference) -> bool {
        let suffix =
            reference.name.strip_prefix(&self.name).and_then(|rest| rest.strip_prefix('-'));
        let Some(suffix) = suffix else { return false };
        match reference.kind.as_str() {
            "ReplicaSet" => HASHES.iter().any(|(label, kind, group)| {
                pod.labels().get(*label).is_some_and(|hash| hash == suffix)
                    && self.kind.matches(&format!("{group}/v1"), kind)
            }),
            "Job" => {
                self.kind.matches("batch/v1", "CronJob")
                    && !suffix.is_empty()
                    && suffix.bytes().all(|byte| byte.is_ascii_digit())
            }
            _ => false,
        }
    }
}

/// The workload of a pod as a target: `sts/app`, `deploy/web`, `rollout.argoproj.io/web`. Known from the pod alone.
#[must_use]
pub fn workload_of(pod: &Pod) -> Option<String> {
    let references = pod.owner_references();
    let controller = references.iter().find(|owner| owner.controller == Some(true))?;
    if let Some(target) = maker_of(pod, controller) {
        return Some(target);
    }
    let group = controller.api_version.rsplit_once('/').map_or("", |(group, _version)| group);
    Some(target_of(&controller.kind.to_ascii_lowercase(), group, &controller.name))
}

/// What has made the `ReplicaSet` of a pod.
fn maker_of(pod: &Pod, controller: &OwnerReference) -> Option<String> {
    HASHES.iter().filter(|_| controller.kind == "ReplicaSet").find_map(|(label, kind, group)| {
        let hash = pod.labels().get(*label)?;
        let name = controller.name.strip_suffix(hash.as_str())?.strip_suffix('-')?;
        Some(target_of(kind, group, name))
    })
}

fn target_of(kind: &str, group: &str, name: &str) -> String {
    let workload = WORKLOADS.iter().find(|(known, _, of)| *known == kind && *of == group);
    match (workload, group) {
        (Some((_, short, _)), _) => format!("{short}/{name}"),
        (None, "") => format!("{kind}/{name}"),
        (None, group) => format!("{kind}.{group}/{name}"),
    }
}

/// The owners of the owners of pods, by uid, as far as they were read.
#[derive(Debug, Default)]
pub struct Ancestors {
    owners: HashMap<String, Vec<OwnerReference>>,
    /// The kinds that may not be listed, such as `statefulset.apps`, and the API server's first message.
    pub refused: Option<(BTreeSet<String>, String)>,
}

impl Ancestors {
    /// Reads the owners of these pods' owners, unless the pods alone tell whether `owner` owns them. Lists each
    /// kind once. A kind that may not be listed is remembered in `refused`.
    ///
    /// # Errors
    /// [`Error`], except for a refusal.
    pub async fn read(
        &mut self,
        cluster: &Cluster,
        owner: &Owner,
        pods: &[Pod],
    ) -> Result<(), Error> {
        if owner.kind.is_on_pods() {
            return Ok(());
        }
        let mut level: Vec<OwnerReference> =
            pods.iter().flat_map(|pod| pod.owner_references().to_vec()).collect();
        for _ in 1..MAX_DEPTH {
            level.retain(|reference| !self.owners.contains_key(&reference.uid));
            let kinds: BTreeSet<_> =
                level.iter().map(|owner| (owner.api_version.clone(), owner.kind.clone())).collect();
            if kinds.is_empty() {
                break;
            }
            for read in join_all(kinds.iter().map(|kind| list(cluster, kind))).await {
                match read? {
                    Ok(read) => self.owners.extend(read),
                    Err((kind, message)) => {
                        let refused =
                            self.refused.get_or_insert_with(|| (BTreeSet::new(), message));
                        refused.0.insert(kind);
                    }
                }
            }
            // A missing owner is not requested again.
            let above = level.iter().flat_map(|reference| {
                self.owners.entry(reference.uid.clone()).or_default().clone()
            });
            level = above.collect();
        }
        Ok(())
    }
}

type Refusal = (String, String);

/// All objects of a kind: their uids and owners. The kind and the message, if the user may not list them.
async fn list(
    cluster: &Cluster,
    (api_version, kind): &(String, String),
) -> Result<Result<Vec<(String, Vec<OwnerReference>)>, Refusal>, Error> {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    let client = cluster.client.clone();
    let api: Api<DynamicObject> = Api::namespaced_with(client, cluster.namespace(), &resource);
    let action = Action { verb: "list", resource: "the owners of pods" };
    match cluster.request(action, api.list_metadata(&ListParams::default())).await {
        Ok(list) => {
            let owners = list.items.into_iter().map(|object| object.metadata);
            let owners = owners.filter_map(|metadata| {
                Some((metadata.uid?, metadata.owner_references.unwrap_or_default()))
            });
            Ok(Ok(owners.collect()))
        }
        Err(Error::Forbidden { message, .. }) => {
            let kind = [resource.plural.as_str(), group].join(".");
            Ok(Err((kind.trim_end_matches('.').to_owned(), message)))
        }
        // An owner in no namespace, or a kind with another plural.
        Err(Error::Refused { code: 404, .. }) => Ok(Ok(vec![])),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
