#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    peer::{collect, pair, reset},
    *,
};
use crate::streaming::{CHUNK_SIZE, Refused, frame, spdy};

#[tokio::test]
async fn a_request_and_its_first_bytes_go_out_together_and_the_answer_comes_back() {
    let (connection, mut peer) = pair();
    let mut stream = connection.open(4369, Bytes::from_static(b"abc")).await.unwrap();
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
        let (connection, mut peer) = pair();
        let mut stream = connection.open(1, Bytes::new()).await.unwrap();
        if !reason_first {
            peer.send(3, true, b"").await;
        }
        peer.send(1, true, b"in namespace \"x\", IPv4: dial tcp4: refused IPv6 dial tcp6: none")
            .await;
        if reason_first {
            peer.send(3, true, b"").await;
        }
        assert_eq!(stream.read().await, Err(Refused::Runtime("dial tcp4: refused".into())));
    }
}

#[tokio::test]
async fn a_refused_port_is_the_failure_of_its_stream_only() {
    let (connection, mut peer) = pair();
    let mut refused = connection.open(1, Bytes::new()).await.unwrap();
    let mut other = connection.open(2, Bytes::new()).await.unwrap();
    peer.expect_open(1, 1, b"").await;
    peer.expect_open(5, 2, b"").await;
    peer.send(1, true, b"connection refused").await;
    assert_eq!(refused.read().await, Err(Refused::Runtime("connection refused".into())));
    peer.send(7, false, b"fine").await;
    assert_eq!(other.read().await, Ok(Some(Bytes::from_static(b"fine"))));
}

#[tokio::test]
async fn half_a_stream_can_end() {
    let (connection, mut peer) = pair();
    let mut stream = connection.open(1, Bytes::new()).await.unwrap();
    peer.expect_open(1, 1, b"").await;
    assert!(stream.writer().finish().await);
    peer.expect(b"\0\0\0\x03\x01\0\0\0").await;
    peer.send(3, false, b"still").await;
    assert_eq!(stream.read().await, Ok(Some(Bytes::from_static(b"still"))));
}

#[tokio::test]
async fn a_dropped_stream_is_reset_and_its_neighbours_go_on() {
    let (connection, mut peer) = pair();
    let dropped = connection.open(1, Bytes::new()).await.unwrap();
    let mut other = connection.open(2, Bytes::new()).await.unwrap();
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
    let (connection, peer) = pair();
    let mut stream = connection.open(1, Bytes::new()).await.unwrap();
    drop(peer);
    assert_eq!(stream.read().await, Ok(None));
    assert_ne!(connection.closed().await, "");
    assert!(connection.open(1, Bytes::new()).await.is_err());
}

#[tokio::test]
async fn closing_ends_everything() {
    let (connection, mut peer) = pair();
    let mut stream = connection.open(1, Bytes::new()).await.unwrap();
    connection.close();
    assert_eq!(stream.read().await, Ok(None));
    assert_eq!(connection.closed().await, "closed");
    peer.rest().await;
}

#[tokio::test]
async fn a_peer_that_speaks_another_protocol_closes_the_connection() {
    let (connection, mut peer) = pair();
    peer.end.write_all(b"\x80\x02\0\x01\0\0\0\0").await.unwrap();
    assert!(connection.closed().await.contains("does not speak SPDY/3.1"));
}

#[tokio::test]
async fn a_ping_is_answered() {
    let (_connection, mut peer) = pair();
    let mut ping = BytesMut::new();
    spdy::put_ping(&mut ping, 2);
    peer.end.write_all(&ping).await.unwrap();
    peer.expect(&ping).await;
}

