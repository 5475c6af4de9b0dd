//! The facts about a pod, from its status and spec.

use std::time::{SystemTime, UNIX_EPOCH};

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod};

use crate::{
    Error,
    access::cluster::Cluster,
    attach::{AttachRequest, container_of},
    pod::{
        container, cookie,
        target::{self, Target},
        tls_files,
    },
};

/// A pod, and the container of the node.
#[derive(Debug, Clone)]
pub struct PodFacts {
    /// The pod itself.
    pub pod: Pod,
    /// Other ready pods of the target.
    pub others: Vec<String>,
    /// Whether the target is the pod's name.
    pub named: bool,
    /// The name of the container.
    pub container: String,
    /// Why it was selected.
    pub selection_reason: &'static str,
    /// Its image.
    pub image: String,
    /// Whether the container is ready.
    pub ready: bool,
    /// How often it was restarted.
    pub restarts: i32,
    /// Seconds since it last terminated, and the reason.
    pub ended: Option<(i64, String)>,
    /// The objects in its spec that may have the cookie: `secrets` or `configmaps`, and the name.
    pub cookie_objects: Vec<(&'static str, String)>,
    /// The objects that lead to the certificates of its distribution, if it is over TLS.
    pub tls_objects: Vec<(&'static str, String)>,
}

/// Finds the pod of the target. It need not be running.
///
/// # Errors
/// [`Error`]
pub async fn pod(cluster: &Cluster, request: &AttachRequest) -> Result<PodFacts, Error> {
    let (target, given) = request.parse_target()?;
    let choice = target::choose(cluster, &target, &given).await?;
    let requested = request.container.as_deref();
    let container = container_of(&choice.pod, requested)?;
    let tls_objects = if request.tls.is_none() {
        // It is no reason to know nothing about the pod.
        tls_files::objects(cluster, &choice.pod, container).await.unwrap_or_default()
    } else {
        vec![]
    };
    Ok(PodFacts {
        tls_objects,
        named: matches!(target, Target::Pod(_)),
        others: choice.others,
        selection_reason: container::selection_reason(&choice.pod, requested),
        ..facts(&choice.pod, container)
    })
}

fn facts(pod: &Pod, container: &Container) -> PodFacts {
    let status = pod.status.as_ref();
    let statuses = status.and_then(|status| status.container_statuses.as_ref());
    let status = statuses.into_iter().flatten().find(|status| status.name == container.name);
    PodFacts {
        pod: pod.clone(),
        others: vec![],
        named: false,
        container: container.name.clone(),
        selection_reason: "",
        image: container.image.clone().unwrap_or_default(),
        ready: status.is_some_and(|status| status.ready),
        restarts: status.map_or(0, |status| status.restart_count),
        ended: status.and_then(last_termination),
        cookie_objects: cookie::objects(pod, container),
        tls_objects: vec![],
    }
}

fn last_termination(status: &ContainerStatus) -> Option<(i64, String)> {
    let last = status.last_state.as_ref()?.terminated.as_ref()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let at = last.finished_at.as_ref()?.0.as_second();
    let reason = last.reason.as_deref().unwrap_or("no reason given");
    let ago = i64::try_from(now.as_secs()).ok()? - at;
    Some((ago, format!("{reason}, exit code {}", last.exit_code)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn pod(container: &serde_json::Value, statuses: &serde_json::Value) -> Pod {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "app-0"},
            "spec": {
                "containers": [{"name": "proxy"}, container],
                "volumes": [
                    {"name": "home", "secret": {"secretName": "cookie-file"}},
                    {"name": "other", "secret": {"secretName": "tls"}},
                ],
            },
            "status": {"containerStatuses": statuses},
        }))
        .unwrap()
    }

    fn facts_of(container: &serde_json::Value, statuses: &serde_json::Value) -> PodFacts {
        let pod = pod(container, statuses);
        facts(&pod, &pod.spec.as_ref().unwrap().containers[1])
    }

    #[test]
    fn a_container_that_was_restarted() {
        let container = serde_json::json!({"name": "app", "image": "app:1"});
        let facts = facts_of(
            &container,
            &serde_json::json!([
                {"name": "proxy", "restartCount": 9, "ready": false, "image": "", "imageID": ""},
                {"name": "app", "restartCount": 2, "ready": true, "image": "", "imageID": "",
                 "lastState": {"terminated": {
                    "exitCode": 137, "reason": "OOMKilled", "finishedAt": "1970-01-01T00:00:10Z"}}},
            ]),
        );
        assert_eq!((facts.restarts, facts.ready, facts.image.as_str()), (2, true, "app:1"));
        let (ago, why) = facts.ended.unwrap();
        assert!(ago > 1_000_000_000);
        assert_eq!(why, "OOMKilled, exit code 137");
        let facts = facts_of(&container, &serde_json::json!([]));
        assert_eq!((facts.restarts, facts.ready, facts.ended), (0, false, None));
    }

    #[test]
    fn the_objects_that_may_have_the_cookie() {
        let objects = |container: serde_json::Value| {
            let facts = facts_of(&container, &serde_json::json!([]));
            facts.cookie_objects.into_iter().map(|(kind, name)| format!("{kind} {name}")).collect()
        };
        let none: Vec<String> = objects(serde_json::json!({"name": "app"}));
        assert!(none.is_empty());
        let variable: Vec<String> = objects(serde_json::json!({"name": "app", "env": [
            {"name": "RELEASE_COOKIE", "valueFrom": {"secretKeyRef": {"name": "a", "key": "c"}}},
        ], "envFrom": [{"secretRef": {"name": "not-read"}}]}));
        assert_eq!(variable, ["secrets a"]);
        let others: Vec<String> = objects(serde_json::json!({"name": "app", "env": [
            {"name": "MY_COOKIE", "valueFrom": {"configMapKeyRef": {"name": "b", "key": "c"}}},
        ], "envFrom": [{"configMapRef": {"name": "d"}}], "volumeMounts": [
            {"name": "home", "mountPath": "/home/app"},
            {"name": "other", "mountPath": "/etc/tls"},
        ]}));
        assert_eq!(others, ["configmaps d", "secrets cookie-file", "configmaps b"]);
    }

    #[test]
    fn why_a_container_was_selected() {
        let why = |container: serde_json::Value, requested| {
            container::selection_reason(&pod(&container, &serde_json::json!([])), requested)
        };
        let plain = || serde_json::json!({"name": "app"});
        assert_eq!(why(plain(), Some("app")), "as asked for");
        assert!(why(plain(), None).starts_with("the first one"));
        let cookie = serde_json::json!({"name": "app", "env": [{"name": "X_COOKIE"}]});
        assert!(why(cookie, None).contains("COOKIE"));
        let erlang = serde_json::json!({"name": "app", "ports": [{"containerPort": 4369}]});
        assert!(why(erlang, None).contains("an Erlang node's"));
    }
}
