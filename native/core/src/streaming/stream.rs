//! A pair of streams to the pod: for a port-forward a TCP connection there, for exec the output of a
//! command.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use thiserror::Error;
use tokio::{sync::mpsc, time::Instant};

use super::{
    frame::{Command, ControlFrame},
    registry::{Event, Pair, Registry},
};
use crate::text::printable;

/// The runtime ends both streams together. This is for a runtime that ends only the data.
const ERROR_TIMEOUT: Duration = Duration::from_secs(1);
/// Of the reason of a refusal.
const MAX_REASON: usize = 1000;

/// Why a stream cannot be used. The connection to the API server is not affected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refused {
    /// The pod refused the connection, or broke it, in the words of the container runtime.
    #[error("{0}")]
    Runtime(String),
    /// The TLS handshake failed.
    #[error("{0}")]
    Tls(String),
}

/// What a stream needs of its connection.
pub(super) struct Handle {
    pub registry: Arc<Registry>,
    pub commands: mpsc::Sender<Command>,
    pub controls: mpsc::UnboundedSender<ControlFrame>,
}

/// A connection to a port of the pod, or the output of a command. Dropping it ends it at once.
pub struct Stream {
    commands: mpsc::Sender<Command>,
    incoming: mpsc::Receiver<Event>,
    /// The next event, if [`Self::try_read`] has seen it.
    seen: Option<Event>,
    /// Until when the reason of a refusal may follow the end of the data.
    end_by: Option<Instant>,
    error_ended: bool,
    pair: Pair,
    /// `None` with TLS: the task that encrypts owns the encrypted stream.
    _registered: Option<Registered>,
}

/// Ends the stream when it is dropped.
struct Registered {
    registry: Arc<Registry>,
    controls: mpsc::UnboundedSender<ControlFrame>,
    pair: Pair,
}

impl Stream {
    pub(super) fn new(handle: Handle, pair: Pair, incoming: mpsc::Receiver<Event>) -> Self {
        let Handle { registry, commands, controls } = handle;
        let registered = Some(Registered { registry, controls, pair });
        Self {
            commands,
            incoming,
            seen: None,
            end_by: None,
            error_ended: false,
            pair,
            _registered: registered,
        }
    }

    /// A stream of plain data, whose other end is the task that encrypts it.
    pub(super) fn decrypted(
        commands: mpsc::Sender<Command>,
        incoming: mpsc::Receiver<Event>,
    ) -> Self {
        let pair = Pair { error: 0, data: 0 };
        Self {
            commands,
            incoming,
            seen: None,
            end_by: None,
            error_ended: true,
            pair,
            _registered: None,
        }
    }

    /// The next bytes, `None` at the end. The end may come in the middle of what the caller expects.
    ///
    /// # Errors
    /// [`Refused`]
    pub async fn read(&mut self) -> Result<Option<Bytes>, Refused> {
        loop {
            let event = match self.seen.take() {
                None => self.incoming.recv().await,
                seen => seen,
            };
            match event {
                Some(Event::Data(bytes)) => return Ok(Some(bytes)),
                Some(Event::Refused(text)) => return Err(refused(&text)),
                Some(Event::TlsFailed(text)) => {
                    return Err(Refused::Tls(printable(&text, MAX_REASON)));
                }
                Some(Event::ErrorEnd) => self.error_ended = true,
                Some(Event::DataEnd) => return self.reason_after_end().await,
                None => return Ok(None),
            }
        }
    }

    /// The reason of a refusal may arrive after the end of the data.
    async fn reason_after_end(&mut self) -> Result<Option<Bytes>, Refused> {
        if self.error_ended {
            return Ok(None);
        }
        // If this is cancelled, the next read finds the end again, and waits for the rest of the time.
        self.seen = Some(Event::DataEnd);
        let end = *self.end_by.get_or_insert_with(|| Instant::now() + ERROR_TIMEOUT);
        let next = tokio::time::timeout_at(end, self.incoming.recv()).await;
        self.seen = None;
        match next {
            Ok(Some(Event::Refused(text))) => Err(refused(&text)),
            _ => Ok(None),
        }
    }

    /// Bytes that have already arrived. The end and an error are left to [`Self::read`].
    pub fn try_read(&mut self) -> Option<Bytes> {
        if self.seen.is_some() {
            return None;
        }
        match self.incoming.try_recv() {
            Ok(Event::Data(bytes)) => Some(bytes),
            event => {
                self.seen = event.ok();
                None
            }
        }
    }

