#![allow(clippy::unwrap_used)]

use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::port_forward::peer::{Peer, pair};

const ANSWER: &[u8] = b"\0\0\x11\x11name rem-1-app at port 1\nname app at port 5555\n\
    name worker at port 5556\nname rpc-2-app at port 2\n";

/// No hints, for a whole test.
fn none() -> &'static HintReceiver {
    Box::leak(Box::new(HintReceiver::known(Hints::default())))
}

fn named(name: &str) -> HintReceiver {
    HintReceiver::known(Hints { name: Some(name.into()), ..Hints::default() })
}

fn on_ports(ports: &[u16], without_epmd: bool) -> Hints {
    Hints { ports: ports.into(), without_epmd, ..Hints::default() }
}

/// The answers of epmd and of the node.
async fn pod(peer: &mut Peer, names: [&[u8]; 2]) {
    peer.expect_open(1, epmd::PORT, &epmd::NAMES).await;
    peer.send(3, false, names[0]).await;
    peer.expect_open(5, 5555, &handshake::send_name()).await;
    peer.send(3, false, names[1]).await;
    let mut answer = b"\0\x03sok\0\x1cN".to_vec();
    answer.extend((1_u64 << 24).to_be_bytes());
    answer.extend(b"\0\0\0\x01\0\0\0\x02\0\x09app@b.com");
    peer.send(7, false, &answer).await;
}

async fn names(pieces: [&[u8]; 2]) -> Vec<(String, u16)> {
    let (connection, mut peer) = pair();
    let (node, ()) =
        tokio::join!(discover(&connection, Some("app"), none()), pod(&mut peer, pieces));
    let node = node.unwrap();
    assert_eq!((node.name.as_str(), node.port, node.probed), ("app@b.com", 5555, true));
    node.names.into_iter().map(|entry| (entry.name, entry.port)).collect()
}

#[tokio::test]
async fn a_node_has_the_names_around_it_without_transient_ones() {
    let expected = [("app".to_owned(), 5555), ("worker".to_owned(), 5556)];
    assert_eq!(names([ANSWER, b""]).await, expected);
    // Lines after the requested one count as well, if they arrive in time.
    let cut = ANSWER.len() - 50;
    assert_eq!(names([&ANSWER[..cut], &ANSWER[cut..]]).await, expected);
    assert_eq!(names([&ANSWER[..cut], b""]).await, expected[..1]);
    // Junk after it does not matter.
    assert_eq!(names([&ANSWER[..cut], b"\njunk\n"]).await, expected[..1]);
}

#[tokio::test]
async fn a_transient_node_that_was_requested_is_among_the_names() {
    let (connection, mut peer) = pair();
    let expected = named("rem-1-app@b.com");
    let pod = async {
        peer.expect_open(1, epmd::PORT, &epmd::NAMES).await;
        peer.send(3, false, ANSWER).await;
    };
    let (node, ()) = tokio::join!(discover(&connection, Some("rem-1-app"), &expected), pod);
    let names: Vec<_> = node.unwrap().names.into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["rem-1-app", "app", "worker"]);
}

/// Answers the handshake on the next stream.
async fn answer_probe(peer: &mut Peer, stream: u32, port: u16, name: &str) {
    peer.expect_open(stream, port, &handshake::send_name()).await;
    send_challenge(peer, stream, name).await;
}

async fn send_challenge(peer: &mut Peer, stream: u32, name: &str) {
    let mut answer = b"\0\x03sok\0".to_vec();
    answer.push(u8::try_from(19 + name.len()).unwrap());
    answer.push(b'N');
    answer.extend((1_u64 << 24).to_be_bytes());
    answer.extend(b"\0\0\0\x01\0\0\0\x02\0");
    answer.push(u8::try_from(name.len()).unwrap());
    answer.extend(name.bytes());
    peer.send(stream + 2, false, &answer).await;
}

#[tokio::test]
async fn a_cli_node_that_is_registered_for_a_moment_is_not_the_node() {
    let (connection, mut peer) = pair();
    let pod = async {
        peer.expect_open(1, epmd::PORT, &epmd::NAMES).await;
        let answer =
            b"\0\0\x11\x11name rabbitmqcli-7-rabbit at port 9\nname rabbit at port 25672\n";
        peer.send(3, false, answer).await;
        answer_probe(&mut peer, 5, 25672, "rabbit@mq-0").await;
    };
    let (node, ()) = tokio::join!(discover(&connection, None, none()), pod);
    assert_eq!(node.unwrap().name, "rabbit@mq-0");
}

