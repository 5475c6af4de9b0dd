#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use tokio::time::timeout;

use super::*;
use crate::access::cluster::scripted::{ApiServer, ApiStream, api_server, status};

/// A pod, ready where it runs.
fn pod(name: &str, version: &str, phase: &str) -> Value {
    let ready = if phase == "Running" { "True" } else { "False" };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "resourceVersion": version},
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]},
    })
}

fn owned(mut pod: Value, kind: &str, name: &str) -> Value {
    pod["metadata"]["ownerReferences"] = json!([
        {"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "u", "controller": true},
    ]);
    pod
}

fn terminating(mut pod: Value) -> Value {
    pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    pod
}

fn event(kind: &str, object: &Value) -> Value {
    json!({"type": kind, "object": object})
}

fn bookmark(version: &str) -> Value {
    let metadata = json!({"resourceVersion": version});
    event("BOOKMARK", &json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata}))
}

/// The value of a parameter in the query of a request.
fn parameter<'a>(target: &'a str, name: &str) -> Option<&'a str> {
    let (_path, query) = target.split_once('?')?;
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// Answers a list of pods, and returns its request.
async fn answer_list(server: &mut ApiServer, version: &str, pods: &[Value]) -> String {
    let request = server.request().await;
    let target = request.target.clone();
    assert!(target.starts_with("/api/v1/namespaces/default/pods?"), "{target}");
    assert_eq!(parameter(&target, "watch"), None, "{target}");
    request.answer(&json!({
        "apiVersion": "v1", "kind": "PodList", "items": pods,
        "metadata": {"resourceVersion": version},
    }));
    target
}

/// Takes the request of a watch from this version on.
async fn accept_watch(server: &mut ApiServer, version: &str) -> ApiStream {
    let request = server.request().await;
    assert_eq!(parameter(&request.target, "watch"), Some("true"), "{}", request.target);
    assert_eq!(parameter(&request.target, "resourceVersion"), Some(version), "{}", request.target);
    request.stream()
}

async fn start<'a>(
    cluster: &'a Cluster,
    server: &mut ApiServer,
    target: &Target,
    pods: &[Value],
) -> Watch<'a> {
    let (watch, _) = tokio::join!(Watch::start(cluster, target), answer_list(server, "10", pods));
    watch.unwrap()
}

fn labels() -> Target {
    Target::Labels("app=web".into())
}

/// The name and the phase of each pod.
fn state(watch: &Watch) -> Vec<(String, String)> {
    let phase = |pod: &Pod| pod.status.clone().unwrap().phase.unwrap();
    watch.pods().iter().map(|pod| (target::name_of(pod), phase(pod))).collect()
}

fn states(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, phase)| ((*name).into(), (*phase).into())).collect()
}

