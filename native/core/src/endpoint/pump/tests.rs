#![allow(clippy::unwrap_used)]

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, duplex, split},
    time::timeout,
};

use super::*;
use crate::streaming::{CloseReason, connection::Connection, frame::Channels};

/// A WebSocket frame from the server, on the channel of the data.
fn data(bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(1 + bytes.len()).unwrap();
    [&[0x82, length, Channels::OUTPUT.data], bytes].concat()
}

/// More than the queue of the stream holds.
const CHUNKS: u8 = 50;

#[tokio::test]
async fn a_slow_local_node_gets_all_that_arrived_before_a_write_failed() {
    let (ours, mut server) = duplex(1 << 20);
    let stream = Connection::single(ours, Channels::OUTPUT, CloseReason::new(), Bytes::new());
    let (local, mut node) = duplex(100);
    let pumping = tokio::spawn(async move {
        let (reader, writer) = split(local);
        pump(reader, writer, stream, Filtering::new(None, true, None, None)).await
    });
    for number in 0..CHUNKS {
        server.write_all(&data(&[number; 100])).await.unwrap();
    }
    drop(server);
    // More than the local connection holds: it is read, though nothing can be sent.
    timeout(Duration::from_secs(30), node.write_all(&[0; 1000])).await.unwrap().unwrap();
    let mut received = vec![];
    timeout(Duration::from_secs(30), node.read_to_end(&mut received)).await.unwrap().unwrap();
    assert!(received == (0..CHUNKS).flat_map(|number| [number; 100]).collect::<Vec<_>>());
    assert!(!pumping.await.unwrap());
}

#[tokio::test]
async fn a_slow_local_node_gets_all_that_arrived_before_the_connection_closed() {
    let (ours, mut server) = duplex(1 << 20);
    let channels = Channels::OUTPUT;
    let stream = Connection::single(ours, channels, CloseReason::new(), Bytes::new());
    let (local, mut node) = duplex(100);
    let pumping = tokio::spawn(async move {
        let (reader, writer) = split(local);
        pump(reader, writer, stream, Filtering::new(None, true, None, None)).await
    });
    for number in 0..10 {
        server.write_all(&data(&[number; 100])).await.unwrap();
    }
    server.write_all(&[0x88, 0]).await.unwrap();
    // The server's side of the connection ends when ours is closed.
    let mut rest = vec![];
    timeout(Duration::from_secs(30), server.read_to_end(&mut rest)).await.unwrap().unwrap();
    node.write_all(b"too late").await.unwrap();
    let mut received = vec![];
    timeout(Duration::from_secs(30), node.read_to_end(&mut received)).await.unwrap().unwrap();
    assert_eq!(received, (0..10).flat_map(|number| [number; 100]).collect::<Vec<_>>());
    assert!(!pumping.await.unwrap());
}
