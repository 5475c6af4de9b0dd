//! Which pod is chosen, and when one is waited for.

use super::*;

fn controller(kind: &str, name: &str) -> (String, String) {
    (kind.into(), name.into())
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_runs_is_chosen_at_once_and_a_ready_one_first() {
    let (cluster, mut server) = api_server();
    let mut starting = pod("a", "1", "Running");
    starting["status"]["conditions"][0]["status"] = "False".into();
    let pods = [
        starting,
        terminating(pod("b", "2", "Running")),
        pod("c", "3", "Running"),
        pod("d", "4", "Pending"),
        pod("e", "5", "Running"),
    ];
    let target = labels();
    let (choice, _) = tokio::join!(
        running(&cluster, &target, "-l app=web", None),
        answer_list(&mut server, "10", &pods)
    );
    let choice = choice.unwrap();
    assert_eq!((target::name_of(&choice.pod), choice.others), ("c".into(), vec!["e".into()]));
    assert!(server.is_idle());
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_will_run_is_waited_for() {
    let (cluster, mut server) = api_server();
    let target = Target::Pod("app-0".into());
    let before = [terminating(pod("app-0", "1", "Running"))];
    let controller = controller("StatefulSet", "app");
    let script = async {
        answer_list(&mut server, "10", &before).await;
        let stream = accept_watch(&mut server, "10").await;
        stream.send(&event("DELETED", &pod("app-0", "11", "Running")));
        // Whether there will be another pod.
        let request = server.request().await;
        assert_eq!(request.target, "/apis/apps/v1/namespaces/default/statefulsets/app");
        request.answer(&json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
            "metadata": {"name": "app"},
        }));
        stream.send(&event("ADDED", &pod("app-0", "12", "Pending")));
        sleep(Duration::from_mins(1)).await;
        stream.send(&event("MODIFIED", &pod("app-0", "13", "Running")));
        stream
    };
    let (choice, _stream) =
        tokio::join!(running(&cluster, &target, "app-0", Some(&controller)), script);
    let version = choice.unwrap().pod.metadata.resource_version;
    assert_eq!(version.as_deref(), Some("13"));
    assert!(server.is_idle());
}

#[tokio::test(start_paused = true)]
async fn without_a_pod_of_its_name_the_controller_decides_whether_one_is_expected() {
    let target = Target::Pod("web-1".into());
    let none = None;
    let other_names = Some(controller("ReplicaSet", "web"));
    for controller in [none, other_names, Some(controller("Job", "web"))] {
        let (cluster, mut server) = api_server();
        let (choice, _) = tokio::join!(
            running(&cluster, &target, "web-1", controller.as_ref()),
            answer_list(&mut server, "10", &[])
        );
        let error = choice.err().unwrap();
        let expected = matches!(&error, Error::NoSuchPod { pod, namespace }
            if pod == "web-1" && namespace == "default");
        assert!(expected, "{controller:?}: {error:?}");
        assert!(server.is_idle());
    }
}

#[tokio::test(start_paused = true)]
async fn without_pods_a_deleted_workload_is_the_failure() {
    let stateful_set = controller("StatefulSet", "app");
    for (target, controller, path) in [
        ("sts/app", None, "apps/v1/namespaces/default/statefulsets/app"),
        ("deployment.apps/web", None, "apps/v1/namespaces/default/deployments/web"),
        ("rs/web-6d4c", None, "apps/v1/namespaces/default/replicasets/web-6d4c"),
        ("ds/agent", None, "apps/v1/namespaces/default/daemonsets/agent"),
        ("job/seed", None, "batch/v1/namespaces/default/jobs/seed"),
        ("app-0", Some(stateful_set), "apps/v1/namespaces/default/statefulsets/app"),
    ] {
        let target = Target::parse(target).unwrap();
        let (cluster, mut server) = api_server();
        let script = async {
            answer_list(&mut server, "10", &[]).await;
            let request = server.request().await;
            assert_eq!(request.target, format!("/apis/{path}"));
            request.fail(404);
        };
        let (choice, ()) =
            tokio::join!(running(&cluster, &target, "as typed", controller.as_ref()), script);
        let error = choice.err().unwrap();
        assert!(is_deleted(&error), "{target:?}: {error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_deleted_is_the_failure() {
    let (cluster, mut server) = api_server();
    let target = Target::Service("app".into());
    let (choice, ()) = tokio::join!(running(&cluster, &target, "as typed", None), async {
        let request = server.request().await;
        assert_eq!(request.target, "/api/v1/namespaces/default/services/app");
        request.fail(404);
    });
    let error = choice.err().unwrap();
    assert!(is_deleted(&error), "{error:?}");
}

fn is_deleted(error: &Error) -> bool {
    matches!(error, Error::WorkloadDeleted { target, namespace }
        if target == "as typed" && namespace == "default")
}

#[tokio::test(start_paused = true)]
async fn a_workload_that_may_not_be_read_is_waited_for() {
    let (cluster, mut server) = api_server();
    let target = Target::parse("sts/app").unwrap();
    let script = async {
        answer_list(&mut server, "10", &[]).await;
        server.request().await.fail(403);
        let stream = accept_watch(&mut server, "10").await;
        let app = owned(pod("app-0", "11", "Running"), "StatefulSet", "app");
        stream.send(&event("ADDED", &app));
    };
    let (choice, ()) = tokio::join!(running(&cluster, &target, "sts/app", None), script);
    assert_eq!(target::name_of(&choice.unwrap().pod), "app-0");
}

#[tokio::test(start_paused = true)]
async fn the_pods_of_labels_are_waited_for_without_another_request() {
    let (cluster, mut server) = api_server();
    let target = labels();
    let script = async {
        answer_list(&mut server, "10", &[]).await;
        accept_watch(&mut server, "10").await.send(&event("ADDED", &pod("a", "11", "Running")));
    };
    let (choice, ()) = tokio::join!(running(&cluster, &target, "-l app=web", None), script);
    assert_eq!(target::name_of(&choice.unwrap().pod), "a");
    assert!(server.is_idle());
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_runs_in_the_list_after_a_version_that_is_gone_is_chosen() {
    let (cluster, mut server) = api_server();
    let target = labels();
    let script = async {
        answer_list(&mut server, "10", &[pod("a", "1", "Pending")]).await;
        server.request().await.fail(410);
        answer_list(&mut server, "50", &[pod("a", "40", "Running")]).await;
    };
    let (choice, ()) = tokio::join!(running(&cluster, &target, "-l app=web", None), script);
    assert_eq!(target::name_of(&choice.unwrap().pod), "a");
    assert!(server.is_idle());
}