    /// The sending direction, to be used at the same time as the reading one.
    #[must_use]
    pub fn writer(&self) -> StreamWriter {
        StreamWriter { commands: self.commands.clone(), data: self.pair.data }
    }
}

/// The part of the runtime's message that has the reason, without the ids of network namespaces.
fn refused(text: &str) -> Refused {
    let ipv4 = text.rsplit_once("IPv4: ").map_or(text, |(_, rest)| rest);
    let short = ipv4.split(" IPv6").next().unwrap_or(ipv4).trim();
    Refused::Runtime(printable(short, MAX_REASON))
}

/// Sends on a [`Stream`].
pub struct StreamWriter {
    commands: mpsc::Sender<Command>,
    data: u32,
}

impl StreamWriter {
    /// Waits until half of the connection's queue is free. Otherwise a connection that is slower than the writer wakes it
    /// for each chunk. `false` means that the connection is closed.
    pub async fn ready(&self) -> bool {
        self.commands.reserve_many(self.commands.max_capacity() / 2).await.is_ok()
    }

    /// Sends at most 16 MiB. Waits while the connection is busy. `false` means that it is closed.
    pub async fn write(&self, bytes: Bytes) -> bool {
        self.send(bytes, false).await
    }

    /// Ends the sending direction; the pod may still send. A WebSocket for one pair of streams cannot
    /// express that and sends nothing.
    pub async fn finish(&self) -> bool {
        self.send(Bytes::new(), true).await
    }

    async fn send(&self, bytes: Bytes, fin: bool) -> bool {
        self.commands.send(Command::Data { stream: self.data, bytes, fin }).await.is_ok()
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.remove(self.pair);
        // If the peer has already ended the stream, the reset is not needed and does no harm.
        let _ = self.controls.send(ControlFrame::Reset(self.pair.data));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn what_has_arrived_is_read_and_the_end_is_not_lost() {
        let (commands, _queue) = mpsc::channel(1);
        for (end, expected) in [
            (Event::DataEnd, Ok(None)),
            (Event::TlsFailed("no".into()), Err(Refused::Tls("no".into()))),
        ] {
            let (events, incoming) = mpsc::channel(3);
            let mut stream = Stream::decrypted(commands.clone(), incoming);
            assert_eq!(stream.try_read(), None);
            for event in [Event::Data("a".into()), Event::Data("b".into()), end] {
                events.try_send(event).ok().unwrap();
            }
            assert_eq!(stream.read().await, Ok(Some("a".into())));
            assert_eq!(stream.try_read(), Some("b".into()));
            assert_eq!((stream.try_read(), stream.try_read()), (None, None));
            assert_eq!(stream.read().await, expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_that_is_cancelled_at_the_end_does_not_lose_it() {
        let (commands, _queue) = mpsc::channel(1);
        let (events, incoming) = mpsc::channel(1);
        let mut stream =
            Stream { error_ended: false, ..Stream::decrypted(commands.clone(), incoming) };
        events.try_send(Event::DataEnd).ok().unwrap();
        // The reason of a refusal may follow.
        assert_eq!(stream.read().now_or_never(), None);
        // Each cancelled read is shorter than the wait for the reason, and all together are longer.
        let start = Instant::now();
        let end = loop {
            let read = tokio::time::timeout(ERROR_TIMEOUT / 2, stream.read()).await;
            if read.is_ok() || start.elapsed() > 5 * ERROR_TIMEOUT {
                break read;
            }
        };
        assert_eq!(end, Ok(Ok(None)));
        drop(events);
    }

    #[tokio::test]
    async fn a_writer_is_ready_when_half_of_the_queue_is_free() {
        let (commands, mut queue) = mpsc::channel(4);
        let (_events, incoming) = mpsc::channel(1);
        let writer = Stream::decrypted(commands, incoming).writer();
        for _ in 0..3 {
            assert!(writer.ready().await && writer.write("a".into()).await);
        }
        assert_eq!(writer.ready().now_or_never(), None);
        queue.recv().await.unwrap();
        assert!(writer.ready().await);
        drop(queue);
        assert!(!writer.ready().await);
    }
}
