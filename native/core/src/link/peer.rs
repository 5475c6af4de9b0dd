//! The API server's end of a link, for tests.
#![allow(clippy::unwrap_used)]

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::{
    wire::{Encoder, Form, Order, What},
    *,
};

pub struct Peer {
    pub end: DuplexStream,
    encoder: Encoder,
}

pub fn pair() -> (Link, Peer) {
    let (ours, end) = tokio::io::duplex(1 << 20);
    (Link::spdy(ours, Form::Spdy), Peer { end, encoder: Encoder::new(Form::Spdy) })
}

impl Peer {
    /// Reads what a link writes when it opens a connection, and checks it byte by byte.
    pub async fn expect_open(&mut self, error: u32, port: u16, first: &[u8]) {
        let (data, first) = (error + 2, Bytes::copy_from_slice(first));
        self.expect_order(Order::Open { error, data, what: What::Port(port), first }).await;
    }

    /// Reads what a link writes when it sends these bytes in one piece.
    pub async fn expect_data(&mut self, stream: u32, bytes: &[u8]) {
        let bytes = Bytes::copy_from_slice(bytes);
        self.expect_order(Order::Data { stream, bytes, fin: false }).await;
    }

    async fn expect_order(&mut self, order: Order) {
        self.encoder.order(order);
        let expected = self.encoder.bytes().to_vec();
        self.encoder.clear();
        self.expect(&expected).await;
    }

    pub async fn expect(&mut self, expected: &[u8]) {
        let mut got = vec![0; expected.len()];
        self.end.read_exact(&mut got).await.unwrap();
        assert_eq!(got, expected);
    }

    /// All that a link writes until it is closed.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.end.read_to_end(&mut rest).await.unwrap();
        rest
    }

    pub async fn send(&mut self, stream: u32, fin: bool, bytes: &[u8]) {
        let mut out = BytesMut::new();
        spdy::put_data_header(&mut out, stream, fin, bytes.len());
        out.extend_from_slice(bytes);
        self.end.write_all(&out).await.unwrap();
    }
}

/// What a link writes when a stream of its is dropped.
pub fn reset(stream: u32) -> BytesMut {
    let mut out = BytesMut::new();
    spdy::put_reset(&mut out, stream);
    out
}