#[tokio::test(start_paused = true)]
async fn two_pings_without_an_answer_end_the_connection() {
    let (connection, mut peer) = pair();
    let start = tokio::time::Instant::now();
    for id in [1, 3] {
        let mut ping = BytesMut::new();
        spdy::put_ping(&mut ping, id);
        peer.expect(&ping).await;
    }
    assert_eq!(connection.closed().await, "no answer to 2 pings for 18 s");
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_ends_the_connection() {
    // The duplex holds 1 MiB.
    let (connection, _peer) = pair();
    let stream = connection.open(1, Bytes::new()).await.unwrap();
    let start = tokio::time::Instant::now();
    let writer = stream.writer();
    while writer.write(Bytes::from(vec![0; CHUNK_SIZE])).await {}
    assert_eq!(connection.closed().await, "timed out after 40 s sending data");
    assert!(start.elapsed() <= Duration::from_secs(41));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_read_is_reset_for_its_neighbours() {
    let (connection, mut peer) = pair();
    let mut slow = connection.open(1, Bytes::new()).await.unwrap();
    let mut other = connection.open(2, Bytes::new()).await.unwrap();
    peer.expect_open(1, 1, b"").await;
    peer.expect_open(5, 2, b"").await;
    for _ in 0..20 {
        peer.send(3, false, b"data").await;
    }
    peer.send(7, false, b"fine").await;
    let start = tokio::time::Instant::now();
    assert_eq!(other.read().await, Ok(Some(Bytes::from_static(b"fine"))));
    assert!(start.elapsed() < Duration::from_secs(6));
    peer.expect(&reset(3)).await;
    // What was in the queue is not lost.
    let mut pieces = 0;
    while slow.read().await.unwrap().is_some() {
        pieces += 1;
    }
    assert_eq!(pieces, 16);
}

#[tokio::test(start_paused = true)]
async fn the_only_stream_may_be_read_late() {
    let (connection, mut peer) = pair();
    let mut slow = connection.open(1, Bytes::new()).await.unwrap();
    peer.expect_open(1, 1, b"").await;
    for _ in 0..20 {
        peer.send(3, false, b"data").await;
    }
    tokio::time::sleep(Duration::from_hours(1)).await;
    for _ in 0..20 {
        assert_eq!(slow.read().await, Ok(Some(Bytes::from_static(b"data"))));
    }
}

#[tokio::test]
async fn pings_whose_answers_are_not_taken_end_the_connection() {
    let (ours, mut end) = tokio::io::duplex(1);
    let connection = PortForward::spdy(ours, Form::Spdy);
    let mut ping = BytesMut::new();
    spdy::put_ping(&mut ping, 2);
    let mut closed = std::pin::pin!(connection.closed());
    for _ in 0..1000 {
        tokio::select! {
            reason = &mut closed => {
                assert!(reason.contains("takes no answers"), "{reason}");
                return;
            }
            _ = end.write_all(&ping) => {}
        }
    }
    panic!("there is no limit for pings");
}

#[tokio::test]
async fn after_goaway_the_open_streams_go_on_and_no_other_is_opened() {
    let (connection, mut peer) = pair();
    let mut stream = connection.open(1, Bytes::new()).await.unwrap();
    peer.expect_open(1, 1, b"").await;
    peer.end.write_all(b"\x80\x03\0\x07\0\0\0\x08\0\0\0\x01\0\0\0\0").await.unwrap();
    peer.send(3, false, b"still").await;
    assert_eq!(stream.read().await, Ok(Some(Bytes::from_static(b"still"))));
    assert!(connection.open(2, Bytes::new()).await.is_err());
    peer.send(1, true, b"").await;
    peer.send(3, true, b"").await;
    assert_eq!(stream.read().await, Ok(None));
    assert_eq!(connection.closed().await, "the API server is closing the connection");
}

#[tokio::test]
async fn dropping_every_handle_closes_the_connection() {
    let (connection, mut peer) = pair();
    drop(connection);
    assert_eq!(peer.rest().await, b"");
}

/// A frame as a server sends it; of less than 126 bytes.
fn message(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, u8::try_from(payload.len()).unwrap()], payload].concat()
}

