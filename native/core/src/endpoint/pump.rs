//! Copies between a local connection and a stream.

use std::{future::pending, sync::Arc};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::Notify,
};

use super::{
    audit::{AuditLog, ConnectionLog, NotWritten},
    guard::{self, Entry},
    handshake::{Flags, Handshake, cookies::Cookies},
};
use crate::streaming::{Chunks, ReadBuffer, Refused, Stream, StreamWriter};

/// What goes to the local node in one write, if more has arrived: bytes, and chunks.
const BATCH: (usize, usize) = (256 * 1024, 64);

/// What happens to the bytes of a connection.
#[derive(Debug)]
pub struct Filtering(Kind);

#[derive(Debug)]
enum Kind {
    /// The pod is trusted. The handshakes to and from the pod change, if there are any.
    Trusted([Option<Handshake>; 2]),
    /// The pod is not.
    Guarded(Box<guard::Connection>, Option<ConnectionLog>),
}

/// What the connections of a session share that does not trust the pod.
#[derive(Debug, Clone)]
pub struct Guarding {
    /// The session.
    pub session: Arc<guard::Session>,
    /// Its audit log, if it has one.
    pub audit: Option<AuditLog>,
}

impl Filtering {
    /// For a new connection: of this session, or to a pod that is trusted. See [`guard::Connection::new`].
    #[must_use]
    pub fn new(
        guarding: Option<&Guarding>,
        visible: bool,
        printer: Option<&'static str>,
        cookies: Option<&Cookies>,
    ) -> Self {
        match guarding {
            Some(Guarding { session, audit }) => {
                let connection = guard::Connection::new(session.clone(), visible, printer);
                let connection = connection.with_cookies(cookies);
                Self(Kind::Guarded(Box::new(connection), audit.as_ref().map(AuditLog::connection)))
            }
            // It need not be distribution.
            None if visible && cookies.is_none() => Self(Kind::Trusted([None, None])),
            None => {
                let flags = if visible { Flags::All } else { Flags::Hidden };
                let exchange = cookies.map(Cookies::exchange);
                let both = [Handshake::to_pod(flags), Handshake::from_pod(flags)];
                Self(Kind::Trusted(both.map(|it| Some(it.with_cookies(exchange.clone())))))
            }
        }
    }
}

/// Copies in both directions until either side ends. What arrived from that side before is passed on. The
/// distribution protocol does not use half-closed connections.
///
/// Returns whether the port of the pod refused the connection.
pub async fn pump(
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin,
    stream: Stream,
    filtering: Filtering,
) -> bool {
    match filtering.0 {
        Kind::Trusted(handshakes) => trusted(reader, writer, stream, handshakes).await,
        Kind::Guarded(connection, log) => {
            guarded(reader, writer, stream, connection, log.as_ref()).await
        }
    }
}

async fn trusted(
    mut reader: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
    mut stream: Stream,
    [mut shaking_to, mut shaking_from]: [Option<Handshake>; 2],
) -> bool {
    tokio::select! {
        () = to_pod(&mut reader, stream.writer(), &mut shaking_to) => false,
        refused = from_pod(&mut writer, &mut stream, &mut shaking_from) => refused,
    }
}

async fn to_pod(
    reader: &mut (impl AsyncRead + Unpin),
    stream: StreamWriter,
    handshake: &mut Option<Handshake>,
) {
    let mut buffer = ReadBuffer::default();
    while let Some(bytes) = read(&mut buffer, reader, &stream).await {
        let Some(output) = shake(handshake, bytes) else { return };
        for bytes in output.into_iter().filter(|bytes| !bytes.is_empty()) {
            if !stream.write(bytes).await {
                return discard(&mut buffer, reader).await;
            }
        }
    }
}

/// Reads from the local node when the stream can take more; `None` at its end. See [`discard`].
async fn read(
    buffer: &mut ReadBuffer,
    reader: &mut (impl AsyncRead + Unpin),
    stream: &StreamWriter,
) -> Option<Bytes> {
    if !stream.ready().await {
        return discard(buffer, reader).await;
    }
    let Ok(1..) = buffer.read(reader).await else { return None };
    Some(buffer.take())
}

/// Reads and discards what the local node sends after the stream has closed. Never returns: the other direction ends the
/// connection when it has delivered everything. Otherwise a node that is blocked in a write would not read, and closing a
/// socket with unread data would reset it.
async fn discard<T>(buffer: &mut ReadBuffer, reader: &mut (impl AsyncRead + Unpin)) -> T {
    while let Ok(1..) = buffer.read(reader).await {
        buffer.bytes.clear();
    }
    pending().await
}

/// The messages of the handshake, and what comes after them. `None` for what is no handshake.
fn shake(handshake: &mut Option<Handshake>, input: Bytes) -> Option<[Bytes; 2]> {
    let (changed, rest) = match handshake {
        Some(messages) => messages.pass(&input)?,
        None => (Bytes::new(), Some(input)),
    };
    if rest.is_some() {
        *handshake = None;
    }
    Some([changed, rest.unwrap_or_default()])
}

