#![allow(clippy::unwrap_used)]

use nix::unistd::geteuid;
use tokio::sync::mpsc;

use super::*;
use crate::{
    endpoint::owner::tests::other_user,
    port_forward::peer::{Peer, pair, reset},
};

const NODE: usize = 1;
const EPMD: usize = 0;

fn route(connection: PortForward, visible: bool) -> Route {
    let entry = |name: &str, port| epmd::Entry { name: name.into(), port };
    let names = vec![entry("app", 9100), entry("worker", 9101)];
    let ip = "10.9.9.9".parse().unwrap();
    let (guarding, printer) = (None, None);
    Route {
        connection,
        connector: None,
        ip,
        port: 9100,
        names,
        visible,
        guarding,
        printer,
        cookies: None,
    }
}

fn listener(visible: bool) -> (Listener, Peer) {
    let (connection, peer) = pair();
    (Listener::new(route(connection, visible)).unwrap(), peer)
}

fn address(listener: &Listener, which: usize) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, listener.redirects()[which].1).into()
}

async fn connect(listener: &Listener, which: usize) -> TcpStream {
    TcpStream::connect(address(listener, which)).await.unwrap()
}

/// Everything up to the end, which may be a reset.
async fn rest(mut client: TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest).await;
    rest
}

async fn expect(client: &mut TcpStream, expected: &[u8]) {
    let mut received = vec![0; expected.len()];
    client.read_exact(&mut received).await.unwrap();
    assert_eq!(received, expected);
}

async fn ask(listener: &Listener, request: &[u8]) -> Vec<u8> {
    let mut client = connect(listener, EPMD).await;
    client.write_all(request).await.unwrap();
    rest(client).await
}

