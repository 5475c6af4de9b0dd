//! Watches the pods of a target: lists them once, then watches from the version of the list.
//!
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes>

use std::{collections::BTreeMap, time::Duration};

use futures_util::{StreamExt, stream::BoxStream};
use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
    batch::v1::{CronJob, Job},
    core::v1::Pod,
};
use kube::{
    Api,
    api::{ListParams, WatchEvent, WatchParams},
};

use tokio::time::{Instant, sleep, timeout};

use crate::{
    access::cluster::{self, Action, Cluster},
    pod::target::{self, Error, Selection, Target},
};

/// Seconds after which the API server ends a watch, which is then resumed. kube allows less than 295.
const WATCH_TIMEOUT: u32 = 290;
const MAX_SILENCE: Duration = Duration::from_secs(WATCH_TIMEOUT as u64 + 30);
const GONE: u16 = 410;
/// The minimum time between the starts of two watches.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

type Events = BoxStream<'static, kube::Result<WatchEvent<Pod>>>;

/// The pods of a target as they are now.
pub struct Watch<'a> {
    cluster: &'a Cluster,
    api: Api<Pod>,
    selection: Selection,
    pods: BTreeMap<String, Pod>,
    version: String,
    events: Option<Events>,
    started: Instant,
}

impl<'a> Watch<'a> {
    /// Lists the pods of the target.
    ///
    /// # Errors
    /// [`Error::Cluster`]
    pub async fn start(cluster: &'a Cluster, target: &Target) -> Result<Self, Error> {
        let api = Api::namespaced(cluster.client.clone(), cluster.namespace());
        let selection = target::selection(cluster, target).await?;
        let (pods, version) = (BTreeMap::new(), String::new());
        let started = Instant::now().checked_sub(MIN_INTERVAL).unwrap_or_else(Instant::now);
        let mut watch = Self { cluster, api, selection, pods, version, events: None, started };
        watch.list().await?;
        Ok(watch)
    }

    /// The pods, by name.
    #[must_use]
    pub fn pods(&self) -> Vec<Pod> {
        self.pods.values().cloned().collect()
    }

    /// Waits until a pod of the target is added, changes or is deleted.
    ///
    /// # Errors
    /// [`Error::Cluster`]. The caller may call it again.
    pub async fn changed(&mut self) -> Result<(), Error> {
        loop {
            let mut events = match self.events.take() {
                Some(events) => events,
                None => match self.watch().await? {
                    Some(events) => events,
                    // The new list may have what the caller waits for.
                    None => return Ok(()),
                },
            };
            // The stream ends after `WATCH_TIMEOUT`, or with its connection: watch again. A proxy may keep a
            // connection whose other side is gone.
            let Ok(Some(Ok(event))) = timeout(MAX_SILENCE, events.next()).await else { continue };
            self.events = Some(events);
            if self.apply(event).await? {
                return Ok(());
            }
        }
    }

    /// Applies an event, and returns whether it concerns a pod of the target.
    async fn apply(&mut self, event: WatchEvent<Pod>) -> Result<bool, Error> {
        Ok(match event {
            WatchEvent::Added(pod) | WatchEvent::Modified(pod) => {
                self.keep_version(&pod);
                let name = target::name_of(&pod);
                self.selection.read_owners(self.cluster, std::slice::from_ref(&pod)).await?;
                if self.selection.matches(&pod) {
                    self.pods.insert(name, pod);
                    true
                } else {
                    self.pods.remove(&name).is_some()
                }
            }
            WatchEvent::Deleted(pod) => {
                self.keep_version(&pod);
                self.pods.remove(&target::name_of(&pod)).is_some()
            }
            WatchEvent::Bookmark(bookmark) => {
                self.version = bookmark.metadata.resource_version;
                false
            }
            WatchEvent::Error(status) if status.code == GONE => {
                self.list().await?;
                true
            }
            // The next watch returns the error, if it persists.
            WatchEvent::Error(_) => {
                self.events = None;
                false
            }
        })
    }

    fn keep_version(&mut self, pod: &Pod) {
        if let Some(version) = &pod.metadata.resource_version {
            self.version.clone_from(version);
        }
    }

    async fn list(&mut self) -> Result<(), Error> {
        let params = ListParams {
            label_selector: self.selection.labels.clone(),
            field_selector: self.selection.fields.clone(),
            ..ListParams::default()
        };
        let action = Action { verb: "list", resource: "pods" };
        let list = self.cluster.request(action, self.api.list(&params)).await?;
        self.events = None;
        self.version = list.metadata.resource_version.unwrap_or_default();
        self.selection.read_owners(self.cluster, &list.items).await?;
        let fitting = list.items.into_iter().filter(|pod| self.selection.matches(pod));
        self.pods = fitting.map(|pod| (target::name_of(&pod), pod)).collect();
        Ok(())
    }

