//! What a pod's status and spec say that a doctor looks at.

use std::time::{SystemTime, UNIX_EPOCH};

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod};

use crate::{
    Error, attach,
    attach::Wish,
    cluster::Cluster,
    container, cookie,
    target::{self, Target},
};

/// A pod, and the container of it that is held for the node's.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The pod itself.
    pub pod: Pod,
    /// Other ready pods that the target would have fitted.
    pub others: Vec<String>,
    /// Whether it was asked for by its own name.
    pub named: bool,
    /// The container's name, and why it is that one.
    pub container: String,
    /// Why it is that one.
    pub why: &'static str,
    /// Its image.
    pub image: String,
    /// Whether the kubelet holds it for ready.
    pub ready: bool,
    /// How often it was started again.
    pub restarts: i32,
    /// Seconds since it ended the last time, and why it did.
    pub ended: Option<(i64, String)>,
    /// What its spec refers to for a cookie: `secrets` or `configmaps`, and the name.
    pub refers_to: Vec<(&'static str, String)>,
}

/// Looks the target up. A pod that does not run is one as well.
///
/// # Errors
/// [`Error`]
pub async fn pod(cluster: &Cluster, wish: &Wish) -> Result<Facts, Error> {
    let (target, shown) = attach::target_of(wish)?;
    let choice = target::choose(cluster, &target, &shown).await?;
    let wanted = wish.container.as_deref();
    let container = attach::container_of(&choice.pod, wanted)?;
    Ok(Facts {
        named: matches!(target, Target::Pod(_)),
        others: choice.others,
        why: container::why(&choice.pod, wanted),
        ..facts(&choice.pod, container)
    })
}

fn facts(pod: &Pod, container: &Container) -> Facts {
    let status = pod.status.as_ref();
    let statuses = status.and_then(|status| status.container_statuses.as_ref());
    let status = statuses.into_iter().flatten().find(|status| status.name == container.name);
    Facts {
        pod: pod.clone(),
        others: vec![],
        named: false,
        container: container.name.clone(),
        why: "",
        image: container.image.clone().unwrap_or_default(),
        ready: status.is_some_and(|status| status.ready),
        restarts: status.map_or(0, |status| status.restart_count),
        ended: status.and_then(ended),
        refers_to: cookie::refers_to(pod, container),
    }
}

fn ended(status: &ContainerStatus) -> Option<(i64, String)> {
    let last = status.last_state.as_ref()?.terminated.as_ref()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let at = last.finished_at.as_ref()?.0.as_second();
    let reason = last.reason.as_deref().unwrap_or("no reason given");
    let ago = i64::try_from(now.as_secs()).ok()? - at;
    Some((ago, format!("{reason}, exit code {}", last.exit_code)))
}
