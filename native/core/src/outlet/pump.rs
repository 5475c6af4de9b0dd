//! A local connection and a stream of a link, one carried over the other.

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::hidden::{Filter, Filters};
use crate::link::{PIECE, Stream, Writer};

/// Carries both ways until either side ends. What had come from a side before its end has then
/// been passed on; the distribution has no use for a connection that is half closed.
pub async fn pump(
    mut reader: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
    mut stream: Stream,
    mut filters: Filters,
) {
    tokio::select! {
        () = to_pod(&mut reader, stream.writer(), &mut filters.to_pod) => {}
        () = from_pod(&mut writer, &mut stream, &mut filters.from_pod) => {}
    }
}

async fn to_pod(reader: &mut (impl AsyncRead + Unpin), stream: Writer, filter: &mut Filter) {
    let mut buffer = BytesMut::with_capacity(PIECE);
    while let Ok(1..) = reader.read_buf(&mut buffer).await {
        if !stream.write(filter.pass(buffer.split().freeze())).await {
            return;
        }
        buffer.reserve(PIECE);
    }
}

async fn from_pod(
    writer: &mut (impl AsyncWrite + Unpin),
    stream: &mut Stream,
    filter: &mut Filter,
) {
    while let Ok(Some(bytes)) = stream.read().await {
        if writer.write_all(&filter.pass(bytes)).await.is_err() {
            return;
        }
    }
}