#[tokio::test]
async fn a_cli_node_whose_node_arrives_after_it_is_not_the_node() {
    let (connection, mut peer) = pair();
    let pod = async {
        peer.expect_open(1, epmd::PORT, &epmd::NAMES).await;
        peer.send(3, false, b"\0\0\x11\x11name maint1-app at port 9\n").await;
        // The probe is on its way when the other line arrives.
        peer.expect_open(5, 9, &handshake::send_name()).await;
        peer.send(3, false, b"name app at port 5555\n").await;
        peer.send(5, true, b"connection refused").await;
        peer.send(7, true, b"").await;
        answer_probe(&mut peer, 9, 5555, "app@b.com").await;
    };
    let (node, ()) = tokio::join!(discover(&connection, None, none()), pod);
    let node = node.unwrap();
    assert_eq!((node.name.as_str(), node.port), ("app@b.com", 5555));
    let names: Vec<_> = node.names.into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["app"]);
}

#[tokio::test]
async fn an_app_that_is_called_rpc_gateway_is_found() {
    let (connection, mut peer) = pair();
    let pod = async {
        peer.expect_open(1, epmd::PORT, &epmd::NAMES).await;
        peer.send(3, false, b"\0\0\x11\x11name rpc-gateway at port 5555\n").await;
        answer_probe(&mut peer, 5, 5555, "rpc-gateway@b.com").await;
    };
    let (node, ()) = tokio::join!(discover(&connection, None, none()), pod);
    assert_eq!(node.unwrap().name, "rpc-gateway@b.com");
}

#[tokio::test]
async fn of_several_names_the_expected_one_is_the_node() {
    let (connection, mut peer) = pair();
    let pod = async {
        peer.expect_open(1, epmd::PORT, &epmd::NAMES).await;
        peer.send(3, false, b"\0\0\x11\x11name cli7 at port 9\nname app at port 5555\n").await;
        // Another name still counts, if it answers.
        peer.expect_open(5, 9, &handshake::send_name()).await;
        peer.send(5, true, b"connection refused").await;
        peer.send(7, true, b"").await;
    };
    let expected = named("app@b.com");
    let (node, ()) = tokio::join!(discover(&connection, None, &expected), pod);
    let node = node.unwrap();
    assert_eq!((node.name.as_str(), node.probed), ("app@b.com", false));
}

#[tokio::test(start_paused = true)]
async fn an_answer_byte_by_byte_has_one_time_limit() {
    let start = Instant::now();
    let (connection, mut peer) = pair();
    let drip = async {
        peer.expect_open(1, epmd::PORT, &epmd::NAMES).await;
        peer.send(3, false, b"\0\0\x11\x11").await;
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            peer.send(3, false, b"x").await;
        }
    };
    tokio::select! {
        node = discover(&connection, None, none()) => assert!(matches!(node, Err(Error::EpmdTimedOut))),
        () = drip => {}
    }
    assert!(start.elapsed() < Duration::from_secs(6));
}

#[tokio::test(start_paused = true)]
async fn a_handshake_byte_by_byte_has_one_time_limit() {
    let start = Instant::now();
    let (connection, mut peer) = pair();
    let drip = async {
        peer.expect_open(1, 5555, &handshake::send_name()).await;
        peer.send(3, false, b"\0\x03sok\0\xffN").await;
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            peer.send(3, false, b"x").await;
        }
    };
    tokio::select! {
        node = at_port(&connection, 5555) => assert!(matches!(node, Err(Error::HandshakeTimedOut { .. }))),
        () = drip => {}
    }
    assert!(start.elapsed() < Duration::from_secs(6));
}

#[tokio::test]
async fn an_epmd_with_too_many_names_is_not_one() {
    let (connection, mut peer) = pair();
    let pod = async {
        peer.expect_open(1, epmd::PORT, &epmd::NAMES).await;
        let mut answer = b"\0\0\x11\x11".to_vec();
        for number in 0..65 {
            answer.extend(format!("name n{number} at port 5555\n").bytes());
        }
        peer.send(3, false, &answer).await;
    };
    let (node, ()) = tokio::join!(discover(&connection, Some("none"), none()), pod);
    assert!(
        matches!(node, Err(Error::EpmdInvalidAnswer { actual }) if actual == "more than 64 names")
    );
}

#[tokio::test]
async fn a_hinted_port_is_asked_at_the_same_time_as_epmd() {
    let (connection, mut peer) = pair();
    let hints = HintReceiver::known(on_ports(&[5555], false));
    let pod = async {
        peer.expect_open(1, epmd::PORT, &epmd::NAMES).await;
        // epmd has not answered yet.
        answer_probe(&mut peer, 5, 5555, "app@b.com").await;
        peer.send(3, false, b"\0\0\x11\x11name app at port 5555\n").await;
    };
    let (node, ()) = tokio::join!(discover(&connection, None, &hints), pod);
    let node = node.unwrap();
    assert_eq!((node.name.as_str(), node.port, node.probed), ("app@b.com", 5555, true));
    assert_eq!(node.names, [epmd::Entry { name: "app".into(), port: 5555 }]);
    assert!(!connection.has_lost_worker());
}