/// Whether nothing about the pods changes for a minute.
async fn is_unchanged(watch: &mut Watch<'_>) -> bool {
    timeout(Duration::from_mins(1), watch.changed()).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn the_pods_are_those_of_the_list_and_then_those_of_each_event() {
    let (cluster, mut server) = api_server();
    let mut watch = start(&cluster, &mut server, &labels(), &[pod("b", "3", "Running")]).await;
    assert_eq!(state(&watch), states(&[("b", "Running")]));
    let (changed, stream) = tokio::join!(watch.changed(), async {
        let stream = accept_watch(&mut server, "10").await;
        stream.send(&event("ADDED", &pod("a", "11", "Pending")));
        stream
    });
    changed.unwrap();
    assert_eq!(state(&watch), states(&[("a", "Pending"), ("b", "Running")]));
    stream.send(&event("MODIFIED", &pod("a", "12", "Running")));
    watch.changed().await.unwrap();
    assert_eq!(state(&watch), states(&[("a", "Running"), ("b", "Running")]));
    stream.send(&event("DELETED", &pod("b", "13", "Running")));
    watch.changed().await.unwrap();
    assert_eq!(state(&watch), states(&[("a", "Running")]));
    // Neither the deletion of an unknown pod nor a bookmark is a change.
    stream.send(&event("DELETED", &pod("c", "14", "Running")));
    stream.send(&bookmark("15"));
    assert!(is_unchanged(&mut watch).await);
    assert!(server.is_idle());
}

#[tokio::test(start_paused = true)]
async fn the_requests_have_the_selectors_of_the_target() {
    for (target, name, value) in [
        (labels(), "labelSelector", "app=web"),
        (Target::Pod("app-0".into()), "fieldSelector", "metadata.name=app-0"),
    ] {
        let (cluster, mut server) = api_server();
        let (watch, listed) =
            tokio::join!(Watch::start(&cluster, &target), answer_list(&mut server, "10", &[]));
        assert_eq!(parameter(&listed, name), Some(value), "{listed}");
        let mut watch = watch.unwrap();
        let watched = tokio::select! {
            _ = watch.changed() => None,
            request = server.request() => Some(request.target),
        };
        let watched = watched.unwrap();
        assert_eq!(parameter(&watched, name), Some(value), "{watched}");
        assert_eq!(parameter(&watched, "allowWatchBookmarks"), Some("true"), "{watched}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_is_resumed_after_the_last_event_or_bookmark() {
    let (cluster, mut server) = api_server();
    let mut watch = start(&cluster, &mut server, &labels(), &[]).await;
    let script = async {
        // From the list on.
        drop(accept_watch(&mut server, "10").await);
        let stream = accept_watch(&mut server, "10").await;
        stream.send(&event("DELETED", &pod("other", "11", "Running")));
        drop(stream);
        let stream = accept_watch(&mut server, "11").await;
        stream.send(&bookmark("20"));
        drop(stream);
        let stream = accept_watch(&mut server, "20").await;
        stream.send(&event("ADDED", &pod("a", "21", "Running")));
        drop(stream);
    };
    let (changed, ()) = tokio::join!(watch.changed(), script);
    changed.unwrap();
    assert_eq!(state(&watch), states(&[("a", "Running")]));
    let (changed, ()) = tokio::join!(watch.changed(), async {
        let stream = accept_watch(&mut server, "21").await;
        stream.send(&event("MODIFIED", &pod("a", "22", "Failed")));
    });
    changed.unwrap();
    assert_eq!(state(&watch), states(&[("a", "Failed")]));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_each_watch_is_asked_once_a_second() {
    let (cluster, mut server) = api_server();
    let mut watch = start(&cluster, &mut server, &labels(), &[]).await;
    let begin = Instant::now();
    let script = async {
        for watches in 0..10 {
            drop(accept_watch(&mut server, "10").await);
            assert_eq!(begin.elapsed().as_secs(), watches);
        }
    };
    tokio::select! {
        changed = watch.changed() => changed.unwrap(),
        () = script => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_gone_lists_the_pods_again() {
    for in_stream in [true, false] {
        let (cluster, mut server) = api_server();
        let pods = [pod("a", "1", "Running"), pod("b", "2", "Running")];
        let mut watch = start(&cluster, &mut server, &labels(), &pods).await;
        let (changed, ()) = tokio::join!(watch.changed(), async {
            if in_stream {
                accept_watch(&mut server, "10").await.send(&event("ERROR", &status(410)));
            } else {
                server.request().await.fail(410);
            }
            answer_list(&mut server, "50", &[pod("b", "40", "Failed")]).await;
        });
        changed.unwrap();
        assert_eq!(state(&watch), states(&[("b", "Failed")]));
        let (changed, ()) = tokio::join!(watch.changed(), async {
            let stream = accept_watch(&mut server, "50").await;
            stream.send(&event("ADDED", &pod("c", "51", "Running")));
        });
        changed.unwrap();
        assert_eq!(state(&watch), states(&[("b", "Failed"), ("c", "Running")]));
    }
}

#[tokio::test(start_paused = true)]
async fn another_failure_is_an_error_after_which_the_watch_goes_on() {
    let (cluster, mut server) = api_server();
    let mut watch = start(&cluster, &mut server, &labels(), &[pod("a", "1", "Running")]).await;
    let (changed, ()) = tokio::join!(watch.changed(), async {
        // The event alone is no failure: the next watch may work.
        accept_watch(&mut server, "10").await.send(&event("ERROR", &status(500)));
        server.request().await.fail(500);
    });
    let refused =
        |error: &Error| matches!(error, Error::Cluster(cluster::Error::Refused { code: 500, .. }));
    assert!(changed.is_err_and(|error| refused(&error)));
    assert_eq!(state(&watch), states(&[("a", "Running")]));
    let (changed, ()) = tokio::join!(watch.changed(), async {
        let stream = accept_watch(&mut server, "10").await;
        stream.send(&event("DELETED", &pod("a", "11", "Running")));
    });
    changed.unwrap();
    assert_eq!(state(&watch), []);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_the_owner_no_longer_owns_is_removed() {
    let (cluster, mut server) = api_server();
    let owner = Target::parse("sts/app").unwrap();
    let mine = |version| owned(pod("app-0", version, "Running"), "StatefulSet", "app");
    let pods = [mine("1"), owned(pod("db-0", "2", "Running"), "StatefulSet", "db")];
    let mut watch = start(&cluster, &mut server, &owner, &pods).await;
    assert_eq!(state(&watch), states(&[("app-0", "Running")]));
    let (changed, stream) = tokio::join!(watch.changed(), async {
        let stream = accept_watch(&mut server, "10").await;
        // A pod of somebody else is no change.
        stream.send(&event("ADDED", &owned(pod("db-1", "11", "Running"), "StatefulSet", "db")));
        stream.send(&event("MODIFIED", &pod("app-0", "12", "Running")));
        stream
    });
    changed.unwrap();
    assert_eq!(state(&watch), []);
    stream.send(&event("MODIFIED", &mine("13")));
    watch.changed().await.unwrap();
    assert_eq!(state(&watch), states(&[("app-0", "Running")]));
}

mod choice;
