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

    fn facts_of(container: &serde_json::Value, statuses: &serde_json::Value) -> Facts {
        let pod = pod(container, statuses);
        facts(&pod, &pod.spec.as_ref().unwrap().containers[1])
    }

    #[test]
    fn a_container_that_was_started_again() {
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
    fn what_a_spec_refers_to_for_a_cookie() {
        let refers_to = |container: serde_json::Value| {
            let facts = facts_of(&container, &serde_json::json!([]));
            facts.refers_to.into_iter().map(|(kind, name)| format!("{kind} {name}")).collect()
        };
        let none: Vec<String> = refers_to(serde_json::json!({"name": "app"}));
        assert!(none.is_empty());
        let variable: Vec<String> = refers_to(serde_json::json!({"name": "app", "env": [
            {"name": "RELEASE_COOKIE", "valueFrom": {"secretKeyRef": {"name": "a", "key": "c"}}},
        ], "envFrom": [{"secretRef": {"name": "not-looked-at"}}]}));
        assert_eq!(variable, ["secrets a"]);
        let others: Vec<String> = refers_to(serde_json::json!({"name": "app", "env": [
            {"name": "MY_COOKIE", "valueFrom": {"configMapKeyRef": {"name": "b", "key": "c"}}},
        ], "envFrom": [{"configMapRef": {"name": "d"}}], "volumeMounts": [
            {"name": "home", "mountPath": "/home/app"},
            {"name": "other", "mountPath": "/etc/tls"},
        ]}));
        assert_eq!(others, ["configmaps b", "configmaps d", "secrets cookie-file"]);
    }

    #[test]
    fn why_a_container_is_the_one() {
        let why = |container: serde_json::Value, wanted| {
            container::why(&pod(&container, &serde_json::json!([])), wanted)
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
