//! A workload's pods, told to the process that asks each time that they change.

use k8s_connect_core::{
    Error,
    attach::{Wish, target_of},
    cluster::Cluster,
    target::{is_alive, name_of},
    watch::Watch,
};

use crate::reply::Caller;

/// Runs until the watch cannot go on.
pub async fn run(cluster: &Cluster, request: &Wish, caller: &Caller) -> Result<(), Error> {
    let (target, _shown) = target_of(request)?;
    let mut watch = Watch::start(cluster, &target).await?;
    let mut told = None;
    loop {
        let alive = watch.pods().into_iter().filter(is_alive);
        let pods: Vec<_> =
            alive.map(|pod| (name_of(&pod), pod.metadata.uid.unwrap_or_default())).collect();
        if told.as_ref() != Some(&pods) {
            caller.pods(&pods);
            told = Some(pods);
        }
        watch.changed().await?;
    }
}