#[tokio::test]
async fn two_ports_of_the_pods_family_stand_for_two_of_the_pod() {
    let (connection, _peer) = pair();
    for (pod, loopback) in [("10.9.9.9", "127.0.0.1"), ("fd09::9", "::1")] {
        let (pod, loopback): (IpAddr, IpAddr) = (pod.parse().unwrap(), loopback.parse().unwrap());
        let route = Route { ip: pod, ..route(connection.clone(), false) };
        let listener = Listener::new(route).unwrap();
        let redirects = listener.redirects();
        let addresses: Vec<_> = redirects.iter().map(|(address, _)| *address).collect();
        assert_eq!(addresses, [(pod, 4369).into(), (pod, 9100).into()]);
        for (_, port) in redirects {
            assert!(port >= UNPRIVILEGED);
            TcpStream::connect((loopback, port)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_connection_is_forwarded_in_both_directions() {
    for visible in [false, true] {
        let (listener, mut peer) = listener(visible);
        let flag = if visible { 0xff } else { 0xfe };
        let handshake = |last: u8| {
            [b"\0\x14N\xff\xff\xff\xff\xff\xff\xff", &[last][..], b"\0\0\0\x01\0\x05a@b.c"].concat()
        };

        let mut client = connect(&listener, NODE).await;
        peer.expect_open(1, 9100, b"").await;
        client.write_all(&handshake(0xff)).await.unwrap();
        peer.expect_data(3, &handshake(flag)).await;
        peer.send(3, false, &[b"\0\x03sok", &handshake(0xff)[..]].concat()).await;
        expect(&mut client, &[b"\0\x03sok", &handshake(flag)[..]].concat()).await;
        let (reply, ack) =
            ([b"\0\x15r", &[7; 20][..]].concat(), [b"\0\x11a", &[7; 16][..]].concat());
        client.write_all(&reply).await.unwrap();
        peer.expect_data(3, &reply).await;
        peer.send(3, false, &ack).await;
        expect(&mut client, &ack).await;
        // After the handshake nothing changes.
        client.write_all(&handshake(0xff)).await.unwrap();
        peer.expect_data(3, &handshake(0xff)).await;
        peer.send(3, false, &handshake(0xff)).await;
        expect(&mut client, &handshake(0xff)).await;

        client.write_all(b"last").await.unwrap();
        drop(client);
        peer.expect_data(3, b"last").await;
        peer.expect(&reset(3)).await;
        assert_eq!(listener.refused(), 0);
    }
}

#[tokio::test]
async fn the_pods_end_is_the_clients_after_all_that_came_before() {
    let (listener, mut peer) = listener(true);
    let client = connect(&listener, NODE).await;
    peer.expect_open(1, 9100, b"").await;
    peer.send(3, false, b"what ").await;
    peer.send(3, false, b"was sent").await;
    peer.send(1, true, b"").await;
    peer.send(3, true, b"").await;
    assert_eq!(rest(client).await, b"what was sent");
}

#[tokio::test]
async fn a_shared_connection_is_unusable_after_a_refusal() {
    let (connection, mut peer) = pair();
    let listener = Listener::new(route(connection.clone(), true)).unwrap();
    let client = connect(&listener, NODE).await;
    peer.expect_open(1, 9100, b"").await;
    assert!(!connection.has_lost_worker());
    peer.send(1, true, b"connection refused").await;
    assert_eq!(rest(client).await, b"");
    let noted = async {
        while !connection.has_lost_worker() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), noted).await.unwrap();
}

#[tokio::test]
async fn a_port_that_the_pod_refuses_is_the_failure_of_its_connection_only() {
    let (listener, mut peer) = listener(true);
    let refused = connect(&listener, NODE).await;
    peer.expect_open(1, 9100, b"").await;
    peer.send(1, true, b"connection refused").await;
    assert_eq!(rest(refused).await, b"");
    peer.expect(&reset(3)).await;
    let mut other = connect(&listener, NODE).await;
    peer.expect_open(5, 9100, b"").await;
    peer.send(7, false, b"fine").await;
    expect(&mut other, b"fine").await;
}

#[tokio::test]
async fn the_epmd_answers_and_closes_the_connection() {
    let (listener, _peer) = listener(false);
    let names = ask(&listener, &epmd::NAMES).await;
    assert_eq!(names, b"\0\0\x11\x11name app at port 9100\nname worker at port 9101\n");
    let port = ask(&listener, b"\0\x04zapp").await;
    assert_eq!(port[..4], [119, 0, 0x23, 0x8c]);
    assert_eq!(ask(&listener, b"\0\x02zx").await, [119, 1]);
}

#[tokio::test]
async fn a_client_with_an_invalid_request_is_disconnected() {
    let (listener, _peer) = listener(false);
    let long = [b"\x02\x01z".as_slice(), &[b'x'; 512]].concat();
    for request in [b"\0\0".as_slice(), b"\0\x01k", &long, b"GET / HTTP/1.1\r\n\r\n"] {
        assert_eq!(ask(&listener, request).await, b"");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_finishes_a_request_is_disconnected() {
    let (listener, _peer) = listener(false);
    assert_eq!(ask(&listener, b"\0\x04za").await, b"");
}

#[tokio::test]
async fn connections_of_other_users_are_closed_and_counted() {
    let (connection, mut peer) = pair();
    let no = |_: &TcpStream| false;
    let listener = Listener::with(route(connection, false), [no; 2]).unwrap();
    for (which, count) in [(NODE, 1), (EPMD, 2)] {
        assert_eq!(rest(connect(&listener, which).await).await, b"");
        assert_eq!(listener.refused(), count);
    }
    // The pod did not notice.
    drop(listener);
    assert_eq!(peer.rest().await, b"");
}

#[tokio::test]
async fn another_user_is_refused() {
    if !geteuid().is_root() {
        return;
    }
    let (listener, mut peer) = listener(false);
    for (which, count) in [(NODE, 1), (EPMD, 2)] {
        let client = other_user(address(&listener, which));
        let output = tokio::task::spawn_blocking(|| client.wait_with_output());
        assert_eq!(output.await.unwrap().unwrap().stdout, b"4299 at the end\n");
        assert_eq!(listener.refused(), count);
    }
    let _client = connect(&listener, NODE).await;
    peer.expect_open(1, 9100, b"").await;
}

#[tokio::test]
async fn dropping_it_ends_everything() {
    let (listener, mut peer) = listener(false);
    let (node, epmd) = (connect(&listener, NODE).await, connect(&listener, EPMD).await);
    peer.expect_open(1, 9100, b"").await;
    let addresses = [address(&listener, NODE), address(&listener, EPMD)];
    drop(listener);
    assert_eq!((rest(node).await, rest(epmd).await), (vec![], vec![]));
    for address in addresses {
        while TcpStream::connect(address).await.is_ok() {}
    }
    // No handle of the port-forward connection is left, so it is closed as well.
    assert_eq!(peer.rest().await[..], reset(3)[..]);
}

#[tokio::test]
async fn the_number_of_concurrent_connections_is_limited() {
    let (connection, _peer) = pair();
    let check = || {
        let (sender, receiver) = mpsc::unbounded_channel();
        (move |_: &TcpStream| sender.send(()).is_ok(), receiver)
    };
    let ((epmd_check, mut at_epmd), (node_check, mut at_node)) = (check(), check());
    let listener = Listener::with(route(connection, false), [epmd_check, node_check]).unwrap();
    let mut clients = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        clients.push(connect(&listener, EPMD).await);
        at_epmd.recv().await.unwrap();
    }
    let _waiting = connect(&listener, EPMD).await;
    // It had time to be accepted: a later one was, on the other port.
    let _other = connect(&listener, NODE).await;
    at_node.recv().await.unwrap();
    assert!(at_epmd.try_recv().is_err());
    drop(clients.pop());
    at_epmd.recv().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_failing_accept_is_tried_again_and_ever_more_slowly() {
    let start = tokio::time::Instant::now();
    let mut attempts = 0..20;
    let result = retry(|| {
        let result = attempts.next().map_or(Ok("a connection"), |_| Err(io::Error::other("full")));
        std::future::ready(result)
    });
    assert_eq!(result.await, "a connection");
    // 1, 2, 4 … 512 ms, and then a second each time.
    let paused = start.elapsed();
    assert!((Duration::from_secs(11)..Duration::from_secs(12)).contains(&paused), "{paused:?}");
}