async fn from_pod(
    writer: &mut (impl AsyncWrite + Unpin),
    stream: &mut Stream,
    handshake: &mut Option<Handshake>,
) -> bool {
    let mut output: Vec<Bytes> = Vec::new();
    loop {
        match stream.read().await {
            Ok(Some(bytes)) => {
                let passed = arrived(bytes, stream)
                    .try_for_each(|bytes| shake(handshake, bytes).map(|it| output.extend(it)));
                let written = writer.write_all_buf(&mut Chunks::new(&mut output)).await;
                if passed.is_none() || written.is_err() {
                    return false;
                }
                output.clear();
            }
            Ok(None) => return false,
            Err(refused) => return matches!(refused, Refused::Runtime(_)),
        }
    }
}

/// These bytes, and what has arrived after them.
fn arrived(first: Bytes, stream: &mut Stream) -> impl Iterator<Item = Bytes> {
    let (mut first, mut left) = (Some(first), BATCH.0);
    let next = move || {
        let bytes = first.take().or_else(|| if left > 0 { stream.try_read() } else { None })?;
        left = left.saturating_sub(bytes.len());
        Some(bytes)
    };
    std::iter::from_fn(next).take(BATCH.1)
}

async fn guarded(
    mut reader: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
    mut stream: Stream,
    mut connection: Box<guard::Connection>,
    log: Option<&ConnectionLog>,
) -> bool {
    let guard::Connection { to_pod, from_pod } = &mut *connection;
    let waiting = Waiting::default();
    if record(log, &[Entry::Connected]).await.is_err() {
        return false;
    }
    tokio::select! {
        () = guarded_to_pod(&mut reader, stream.writer(), to_pod, &waiting, log) => false,
        refused = guarded_from_pod(&mut writer, &mut stream, from_pod, &waiting, log) => refused,
    }
}

/// Returns when the entries are in the audit log, if there is one.
async fn record(log: Option<&ConnectionLog>, entries: &[Entry]) -> Result<(), NotWritten> {
    match log {
        Some(log) => log.append(entries).await,
        None => Ok(()),
    }
}

/// What one direction has for the other.
#[derive(Default)]
struct Waiting {
    /// To the pod.
    answers: Notify,
    /// To the local node.
    replies: Notify,
}

/// Answers to the pod are sent here, because nothing may come into the middle of a message.
async fn guarded_to_pod(
    reader: &mut (impl AsyncRead + Unpin),
    stream: StreamWriter,
    guard: &mut guard::ToPod,
    waiting: &Waiting,
    log: Option<&ConnectionLog>,
) {
    let mut buffer = ReadBuffer::default();
    let mut output: Vec<Bytes> = Vec::new();
    loop {
        tokio::select! {
            bytes = read(&mut buffer, reader, &stream) => {
                let Some(bytes) = bytes else { return };
                match guard.pass(bytes, &mut output) {
                    Ok(true) => waiting.replies.notify_one(),
                    Ok(false) => {}
                    Err(guard::Closed) => return,
                }
            }
            () = waiting.answers.notified() => output.extend(guard.answers()),
        }
        if record(log, &guard.entries()).await.is_err() {
            return;
        }
        for bytes in output.drain(..) {
            if !stream.write(bytes).await {
                return discard(&mut buffer, reader).await;
            }
        }
    }
}

async fn guarded_from_pod(
    writer: &mut (impl AsyncWrite + Unpin),
    stream: &mut Stream,
    guard: &mut guard::FromPod,
    waiting: &Waiting,
    log: Option<&ConnectionLog>,
) -> bool {
    let mut output: Vec<Bytes> = Vec::new();
    loop {
        let passed = tokio::select! {
            read = stream.read() => match read {
                Ok(Some(bytes)) => arrived(bytes, stream)
                    .try_fold(false, |any, bytes| Ok(guard.pass(bytes, &mut output)? || any)),
                Ok(None) => return false,
                Err(refused) => return matches!(refused, Refused::Runtime(_)),
            },
            () = waiting.replies.notified() => Ok(false),
        };
        let replies = guard.replies();
        // The local node must not get the answer to a refused call before the call is in the log.
        if let (false, Some(log)) = (replies.is_empty(), log)
            && log.written().await.is_err()
        {
            return false;
        }
        output.extend(replies);
        if record(log, &guard.entries()).await.is_err() {
            return false;
        }
        if writer.write_all_buf(&mut Chunks::new(&mut output)).await.is_err() {
            return false;
        }
        output.clear();
        output.shrink_to(BATCH.1);
        match passed {
            Ok(true) => waiting.answers.notify_one(),
            Ok(false) => {}
            Err(guard::Closed) => return false,
        }
    }
}

#[cfg(test)]
mod tests;
