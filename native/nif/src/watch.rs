//! Sends the running pods of a target to the calling process, each time they change.

use k8s_connect_core::{
    Error,
    access::cluster::Cluster,
    attach::AttachRequest,
    pod::{
        target::{is_alive, name_of},
        watch::Watch,
    },
};
use rustler::{Encoder, Env, Term};

use crate::caller::Caller;

mod atoms {
    rustler::atoms! { pods }
}

/// Sends `{reference, {:pods, [{name, uid}]}}` until the watch fails.
pub async fn run(cluster: &Cluster, request: &AttachRequest, caller: &Caller) -> Result<(), Error> {
    let (target, _given) = request.parse_target()?;
    let mut watch = Watch::start(cluster, &target).await?;
    let mut sent = None;
    loop {
        let alive = watch.pods().into_iter().filter(is_alive);
        let pods: Vec<_> =
            alive.map(|pod| (name_of(&pod), pod.metadata.uid.unwrap_or_default())).collect();
        if sent.as_ref() != Some(&pods) {
            caller.send(&Pods(&pods));
            sent = Some(pods);
        }
        watch.changed().await?;
    }
}

struct Pods<'a>(&'a [(String, String)]);

impl Encoder for Pods<'_> {
    fn encode<'b>(&self, env: Env<'b>) -> Term<'b> {
        (atoms::pods(), self.0).encode(env)
    }
}
