#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;
use crate::access::cluster::scripted::{ApiServer, api_server};

fn reference(api_version: &str, kind: &str, name: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": format!("{kind} {name}")})
}

fn pod(owner: &Value, labels: &Value) -> Pod {
    let metadata = json!({"name": "x-0", "labels": labels, "ownerReferences": [owner]});
    serde_json::from_value(json!({"metadata": metadata})).unwrap()
}

fn owner(kind: &str, name: &str) -> Owner {
    Owner { kind: Kind::parse(kind).unwrap(), name: name.into() }
}

fn owns(kind: &str, name: &str, pod: &Pod) -> bool {
    owner(kind, name).owns(pod, &Ancestors::default())
}

#[test]
fn a_kind_is_compared_with_and_without_its_group_in_singular_and_plural() {
    let pod = pod(&reference("rabbitmq.com/v1beta1", "RabbitmqCluster", "mq"), &json!({}));
    for kind in [
        "rabbitmqcluster",
        "RabbitmqCluster",
        "rabbitmqclusters",
        "rabbitmqcluster.rabbitmq.com",
        "rabbitmqclusters.v1beta1.rabbitmq.com",
        "rabbitmqclusters.rabbitmq",
    ] {
        assert!(owns(kind, "mq", &pod), "{kind}");
        assert!(!owns(kind, "m", &pod), "{kind}");
    }
    for kind in ["rabbitmq", "rabbitmqcluster.other.com", "statefulset"] {
        assert!(!owns(kind, "mq", &pod), "{kind}");
    }
    for kind in ["", ".apps", "a_b", "1x", "sts.", "a..b", "sts/x"] {
        assert_eq!(Kind::parse(kind), None, "{kind}");
    }
}

#[test]
fn the_workloads_have_the_names_of_kubectl() {
    for (names, api_version, kind) in [
        (
            "sts statefulset statefulsets statefulset.apps statefulsets.v1.apps",
            "apps/v1",
            "StatefulSet",
        ),
        ("rs replicaset replicasets replicaset.apps", "apps/v1", "ReplicaSet"),
        ("ds daemonset daemonsets daemonset.apps", "apps/v1", "DaemonSet"),
        ("job jobs job.batch jobs.batch", "batch/v1", "Job"),
        ("rc replicationcontroller replicationcontrollers", "v1", "ReplicationController"),
    ] {
        let pod = pod(&reference(api_version, kind, "app"), &json!({}));
        for name in names.split(' ') {
            assert!(owns(name, "app", &pod), "{name}");
        }
        // Another group may have a kind of that name.
        assert!(!owns("sts.example.com", "app", &pod));
    }
}

#[test]
fn a_replica_set_of_a_deployment_or_a_rollout_has_its_name_and_the_hash_of_a_label() {
    let set = reference("apps/v1", "ReplicaSet", "web-6d4c");
    let deployed = pod(&set, &json!({"pod-template-hash": "6d4c"}));
    for kind in ["deploy", "deployment", "deployments", "deployment.apps", "deployments.v1.apps"] {
        assert!(owns(kind, "web", &deployed), "{kind}");
    }
    assert!(owns("rs", "web-6d4c", &deployed));
    assert!(!owns("rs", "web", &deployed));
    assert!(!owns("deploy", "we", &deployed));
    assert!(!owns("rollout", "web", &deployed));
    let rolled = pod(&set, &json!({"rollouts-pod-template-hash": "6d4c"}));
    for kind in ["rollout", "rollouts", "rollout.argoproj.io"] {
        assert!(owns(kind, "web", &rolled), "{kind}");
    }
    assert!(!owns("deploy", "web", &rolled));
}

#[test]
fn a_cron_job_has_the_jobs_of_its_name_and_a_time() {
    let job = |name| pod(&reference("batch/v1", "Job", name), &json!({}));
    for kind in ["cj", "cronjob", "cronjobs.batch"] {
        assert!(owns(kind, "backup", &job("backup-29000000")), "{kind}");
    }
    assert!(!owns("cj", "backup", &job("backup-db")));
    assert!(!owns("cj", "backup", &job("backup-")));
}

