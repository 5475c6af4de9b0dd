#![allow(clippy::unwrap_used, clippy::panic)]

use serde_json::{Value, json};

use super::*;
use crate::access::cluster::scripted::{ApiServer, api_server};

fn pod(fields: &Value) -> Pod {
    Pod::from(serde_json::from_value::<k8s::Pod>(fields.clone()).unwrap())
}

/// STATUS, READY and RESTARTS of a pod with one container, an init container and a sidecar.
fn columns(status: &Value, metadata: &Value) -> String {
    let init = json!([{"name": "init"}, {"name": "proxy", "restartPolicy": "Always"}]);
    let spec = json!({"containers": [{"name": "app"}], "initContainers": init});
    let pod = pod(&json!({"metadata": metadata, "spec": spec, "status": status}));
    format!("{} {}/{} {}", pod.status, pod.ready_containers, pod.total_containers, pod.restarts)
}

fn of_status(status: &Value) -> String {
    columns(status, &json!({"name": "app-0"}))
}

fn container(name: &str, restarts: i32, ready: bool, state: &Value) -> Value {
    json!({"name": name, "restartCount": restarts, "ready": ready, "state": state,
        "started": ready, "image": "", "imageID": ""})
}

#[test]
fn the_status_of_a_pod_that_starts() {
    assert_eq!(of_status(&json!({"phase": "Pending"})), "Pending 0/2 0");
    let gated = json!([{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]);
    let gated = json!({"phase": "Pending", "conditions": gated});
    assert_eq!(of_status(&gated), "SchedulingGated 0/2 0");
    let init = |state: &Value| {
        let inits = [container("init", 3, false, state), container("proxy", 0, false, &json!({}))];
        of_status(&json!({"phase": "Pending", "initContainerStatuses": inits}))
    };
    assert_eq!(init(&json!({"running": {}})), "Init:0/2 0/2 3");
    let waiting = |reason: &str| json!({"waiting": {"reason": reason}});
    assert_eq!(init(&waiting("PodInitializing")), "Init:0/2 0/2 3");
    assert_eq!(init(&waiting("CrashLoopBackOff")), "Init:CrashLoopBackOff 0/2 3");
    assert_eq!(init(&json!({"terminated": {"exitCode": 7}})), "Init:ExitCode:7 0/2 3");
    let killed = json!({"terminated": {"exitCode": 137, "signal": 9}});
    assert_eq!(init(&killed), "Init:Signal:9 0/2 3");
    assert_eq!(init(&json!({"terminated": {"exitCode": 0}})), "Init:1/2 0/2 3");
}

#[test]
fn the_status_of_a_pod_that_has_started() {
    let of = |state: &Value, ready: bool| {
        let inits = [
            container("init", 5, false, &json!({"terminated": {"exitCode": 0}})),
            container("proxy", 1, true, &json!({"running": {}})),
        ];
        let conditions = [json!({"type": "Initialized", "status": "True"})];
        of_status(&json!({
            "phase": "Running", "conditions": conditions, "initContainerStatuses": inits,
            "containerStatuses": [container("app", 2, ready, state)],
        }))
    };
    assert_eq!(of(&json!({"running": {}}), true), "Running 2/2 3");
    assert_eq!(of(&json!({"running": {}}), false), "Running 1/2 3");
    let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    assert_eq!(of(&waiting, false), "CrashLoopBackOff 1/2 3");
    let ended = json!({"terminated": {"exitCode": 1, "reason": "Error"}});
    assert_eq!(of(&ended, false), "Error 1/2 3");
}

#[test]
fn the_status_of_a_pod_with_a_container_that_has_completed() {
    let status = |conditions: &Value| {
        let completed = json!({"terminated": {"exitCode": 0, "reason": "Completed"}});
        let containers = [
            container("job", 0, false, &completed),
            container("app", 0, true, &json!({"running": {}})),
        ];
        of_status(&json!({
            "phase": "Running", "conditions": conditions, "containerStatuses": containers,
        }))
    };
    assert_eq!(status(&json!([])), "NotReady 1/2 0");
    assert_eq!(status(&json!([{"type": "Ready", "status": "True"}])), "Running 1/2 0");
}

#[test]
fn the_status_of_a_pod_that_ends() {
    let deleted = json!({"name": "app-0", "deletionTimestamp": "2026-01-01T00:00:00Z"});
    let of = |status: Value| columns(&status, &deleted);
    assert_eq!(of(json!({"phase": "Running"})), "Terminating 0/2 0");
    assert_eq!(of(json!({"phase": "Succeeded"})), "Succeeded 0/2 0");
    assert_eq!(of(json!({"phase": "Running", "reason": "NodeLost"})), "Unknown 0/2 0");
    assert_eq!(of_status(&json!({"phase": "Failed", "reason": "Evicted"})), "Evicted 0/2 0");
}

#[test]
fn a_spec_leads_to_the_node_its_evidence_and_its_owner() {
    let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-6d4c",
        "uid": "u", "controller": true});
    let metadata = json!({"name": "web-6d4c-x", "namespace": "shop", "ownerReferences": [owner],
        "labels": {"pod-template-hash": "6d4c"}, "creationTimestamp": "2026-01-02T03:04:05Z"});
    let env = json!([{"name": "RELEASE_NODE", "value": "web@10.1.2.3"}]);
    let containers = json!([{"name": "proxy"}, {"name": "web", "env": env}]);
    let spec = json!({"containers": containers, "nodeName": "worker-1"});
    let pod = pod(&json!({"metadata": metadata, "spec": spec}));
    assert_eq!(pod.node.as_deref(), Some("web@10.1.2.3"));
    assert_eq!((pod.beam, &pod.evidence[..]), (true, &["RELEASE_NODE".to_owned()][..]));
    assert_eq!(pod.owner.as_deref(), Some("deploy/web"));
    assert_eq!(pod.kubernetes_node.as_deref(), Some("worker-1"));
    assert_eq!(pod.created_at.as_deref(), Some("2026-01-02T03:04:05Z"));
    assert_eq!((pod.status.as_str(), pod.phase.as_str()), ("Unknown", "Unknown"));
}