/// Reads one of our frames, and unmasks it.
async fn sent(end: &mut (impl AsyncRead + Unpin)) -> (u8, Vec<u8>) {
    let mut head = [0; 2];
    end.read_exact(&mut head).await.unwrap();
    let length = match head[1] & 0x7f {
        126 => end.read_u16().await.unwrap().into(),
        127 => usize::try_from(end.read_u64().await.unwrap()).unwrap(),
        length => length.into(),
    };
    let mut key = [0; 4];
    end.read_exact(&mut key).await.unwrap();
    let mut payload = vec![0; length];
    end.read_exact(&mut payload).await.unwrap();
    for (byte, key) in payload.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
    (head[0], payload)
}

/// The bytes of raw SPDY.
fn spdy_open(port: u16, first: &'static [u8]) -> Vec<u8> {
    let mut encoder = frame::Encoder::new(Form::Spdy);
    let first = Bytes::from_static(first);
    encoder.command(frame::Command::Open {
        error: 1,
        data: 3,
        purpose: Purpose::Port(port),
        first,
    });
    collect(encoder.chunks())
}

#[tokio::test]
async fn in_a_tunnel_the_frames_are_those_of_spdy() {
    let (ours, mut end) = tokio::io::duplex(1 << 20);
    let connection = PortForward::spdy(ours, Form::Tunnel);
    let mut stream = connection.open(4369, Bytes::from_static(b"abc")).await.unwrap();
    assert_eq!(sent(&mut end).await, (0x82, spdy_open(4369, b"abc")));
    // The answer, cut in the middle of SPDY's header, with a ping in between.
    end.write_all(&message(0x02, b"\0\0\0\x03\0")).await.unwrap();
    end.write_all(&message(0x89, b"?")).await.unwrap();
    end.write_all(&message(0x80, b"\0\0\x06answer")).await.unwrap();
    assert_eq!(stream.read().await, Ok(Some(Bytes::from_static(b"answer"))));
    assert_eq!(sent(&mut end).await, (0x8a, b"?".to_vec()));
    end.write_all(&message(0x88, b"\x03\xe9going away")).await.unwrap();
    assert_eq!(stream.read().await, Ok(None));
    assert_eq!(connection.closed().await, "the API server closed the connection: 1001 going away");
}

#[tokio::test(start_paused = true)]
async fn in_a_tunnel_the_keepalive_is_a_ping_of_spdy_as_a_proxy_would_answer_one_of_the_web_socket()
{
    let (ours, mut end) = tokio::io::duplex(1 << 20);
    let connection = PortForward::spdy(ours, Form::Tunnel);
    let mut ping = BytesMut::new();
    spdy::put_ping(&mut ping, 1);
    assert_eq!(sent(&mut end).await, (0x82, ping.to_vec()));
    assert!(connection.closed().await.contains("no answer to 2 pings"));
}

/// A stream in channels, its close reason, and the server's end of its connection.
fn channels(channels: frame::Channels) -> (Stream, CloseReason, tokio::io::DuplexStream) {
    let (ours, end) = tokio::io::duplex(1 << 20);
    let close_reason = CloseReason::new();
    let first = Bytes::from_static(b"first");
    let stream = Connection::single(ours, channels, close_reason.clone(), first);
    (stream, close_reason, end)
}

#[tokio::test]
async fn in_channels_the_data_comes_after_the_port_and_ends_with_the_connection() {
    let (mut stream, close_reason, mut end) = channels(frame::Channels::FORWARD);
    assert_eq!(sent(&mut end).await, (0x82, b"\0first".to_vec()));
    assert!(stream.writer().write(Bytes::from_static(b"more")).await);
    assert_eq!(sent(&mut end).await, (0x82, b"\0more".to_vec()));
    for bytes in [&b"\0\x11"[..], b"\x01\x11\x11", b"\0\x11an", b"\0", b"\0swer"] {
        end.write_all(&message(0x82, bytes)).await.unwrap();
    }
    assert_eq!(stream.read().await, Ok(Some(Bytes::from_static(b"an"))));
    assert_eq!(stream.read().await, Ok(Some(Bytes::from_static(b"swer"))));
    end.write_all(&message(0x88, b"")).await.unwrap();
    assert_eq!(stream.read().await, Ok(None));
    assert_eq!(close_reason.get(), None, "the pod has ended one connection, which is no failure");
}

