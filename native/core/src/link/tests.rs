#![allow(clippy::unwrap_used)]

use super::{
    peer::{pair, reset},
    *,
};

#[tokio::test]
async fn a_request_and_its_first_bytes_go_out_together_and_the_answer_comes_back() {
    let (link, mut peer) = pair();
    let mut stream = link.open(4369, Bytes::from_static(b"abc")).await.unwrap();
    peer.expect_open(1, 4369, b"abc").await;
    peer.send(3, false, b"answer").await;
    assert_eq!(stream.read().await, Ok(Some(Bytes::from_static(b"answer"))));
    peer.send(1, true, b"").await;
    peer.send(3, true, b"").await;
    assert_eq!(stream.read().await, Ok(None));
}

#[tokio::test]
async fn the_reason_of_a_refusal_counts_before_and_after_the_end_of_the_data() {
    for reason_first in [true, false] {
        let (link, mut peer) = pair();
        let mut stream = link.open(1, Bytes::new()).await.unwrap();
        if !reason_first {
            peer.send(3, true, b"").await;
        }
        peer.send(1, true, b"in namespace \"x\", IPv4: dial tcp4: refused IPv6 dial tcp6: none")
            .await;
        if reason_first {
            peer.send(3, true, b"").await;
        }
        assert_eq!(stream.read().await, Err(Refused("dial tcp4: refused".into())));
    }
}

#[tokio::test]
async fn a_refused_port_is_the_failure_of_its_stream_only() {
    let (link, mut peer) = pair();
    let mut refused = link.open(1, Bytes::new()).await.unwrap();
    let mut other = link.open(2, Bytes::new()).await.unwrap();
    peer.expect_open(1, 1, b"").await;
    peer.expect_open(5, 2, b"").await;
    peer.send(1, true, b"connection refused").await;
    assert_eq!(refused.read().await, Err(Refused("connection refused".into())));
    peer.send(7, false, b"fine").await;
    assert_eq!(other.read().await, Ok(Some(Bytes::from_static(b"fine"))));
}

#[tokio::test]
async fn half_a_stream_can_end() {
    let (link, mut peer) = pair();
    let mut stream = link.open(1, Bytes::new()).await.unwrap();
    peer.expect_open(1, 1, b"").await;
    assert!(stream.writer().finish().await);
    peer.expect(b"\0\0\0\x03\x01\0\0\0").await;
    peer.send(3, false, b"still").await;
    assert_eq!(stream.read().await, Ok(Some(Bytes::from_static(b"still"))));
}

#[tokio::test]
async fn a_dropped_stream_is_reset_and_its_neighbours_go_on() {
    let (link, mut peer) = pair();
    let dropped = link.open(1, Bytes::new()).await.unwrap();
    let mut other = link.open(2, Bytes::new()).await.unwrap();
    peer.expect_open(1, 1, b"").await;
    peer.expect_open(5, 2, b"").await;
    drop(dropped);
    peer.expect(&reset(3)).await;
    for _ in 0..100 {
        peer.send(3, false, b"late").await;
    }
    peer.send(7, false, b"fine").await;
    assert_eq!(other.read().await, Ok(Some(Bytes::from_static(b"fine"))));
}

#[tokio::test]
async fn the_end_of_the_connection_is_the_end_of_all_streams_with_a_reason() {
    let (link, peer) = pair();
    let mut stream = link.open(1, Bytes::new()).await.unwrap();
    drop(peer);
    assert_eq!(stream.read().await, Ok(None));
    assert_ne!(link.closed().await, "");
    assert!(link.open(1, Bytes::new()).await.is_err());
}

#[tokio::test]
async fn closing_ends_everything() {
    let (link, mut peer) = pair();
    let mut stream = link.open(1, Bytes::new()).await.unwrap();
    link.close();
    assert_eq!(stream.read().await, Ok(None));
    assert_eq!(link.closed().await, "closed");
    peer.rest().await;
}

#[tokio::test]
async fn a_peer_that_speaks_something_else_closes_the_link() {
    let (link, mut peer) = pair();
    peer.end.write_all(b"\x80\x02\0\x01\0\0\0\0").await.unwrap();
    assert!(link.closed().await.contains("does not speak SPDY/3.1"));
}

#[tokio::test]
async fn a_ping_is_answered() {
    let (_link, mut peer) = pair();
    let mut ping = BytesMut::new();
    spdy::put_ping(&mut ping, 2);
    peer.end.write_all(&ping).await.unwrap();
    peer.expect(&ping).await;
}

#[tokio::test(start_paused = true)]
async fn silence_is_asked_and_then_taken_for_death() {
    let (link, mut peer) = pair();
    let mut ping = BytesMut::new();
    spdy::put_ping(&mut ping, 1);
    peer.expect(&ping).await;
    assert!(link.closed().await.contains("no answer to a ping"));
}

#[tokio::test]
async fn dropping_every_handle_closes_the_connection() {
    let (link, mut peer) = pair();
    drop(link);
    assert_eq!(peer.rest().await, b"");
}