#[tokio::test]
async fn hints_may_arrive_after_epmd_was_asked() {
    let (connection, mut peer) = pair();
    let (sender, hints) = hints::channel();
    let pod = async {
        peer.expect_open(1, epmd::PORT, &epmd::NAMES).await;
        sender.send(on_ports(&[5555], false));
        answer_probe(&mut peer, 5, 5555, "app@b.com").await;
        peer.send(3, false, b"\0\0\x11\x11name app at port 5555\n").await;
    };
    let (node, ()) = tokio::join!(discover(&connection, None, &hints), pod);
    assert_eq!(node.unwrap().name, "app@b.com");
}

#[tokio::test]
async fn a_hinted_port_that_refuses_leaves_the_node_to_epmd() {
    let (connection, mut peer) = pair();
    let hints = HintReceiver::known(on_ports(&[9100], false));
    let pod = async {
        peer.expect_open(1, epmd::PORT, &epmd::NAMES).await;
        peer.expect_open(5, 9100, &handshake::send_name()).await;
        peer.send(5, true, b"connection refused").await;
        peer.send(3, false, b"\0\0\x11\x11name app at port 5555\n").await;
        let (mut opened, reset) = ([0; 8], crate::port_forward::peer::reset(7));
        tokio::io::AsyncReadExt::read_exact(&mut peer.end, &mut opened).await.unwrap();
        // The reset of the refused stream comes before or after the next stream.
        if opened == reset[..8] {
            tokio::io::AsyncReadExt::read_exact(&mut peer.end, &mut opened).await.unwrap();
            assert_ne!(opened, reset[..8]);
        }
        let mut answer = b"\0\x03sok\0\x1cN".to_vec();
        answer.extend((1_u64 << 24).to_be_bytes());
        answer.extend(b"\0\0\0\x01\0\0\0\x02\0\x09app@b.com");
        peer.send(11, false, &answer).await;
    };
    let (node, ()) = tokio::join!(discover(&connection, None, &hints), pod);
    let node = node.unwrap();
    assert_eq!((node.name.as_str(), node.port), ("app@b.com", 5555));
    // The connection has to be replaced: one of the kubelet's workers hangs.
    assert!(connection.has_lost_worker());
}

#[tokio::test]
async fn a_node_without_epmd_is_asked_alone() {
    let (connection, mut peer) = pair();
    let hints = HintReceiver::known(on_ports(&[4370], true));
    let (node, ()) = tokio::join!(
        discover(&connection, None, &hints),
        answer_probe(&mut peer, 1, 4370, "emqx@h")
    );
    assert_eq!(node.unwrap().name, "emqx@h");
}

#[tokio::test]
async fn a_known_name_and_port_need_no_answer() {
    let (connection, _peer) = pair();
    let hints = |name: &str| {
        HintReceiver::known(Hints { name: Some(name.into()), ..on_ports(&[5555, 1], false) })
    };
    for requested in [None, Some("app"), Some("app@elsewhere")] {
        let node = discover(&connection, requested, &hints("app@b.com")).await.unwrap();
        assert_eq!((node.name.as_str(), node.port, node.probed), ("app@b.com", 5555, false));
    }
}

#[tokio::test(start_paused = true)]
async fn two_nodes_are_two_even_if_the_spec_has_the_port_of_one() {
    let (connection, mut peer) = pair();
    let hints = HintReceiver::known(on_ports(&[5555], false));
    let pod = async {
        peer.expect_open(1, epmd::PORT, &epmd::NAMES).await;
        answer_probe(&mut peer, 5, 5555, "app@b.com").await;
        // epmd's lines arrive one after the other, and some of them after the node's answer.
        peer.send(3, false, b"\0\0\x11\x11name app at port 5555\n").await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        peer.send(3, false, b"name second at port 7\n").await;
        peer.expect(&crate::port_forward::peer::reset(7)).await;
        answer_probe(&mut peer, 9, 7, "second@b.com").await;
    };
    let (node, ()) = tokio::join!(discover(&connection, None, &hints), pod);
    assert!(
        matches!(node, Err(Error::SeveralNodes { available }) if available == ["app", "second"])
    );
}

#[tokio::test]
async fn a_node_that_epmd_has_named_is_not_forgotten_when_a_hinted_one_answers_first() {
    let (connection, mut peer) = pair();
    let hints = HintReceiver::known(on_ports(&[5555], false));
    let pod = async {
        peer.expect_open(1, epmd::PORT, &epmd::NAMES).await;
        peer.expect_open(5, 5555, &handshake::send_name()).await;
        peer.send(3, false, b"\0\0\x11\x11name second at port 7\nname app at port 5555\n").await;
        // The last to register is the first in the answer.
        peer.expect_open(9, 7, &handshake::send_name()).await;
        send_challenge(&mut peer, 5, "app@b.com").await;
        for stream in [7, 11] {
            peer.expect(&crate::port_forward::peer::reset(stream)).await;
        }
        answer_probe(&mut peer, 13, 7, "second@b.com").await;
    };
    let (node, ()) = tokio::join!(discover(&connection, None, &hints), pod);
    assert!(
        matches!(node, Err(Error::SeveralNodes { available }) if available == ["app", "second"])
    );
}
