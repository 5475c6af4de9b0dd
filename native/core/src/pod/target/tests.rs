#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;

#[test]
fn the_forms_of_a_target() {
    let parse = |text| Target::parse(text).unwrap();
    assert_eq!(parse("app-0"), Target::Pod("app-0".into()));
    assert_eq!(parse("pod/app-0"), parse("app-0"));
    assert_eq!(parse("pod/app-0"), parse("po/app-0"));
    let owner = |kind, name: &str| {
        Target::Owner(Owner { kind: Kind::parse(kind).unwrap(), name: name.into() })
    };
    assert_eq!(parse("sts/app"), owner("statefulset.apps", "app"));
    assert_eq!(parse("StatefulSet/app"), parse("statefulsets.apps/app"));
    assert_eq!(parse("deployment/web"), parse("deployment.apps/web"));
    assert_eq!(parse("job/x"), parse("job.batch/x"));
    assert_eq!(parse("rollout.argoproj.io/web"), owner("rollout.argoproj.io", "web"));
    assert_eq!(parse("service/app"), parse("services/app"));
    assert_eq!(parse("svc/app"), Target::Service("app".into()));
    for text in [
        "", "/", "sts/", "a_b/x", "/x", "sts./x", "a/b/c", "App", "a b", "../x", "-a", "a?x",
        "pod/a%2f",
    ] {
        assert!(matches!(Target::parse(text), Err(Error::InvalidTarget { .. })), "{text}");
    }
}

#[test]
fn the_owners_of_pods_are_named_as_kubectl_does() {
    let pod = |name: &str, api_version: &str, kind: &str| -> Pod {
        let owner = serde_json::json!({"apiVersion": api_version, "kind": kind, "name": name,
            "uid": "u", "controller": true});
        serde_json::from_value(serde_json::json!({"metadata": {"ownerReferences": [owner]}}))
            .unwrap()
    };
    let pods = [
        pod("mq", "rabbitmq.com/v1beta1", "RabbitmqCluster"),
        pod("app", "apps/v1", "StatefulSet"),
        pod("app", "apps/v1", "StatefulSet"),
        pod("old", "v1", "ReplicationController"),
    ];
    let expected =
        ["rabbitmqcluster.rabbitmq.com/mq", "replicationcontroller/old", "statefulset.apps/app"];
    assert_eq!(owners_of(&pods), expected);
}

/// The error for this target, in a namespace with one pod of a `StatefulSet`.
async fn error(target: &str, fail_owners: Option<u16>) -> Error {
    let (cluster, mut server) = crate::access::cluster::scripted::api_server();
    let owner = serde_json::json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "app",
        "uid": "u", "controller": true});
    let script = async {
        server.request().await.answer(&serde_json::json!({
            "apiVersion": "v1", "kind": "PodList", "metadata": {},
            "items": [{"metadata": {"name": "app-0", "ownerReferences": [owner]}}],
        }));
        if let Some(code) = fail_owners {
            server.request().await.fail(code);
        }
    };
    let parsed = Target::parse(target).unwrap();
    let (choice, ()) = tokio::join!(choose(&cluster, &parsed, target), script);
    choice.err().unwrap()
}

#[tokio::test(start_paused = true)]
async fn without_a_pod_the_owners_of_the_others_are_named() {
    let expected = ["statefulset.apps/app"];
    for (target, fail_owners) in [("deploy/app", None), ("mq.example.com/app", Some(404))] {
        let error = error(target, fail_owners).await;
        assert!(matches!(&error, Error::NoPods { owners, .. } if *owners == expected), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn owners_that_may_not_be_listed_are_named() {
    let error = error("mq.example.com/app", Some(403)).await;
    let Error::OwnersForbidden { resources, message, .. } = &error else { panic!("{error:?}") };
    assert_eq!(
        (resources.as_slice(), message.as_str()),
        (["statefulsets.apps".to_owned()].as_slice(), "failure 403")
    );
}

#[test]
fn a_pod_has_an_address_or_none() {
    let ip = |status: serde_json::Value| {
        ip_of(
            &serde_json::from_value(serde_json::json!({"metadata": {}, "status": status})).unwrap(),
        )
    };
    let pod = |ip| serde_json::json!({"podIP": ip});
    assert_eq!(ip(pod("10.1.2.3")), "10.1.2.3".parse().ok());
    assert_eq!(ip(pod("fd00::1")), "fd00::1".parse().ok());
    assert_eq!(ip(pod("")), None);
    assert_eq!(ip(serde_json::json!({})), None);
}

#[test]
fn a_node_may_be_named_by_any_address_of_its_pod() {
    let pod = serde_json::json!({"metadata": {}, "status": {
        "podIP": "10.1.2.3", "podIPs": [{"ip": "10.1.2.3"}, {"ip": "fd00::1"}]
    }});
    let pod = serde_json::from_value(pod).unwrap();
    for (node, ip) in [
        ("app@10.1.2.3", "10.1.2.3"),
        ("app@fd00::1", "fd00::1"),
        ("app@fd00:0::1", "fd00::1"),
        ("app@fd00::2", "10.1.2.3"),
        ("app@app-0.app", "10.1.2.3"),
    ] {
        assert_eq!(ip_in_name(&pod, node), ip.parse().ok(), "{node}");
    }
}
