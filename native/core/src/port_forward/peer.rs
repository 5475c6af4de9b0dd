//! The API server's end of a port-forward connection, for tests.
#![allow(clippy::unwrap_used)]

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::PortForward;
use crate::streaming::{
    Chunks,
    frame::{Command, Encoder, Form, Purpose},
    spdy,
};

pub struct Peer {
    pub end: DuplexStream,
    encoder: Encoder,
}

pub fn pair() -> (PortForward, Peer) {
    let (ours, end) = tokio::io::duplex(1 << 20);
    (PortForward::spdy(ours, Form::Spdy), Peer { end, encoder: Encoder::new(Form::Spdy) })
}

impl Peer {
    /// Reads the bytes that open a stream, and checks them.
    pub async fn expect_open(&mut self, error: u32, port: u16, first: &[u8]) {
        let (data, first) = (error + 2, Bytes::copy_from_slice(first));
        self.expect_command(Command::Open { error, data, purpose: Purpose::Port(port), first })
            .await;
    }

    /// Reads the bytes that send this data in one frame.
    pub async fn expect_data(&mut self, stream: u32, bytes: &[u8]) {
        let bytes = Bytes::copy_from_slice(bytes);
        self.expect_command(Command::Data { stream, bytes, fin: false }).await;
    }

    async fn expect_command(&mut self, command: Command) {
        self.encoder.command(command);
        let expected = collect(self.encoder.chunks());
        self.encoder.clear();
        self.expect(&expected).await;
    }

    pub async fn expect(&mut self, expected: &[u8]) {
        let mut received = vec![0; expected.len()];
        self.end.read_exact(&mut received).await.unwrap();
        assert_eq!(received, expected);
    }

    /// Everything that is written until the connection is closed.
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

/// The bytes that a dropped stream writes.
pub fn reset(stream: u32) -> BytesMut {
    let mut out = BytesMut::new();
    spdy::put_reset(&mut out, stream);
    out
}

/// What a write of these chunks sends.
pub fn collect(mut chunks: Chunks<'_>) -> Vec<u8> {
    chunks.copy_to_bytes(chunks.remaining()).to_vec()
}