/// Answers the list of a kind of owners.
async fn answer(server: &mut ApiServer, path: &str, name: &str, above: &Value) {
    let request = server.request().await;
    assert!(request.target.starts_with(path), "{}", request.target);
    let kind = "PartialObjectMetadata";
    request.answer(&json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList", "metadata": {},
        "items": [{"apiVersion": "meta.k8s.io/v1", "kind": kind,
            "metadata": {"name": "any", "uid": name, "ownerReferences": above}}],
    }));
}

#[tokio::test(start_paused = true)]
async fn the_owners_in_between_are_read_once_for_an_operators_kind() {
    let (cluster, mut server) = api_server();
    let pods = [pod(&reference("apps/v1", "StatefulSet", "mq-server"), &json!({}))];
    let owner = owner("rabbitmqcluster.rabbitmq.com", "mq");
    let mut ancestors = Ancestors::default();
    let script = async {
        let above = json!([reference("rabbitmq.com/v1beta1", "RabbitmqCluster", "mq")]);
        let path = "/apis/apps/v1/namespaces/default/statefulsets?";
        answer(&mut server, path, "StatefulSet mq-server", &above).await;
        // Nobody owns the RabbitmqCluster, and the user may not list it.
        let request = server.request().await;
        let path = "/apis/rabbitmq.com/v1beta1/namespaces/default/rabbitmqclusters?";
        assert!(request.target.starts_with(path), "{}", request.target);
        request.fail(403);
    };
    let (read, ()) = tokio::join!(ancestors.read(&cluster, &owner, &pods), script);
    read.unwrap();
    assert!(owner.owns(&pods[0], &ancestors));
    let (refused, message) = ancestors.refused.clone().unwrap();
    assert_eq!(refused.into_iter().collect::<Vec<_>>(), ["rabbitmqclusters.rabbitmq.com"]);
    assert_eq!(message, "failure 403");
    // Nothing is left to be asked.
    ancestors.read(&cluster, &owner, &pods).await.unwrap();
    assert!(server.is_idle());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_for_a_workload_or_a_rollout() {
    let (cluster, server) = api_server();
    let pods = [pod(&reference("apps/v1", "StatefulSet", "app"), &json!({}))];
    for kind in ["deploy", "sts", "rollout", "rollouts.argoproj.io", "cj"] {
        Ancestors::default().read(&cluster, &owner(kind, "app"), &pods).await.unwrap();
    }
    assert!(server.is_idle());
}

#[test]
fn the_workload_of_a_pod_is_a_target() {
    let of = |api_version: &str, kind: &str, name: &str, labels: &Value| {
        let mut owner = reference(api_version, kind, name);
        owner["controller"] = true.into();
        let target = workload_of(&pod(&owner, labels)).unwrap();
        let parsed = crate::pod::target::Target::parse(&target);
        assert!(parsed.is_ok(), "{target}");
        target
    };
    let hash = json!({"pod-template-hash": "6d4c"});
    assert_eq!(of("apps/v1", "StatefulSet", "app", &json!({})), "sts/app");
    assert_eq!(of("apps/v1", "ReplicaSet", "web-6d4c", &hash), "deploy/web");
    assert_eq!(of("apps/v1", "ReplicaSet", "web-1", &hash), "rs/web-1");
    let hash = json!({"rollouts-pod-template-hash": "6d4c"});
    assert_eq!(of("apps/v1", "ReplicaSet", "web-6d4c", &hash), "rollout.argoproj.io/web");
    assert_eq!(of("v1", "ReplicationController", "old", &json!({})), "rc/old");
    let cluster = of("rabbitmq.com/v1beta1", "RabbitmqCluster", "mq", &json!({}));
    assert_eq!(cluster, "rabbitmqcluster.rabbitmq.com/mq");
    assert_eq!(of("v1", "Node", "worker", &json!({})), "node/worker");
    // Not the controller.
    assert_eq!(workload_of(&pod(&reference("v1", "Node", "worker"), &json!({}))), None);
}