#[tokio::test]
async fn in_channels_a_refusal_has_its_reason() {
    let (mut stream, close_reason, mut end) = channels(frame::Channels::FORWARD);
    for bytes in [&b"\0\x11\x11"[..], b"\x01\x11\x11", b"\x01connection refused"] {
        end.write_all(&message(0x82, bytes)).await.unwrap();
    }
    end.write_all(&message(0x88, b"")).await.unwrap();
    assert_eq!(stream.read().await, Err(Refused::Runtime("connection refused".into())));
    assert_eq!(close_reason.get(), None);
}

/// Whichever of the two tasks runs first, and ends the connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_channels_a_refusal_that_came_with_the_upgrade_has_its_reason() {
    for _ in 0..200 {
        let (ours, mut end) = tokio::io::duplex(1 << 20);
        for bytes in [&b"\0\x11\x11"[..], b"\x01\x11\x11", b"\x01connection refused"] {
            end.write_all(&message(0x82, bytes)).await.unwrap();
        }
        end.write_all(&message(0x88, b"")).await.unwrap();
        let (first, close_reason) = (Bytes::from_static(b"first"), CloseReason::new());
        let mut stream =
            Connection::single(ours, frame::Channels::FORWARD, close_reason.clone(), first);
        assert_eq!(stream.read().await, Err(Refused::Runtime("connection refused".into())));
        assert_eq!(close_reason.get(), None);
    }
}

#[tokio::test]
async fn in_channels_a_dropped_stream_is_a_closed_connection() {
    let (stream, close_reason, mut end) = channels(frame::Channels::FORWARD);
    assert!(stream.writer().write(Bytes::from_static(b"last")).await);
    drop(stream);
    assert_eq!(sent(&mut end).await.1, b"\0first");
    assert_eq!(sent(&mut end).await.1, b"\0last");
    assert_eq!(sent(&mut end).await, (0x88, b"\x03\xe8".to_vec()));
    assert_eq!(end.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(close_reason.get(), None);
}

#[tokio::test]
async fn in_channels_a_connection_that_breaks_closes_all() {
    let (mut stream, close_reason, end) = channels(frame::Channels::FORWARD);
    drop(end);
    assert_eq!(stream.read().await, Ok(None));
    assert!(close_reason.get().is_some());
}

#[tokio::test]
async fn in_channels_closing_all_closes_the_connection() {
    let (mut stream, close_reason, mut end) = channels(frame::Channels::FORWARD);
    close_reason.set("closed".into());
    assert_eq!(stream.read().await, Ok(None));
    end.read_to_end(&mut Vec::new()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn in_channels_there_is_a_keepalive_too() {
    let (_stream, close_reason, mut end) = channels(frame::Channels::FORWARD);
    assert_eq!(sent(&mut end).await.0, 0x82);
    assert_eq!(sent(&mut end).await, (0x89, 1_u32.to_be_bytes().to_vec()));
    end.write_all(&message(0x8a, b"\0\0\0\x01")).await.unwrap();
    assert_eq!(sent(&mut end).await.0, 0x89);
    assert!(close_reason.wait().await.contains("no answer to 2 pings"));
}

#[tokio::test]
async fn in_channels_of_a_command_its_output_and_its_status() {
    let (mut stream, _close_reason, mut end) = channels(frame::Channels::OUTPUT);
    for bytes in [&b"\x01"[..], b"\x03", b"\x01out", b"\x02err", b"\x03{}"] {
        end.write_all(&message(0x82, bytes)).await.unwrap();
    }
    assert_eq!(stream.read().await, Ok(Some(Bytes::from_static(b"out"))));
    assert_eq!(stream.read().await, Err(Refused::Runtime("{}".into())));
}
