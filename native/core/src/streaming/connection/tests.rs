#![allow(clippy::unwrap_used)]

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf},
    time::{sleep, sleep_until, timeout},
};

use super::{super::suspend::clock::Clock, *};
use crate::streaming::spdy;

/// A connection on a machine with this clock, and the API server's end of it.
fn connect(clock: &Clock) -> (Connection, DuplexStream) {
    let (ours, end) = tokio::io::duplex(1 << 20);
    let suspensions = clock.monitor().subscribe();
    let shared = Shared::new(Form::Spdy);
    (Connection::start(ours, shared, CloseReason::new(), suspensions), end)
}

fn ping(id: u32) -> BytesMut {
    let mut out = BytesMut::new();
    spdy::put_ping(&mut out, id);
    out
}

/// Waits for this ping, and returns the seconds since `start`.
async fn seconds_to_ping(end: &mut DuplexStream, id: u32, start: Instant) -> u64 {
    let expected = ping(id);
    let mut received = vec![0; expected.len()];
    end.read_exact(&mut received).await.unwrap();
    assert_eq!(received, expected);
    start.elapsed().as_secs()
}

#[tokio::test(start_paused = true)]
async fn without_a_suspension_there_is_no_ping_but_the_keepalive() {
    let clock = Clock::default();
    let (_connection, mut end) = connect(&clock);
    let start = Instant::now();
    sleep_until(start + Duration::from_secs(3)).await;
    clock.suspend(5);
    assert_eq!(seconds_to_ping(&mut end, 1, start).await, 6);
}

#[tokio::test(start_paused = true)]
async fn after_a_suspension_a_connection_that_answers_a_ping_stays() {
    let clock = Clock::default();
    let (connection, mut end) = connect(&clock);
    let start = Instant::now();
    sleep_until(start + Duration::from_millis(2500)).await;
    clock.suspend(6);
    assert_eq!(seconds_to_ping(&mut end, 1, start).await, 3);
    sleep(Duration::from_millis(1500)).await;
    end.write_all(&ping(1)).await.unwrap();
    // The keepalive goes on, 6 s after the answer.
    assert_eq!(seconds_to_ping(&mut end, 3, start).await, 10);
    assert_eq!(connection.close_reason.get(), None);
}

#[tokio::test(start_paused = true)]
async fn after_a_suspension_a_connection_without_an_answer_is_closed_after_2_s() {
    let clock = Clock::default();
    let (connection, mut end) = connect(&clock);
    let mut stream = connection.open(Purpose::Port(1), Bytes::new()).await.unwrap();
    let opened = end.read_buf(&mut BytesMut::with_capacity(1 << 10)).await.unwrap();
    assert_ne!(opened, 0);
    let start = Instant::now();
    sleep_until(start + Duration::from_millis(2500)).await;
    clock.suspend(6);
    assert_eq!(seconds_to_ping(&mut end, 1, start).await, 3);
    assert_eq!(stream.read().await, Ok(None));
    assert_eq!(start.elapsed().as_secs(), 5);
    let reason = connection.close_reason.get().unwrap();
    assert_eq!(reason, "no answer to a ping for 2 s after the machine was suspended");
}

#[tokio::test(start_paused = true)]
async fn a_suspension_while_a_ping_is_unanswered_is_not_the_end() {
    let clock = Clock::default();
    let (connection, mut end) = connect(&clock);
    let start = Instant::now();
    for (id, seconds) in [(1, 6), (3, 12)] {
        assert_eq!(seconds_to_ping(&mut end, id, start).await, seconds);
    }
    sleep_until(start + Duration::from_millis(16_500)).await;
    clock.suspend(6);
    assert_eq!(seconds_to_ping(&mut end, 5, start).await, 17);
    // Two keepalives without an answer would have closed it after 18 s.
    sleep_until(start + Duration::from_millis(18_500)).await;
    end.write_all(&ping(5)).await.unwrap();
    assert_eq!(seconds_to_ping(&mut end, 7, start).await, 24);
    assert_eq!(connection.close_reason.get(), None);
}

/// A connection whose reading side fails with an error of this kind.
struct Failing(io::ErrorKind);

impl AsyncRead for Failing {
    fn poll_read(
        self: Pin<&mut Self>,
        _context: &mut Context,
        _into: &mut ReadBuf,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::Error::new(self.0, "the text of the library")))
    }
}

impl AsyncWrite for Failing {
    fn poll_write(
        self: Pin<&mut Self>,
        _context: &mut Context,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn an_end_without_close_notify_is_the_ordinary_end_and_another_error_is_the_reason() {
    for (kind, expected) in [
        (io::ErrorKind::UnexpectedEof, "the API server closed the connection"),
        (io::ErrorKind::ConnectionReset, "the connection broke: the text of the library"),
    ] {
        let close_reason = CloseReason::new();
        let _connection = Connection::new(Failing(kind), Form::Spdy, close_reason.clone());
        let reason = timeout(Duration::from_secs(10), close_reason.wait()).await.unwrap();
        assert_eq!(reason, expected);
    }
}
