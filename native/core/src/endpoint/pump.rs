//! Copies between a local connection and a stream.

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::hidden::{Filter, Filters};
use crate::streaming::{CHUNK_SIZE, Refused, Stream, StreamWriter};

/// Copies in both directions until either side ends. What arrived from that side before is passed on. The
/// distribution protocol does not use half-closed connections.
///
/// Returns whether the port of the pod refused the connection.
pub async fn pump(
    mut reader: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
    mut stream: Stream,
    mut filters: Filters,
) -> bool {
    tokio::select! {
        () = to_pod(&mut reader, stream.writer(), &mut filters.to_pod) => false,
        refused = from_pod(&mut writer, &mut stream, &mut filters.from_pod) => refused,
    }
}

async fn to_pod(reader: &mut (impl AsyncRead + Unpin), stream: StreamWriter, filter: &mut Filter) {
    let mut buffer = BytesMut::with_capacity(CHUNK_SIZE);
    while let Ok(1..) = reader.read_buf(&mut buffer).await {
        if !stream.write(filter.pass(buffer.split().freeze())).await {
            return;
        }
        buffer.reserve(CHUNK_SIZE);
    }
}

async fn from_pod(
    writer: &mut (impl AsyncWrite + Unpin),
    stream: &mut Stream,
    filter: &mut Filter,
) -> bool {
    loop {
        match stream.read().await {
            Ok(Some(bytes)) => {
                if writer.write_all(&filter.pass(bytes)).await.is_err() {
                    return false;
                }
            }
            Ok(None) => return false,
            Err(refused) => return matches!(refused, Refused::Runtime(_)),
        }
    }
}