    /// Starts a watch. `None` if the version was too old: then the pods are listed again.
    async fn watch(&mut self) -> Result<Option<Events>, Error> {
        // A server may end each watch at once.
        if self.started.elapsed() < MIN_INTERVAL {
            sleep(MIN_INTERVAL).await;
        }
        self.started = Instant::now();
        let params = WatchParams {
            label_selector: self.selection.labels.clone(),
            field_selector: self.selection.fields.clone(),
            ..WatchParams::default()
        }
        .timeout(WATCH_TIMEOUT);
        let action = Action { verb: "watch", resource: "pods" };
        match self.cluster.request(action, self.api.watch(&params, &self.version)).await {
            Ok(events) => Ok(Some(events.boxed())),
            Err(cluster::Error::Refused { code: GONE, .. }) => {
                self.list().await?;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Waits for a running pod of the target that is not being deleted, and prefers a ready one. `given` is the target as
/// the user typed it. `controller` is the kind and the name of the controller of the pod before, if it had one.
///
/// # Errors
/// [`Error`]. [`Error::NoSuchPod`] or [`Error::WorkloadDeleted`] if no controller will create a pod.
pub async fn running(
    cluster: &Cluster,
    target: &Target,
    given: &str,
    controller: Option<&(String, String)>,
) -> Result<target::Choice, Error> {
    let mut watch = Watch::start(cluster, target).await.map_err(|error| match error {
        // There is no such Service.
        Error::Cluster(cluster::Error::Refused { code: 404, .. }) => {
            Error::WorkloadDeleted { target: given.into(), namespace: cluster.namespace().into() }
        }
        error => error,
    })?;
    let mut empty = false;
    loop {
        let pods = watch.pods();
        if pods.is_empty() && !empty {
            ensure_expected(cluster, target, given, controller).await?;
        }
        empty = pods.is_empty();
        let alive = pods.into_iter().filter(target::is_alive).collect();
        if let Some(choice) = target::pick(alive) {
            return Ok(choice);
        }
        watch.changed().await?;
    }
}

/// Fails if no controller will create a pod for the target.
async fn ensure_expected(
    cluster: &Cluster,
    target: &Target,
    given: &str,
    controller: Option<&(String, String)>,
) -> Result<(), Error> {
    let namespace = || cluster.namespace().to_owned();
    let (kind, name) = match (target, controller) {
        (Target::Pod(pod), None) => {
            return Err(Error::NoSuchPod { pod: pod.clone(), namespace: namespace() });
        }
        // These controllers give each pod a new name.
        (Target::Pod(pod), Some((kind, _)))
            if matches!(
                kind.as_str(),
                "ReplicaSet" | "Job" | "DaemonSet" | "ReplicationController"
            ) =>
        {
            return Err(Error::NoSuchPod { pod: pod.clone(), namespace: namespace() });
        }
        (Target::Pod(_), Some((kind, name))) => (kind.to_ascii_lowercase(), name),
        (Target::Owner(owner), _) => {
            let workload = owner.kind.workload().unwrap_or_default();
            (workload.to_owned(), &owner.name)
        }
        (Target::Service(_) | Target::Labels(_), _) => return Ok(()),
    };
    let gone = match kind.as_str() {
        "statefulset" => is_gone::<StatefulSet>(cluster, "statefulsets", name).await,
        "deployment" => is_gone::<Deployment>(cluster, "deployments", name).await,
        "replicaset" => is_gone::<ReplicaSet>(cluster, "replicasets", name).await,
        "daemonset" => is_gone::<DaemonSet>(cluster, "daemonsets", name).await,
        "job" => is_gone::<Job>(cluster, "jobs", name).await,
        "cronjob" => is_gone::<CronJob>(cluster, "cronjobs", name).await,
        _ => false,
    };
    if gone {
        return Err(Error::WorkloadDeleted { target: given.into(), namespace: namespace() });
    }
    Ok(())
}

/// Whether the API server answers with 404. `false` if the Role does not allow the request.
async fn is_gone<K>(cluster: &Cluster, resource: &'static str, name: &str) -> bool
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(cluster.client.clone(), cluster.namespace());
    let request = api.get_metadata(name);
    let answer = cluster.request(Action { verb: "get", resource }, request).await;
    matches!(answer, Err(cluster::Error::Refused { code: 404, .. }))
}

#[cfg(test)]
mod tests;