async fn answer(server: &mut ApiServer, names: &[&str], next: &str) -> String {
    let request = server.request().await;
    let target = request.target.clone();
    let items: Vec<_> = names.iter().map(|name| json!({"metadata": {"name": name}})).collect();
    request.answer(&json!({
        "apiVersion": "v1", "kind": "PodList", "metadata": {"continue": next}, "items": items,
    }));
    target
}

#[tokio::test(start_paused = true)]
async fn the_pods_of_all_namespaces_arrive_in_pages() {
    let (cluster, mut server) = api_server();
    let query = Query { labels: Some("app=web".into()), all_namespaces: true, target: None };
    let script = async {
        let first = answer(&mut server, &["a"], "next").await;
        (first, answer(&mut server, &["b"], "").await)
    };
    let (pods, (first, second)) = tokio::join!(list(&cluster, &query), script);
    let names: Vec<_> = pods.unwrap().into_iter().map(|pod| pod.name).collect();
    assert_eq!(names, ["a", "b"]);
    assert!(
        first.starts_with("/api/v1/pods?") && first.contains("labelSelector=app=web"),
        "{first}"
    );
    assert!(first.contains("limit=500") && !first.contains("continue"), "{first}");
    assert!(
        second.contains("continue=next") && second.contains("labelSelector=app=web"),
        "{second}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_forbidden_in_all_namespaces_names_none() {
    for (all_namespaces, expected) in [(true, ""), (false, "default")] {
        let (cluster, mut server) = api_server();
        let query = Query { all_namespaces, ..Query::default() };
        let script = async { server.request().await.fail(403) };
        let (error, ()) = tokio::join!(list(&cluster, &query), script);
        let Err(Error::Cluster(cluster::Error::Forbidden { namespace, .. })) = error else {
            panic!("{error:?}")
        };
        assert_eq!(namespace, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn the_pods_of_a_target() {
    let (cluster, mut server) = api_server();
    let of = |target: &str| Query { target: Some(target.into()), ..Query::default() };
    let (owned, invalid) = (of("sts/x"), of("a b"));
    let (error, _) = tokio::join!(list(&cluster, &owned), answer(&mut server, &["a"], ""));
    assert!(matches!(error, Err(Error::NoPods { .. })), "{error:?}");
    let error = list(&cluster, &invalid).await;
    assert!(matches!(error, Err(Error::InvalidTarget { .. })), "{error:?}");
}
