#![allow(clippy::unwrap_used, clippy::panic)]

use serde_json::{Value, json};

use super::*;
use crate::{
    access::cluster::scripted::{ApiServer, api_server},
    port_forward::peer::{Peer, pair},
};

const PORT: u16 = 5555;

fn pod(uid: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "app-0", "namespace": "default", "uid": uid},
        "spec": {"containers": [{"name": "app"}]},
        "status": {"phase": "Running"},
    })
}

fn rediscovery() -> Rediscovery {
    let request = AttachRequest { port: Some(PORT), ..AttachRequest::default() };
    Rediscovery::new(&serde_json::from_value(pod("one")).unwrap(), &request)
}

/// Refuses the next stream, which has brought nothing: the container has not started.
async fn refuse(peer: &mut Peer, stream: u32) {
    peer.expect_open(stream, PORT, b"").await;
    peer.send(stream, true, b"connection refused").await;
    peer.send(stream + 2, true, b"").await;
    peer.expect(&crate::port_forward::peer::reset(stream + 2)).await;
}

/// Accepts the next stream, and answers the handshake on the one after it.
async fn answer(peer: &mut Peer, stream: u32) {
    peer.expect_open(stream, PORT, b"").await;
    let (first, stream) = (stream, stream + 4);
    peer.expect_open(stream, PORT, &node::handshake::send_name()).await;
    peer.expect(&crate::port_forward::peer::reset(first + 2)).await;
    let mut answer = b"\0\x03sok\0\x1cN".to_vec();
    answer.extend((1_u64 << 24).to_be_bytes());
    answer.extend(b"\0\0\0\x01\0\0\0\x02\0\x09app@b.com");
    peer.send(stream + 2, false, &answer).await;
}

/// Answers the request for the pod.
async fn answer_pod(server: &mut ApiServer, pod: &Value) {
    let request = server.request().await;
    assert_eq!(request.target, "/api/v1/namespaces/default/pods/app-0");
    request.answer(pod);
}

/// The failure after the API server answered with this pod or a failure.
async fn failure(pod: Result<Value, u16>) -> Error {
    let (cluster, mut server) = api_server();
    let (connection, peer) = pair();
    let rediscovery = rediscovery();
    // Before anything is asked of the node
    drop(peer);
    let script = async {
        match pod {
            Ok(pod) => answer_pod(&mut server, &pod).await,
            Err(code) => server.request().await.fail(code),
        }
    };
    let (node, ()) = tokio::join!(rediscovery.run(&cluster, &connection), script);
    node.unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn a_node_is_found_after_its_pod_was_read_and_its_port_accepts() {
    let (cluster, mut server) = api_server();
    let (connection, mut peer) = pair();
    let rediscovery = rediscovery();
    let script = async {
        answer_pod(&mut server, &pod("one")).await;
        answer(&mut peer, 1).await;
    };
    let (node, ()) = tokio::join!(rediscovery.run(&cluster, &connection), script);
    let node = node.unwrap();
    assert_eq!((node.name.as_str(), node.port), ("app@b.com", PORT));
    assert!(server.is_idle());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_starts_is_probed_again_and_its_pod_read_every_2_s() {
    let (cluster, mut server) = api_server();
    let (connection, mut peer) = pair();
    let rediscovery = rediscovery();
    let start = Instant::now();
    let node = async {
        // After 0, 50, 150 and 350 ms, and then each 200 ms.
        for number in 0..13 {
            refuse(&mut peer, 1 + 4 * number).await;
        }
        answer(&mut peer, 1 + 4 * 13).await;
    };
    let api_server = async {
        answer_pod(&mut server, &pod("one")).await;
        assert_eq!(start.elapsed().as_secs(), 0);
        // A failed request changes nothing.
        server.request().await.fail(500);
        assert_eq!(start.elapsed().as_secs(), 2);
    };
    let (node, (), ()) = tokio::join!(rediscovery.run(&cluster, &connection), node, api_server);
    assert_eq!(node.unwrap().name, "app@b.com");
    let elapsed = start.elapsed();
    // And 30 ms for the port to refuse
    assert!((2350..2500).contains(&elapsed.as_millis()), "{elapsed:?}");
    assert!(server.is_idle());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_has_lost_a_worker_is_closed() {
    let (cluster, mut server) = api_server();
    let (connection, _peer) = pair();
    let rediscovery = rediscovery();
    connection.note_refused_data();
    let pod = pod("one");
    let (node, ()) =
        tokio::join!(rediscovery.run(&cluster, &connection), answer_pod(&mut server, &pod));
    assert!(matches!(node.unwrap_err(), Error::PortForwardClosed { .. }));
    assert!(connection.close_reason().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_was_replaced_is_the_failure() {
    let error = failure(Ok(pod("two"))).await;
    assert!(matches!(error, Error::Target(target::Error::Replaced { .. })), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_deleted_or_is_being_deleted_is_the_failure() {
    let mut terminating = pod("one");
    terminating["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    for (pod, expected) in [(Ok(terminating), "Terminating"), (Err(404), "Deleted")] {
        match failure(pod).await {
            Error::Target(target::Error::NotRunning { pod, phase, .. }) => {
                assert_eq!((pod.as_str(), phase.as_str()), ("app-0", expected));
            }
            error => panic!("{error:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_closed_between_two_attempts_is_the_failure() {
    let (cluster, mut server) = api_server();
    let (connection, mut peer) = pair();
    let rediscovery = rediscovery();
    let script = async {
        answer_pod(&mut server, &pod("one")).await;
        refuse(&mut peer, 1).await;
        drop(peer);
    };
    let (node, ()) = tokio::join!(rediscovery.run(&cluster, &connection), script);
    let error = node.unwrap_err();
    let expected = "the API server closed the connection";
    assert!(
        matches!(&error, Error::PortForwardClosed { reason } if reason == expected),
        "{error:?}"
    );
}
