//! One upgraded connection, and the streams in it.
//!
//! Two tasks own it: one reads frames and delivers them to the streams, one writes. The protocols have no
//! usable flow control, so a stream that is not read delays the others when its queue is full. After
//! five seconds it is reset, unless it is the only one. When the reader ends, or the last handle is dropped, the
//! connection is closed and every stream ends. After a failed write, the reader first delivers what has arrived.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, watch},
    time::Instant,
};

use super::{
    CloseReason, Stream,
    frame::{Channels, Command, ControlFrame, Form, Purpose},
    registry::{Pair, Registry},
    stream::Handle,
    suspend,
};

mod reader;
mod writer;

/// Chunks that wait in the queue of a stream, and in that of the connection.
const QUEUE: usize = 16;

/// How long the reader delivers what has arrived after a write has failed.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

const GOING_AWAY: &str = "the API server is closing the connection";

/// A handle. Dropping the last one and the last stream closes the connection.
#[derive(Clone)]
pub(crate) struct Connection {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    controls: mpsc::UnboundedSender<ControlFrame>,
    close_reason: CloseReason,
}

/// What the handles and the two tasks share.
struct Shared {
    form: Form,
    registry: Arc<Registry>,
    /// The next stream id. Locked while a stream is opened: ids must rise on the wire.
    next: tokio::sync::Mutex<u32>,
    /// Since when our bytes wait for the peer to read them.
    blocked: Mutex<Option<Instant>>,
    /// Answers to pings that wait to be sent.
    answers: AtomicUsize,
    /// Whether the peer accepts no new streams any more.
    going_away: AtomicBool,
}

impl Connection {
    /// For a connection that was upgraded to this form. It closes with `close_reason`, and sets that when it
    /// breaks. Must be called on a runtime.
    pub fn new(
        connection: impl AsyncRead + AsyncWrite + Send + 'static,
        form: Form,
        close_reason: CloseReason,
    ) -> Self {
        Self::start(connection, Shared::new(form), close_reason, suspend::subscribe())
    }

    /// For a connection that was upgraded to channels: one pair of streams, which ends with it. The server
    /// sends right after the upgrade and may close then, so the streams exist before anything is read.
    pub fn single(
        connection: impl AsyncRead + AsyncWrite + Send + 'static,
        channels: Channels,
        close_reason: CloseReason,
        first: Bytes,
    ) -> Stream {
        let (events, incoming) = mpsc::channel(QUEUE);
        let pair = Pair { error: channels.error.into(), data: channels.data.into() };
        let shared = Shared::new(Form::Channels(channels));
        shared.registry.insert(pair, events);
        let connection = Self::start(connection, shared, close_reason, suspend::subscribe());
        // The queue is new, so it has room. If the connection is already closed, the stream reports it.
        let command = Command::Data { stream: pair.data, bytes: first, fin: false };
        let _ = connection.commands.try_send(command);
        Stream::new(connection.handle(), pair, incoming)
    }

    fn start(
        connection: impl AsyncRead + AsyncWrite + Send + 'static,
        shared: Shared,
        close_reason: CloseReason,
        suspensions: watch::Receiver<()>,
    ) -> Self {
        let (reader, writer) = tokio::io::split(connection);
        let (commands, command_queue) = mpsc::channel(QUEUE);
        let (controls, control_queue) = mpsc::unbounded_channel();
        let form = shared.form;
        let shared = Arc::new(shared);
        let write = writer::write_frames(writer, command_queue, control_queue, shared.clone());
        // The reader must not keep the channel to the writer open: without handles the connection closes.
        // Its own allocation: the future of a task has a copy of what it selects from.
        let read = reader::read_frames(reader, controls.downgrade(), shared.clone(), suspensions);
        let mut read = Box::pin(read);
        let (registry, closing) = (shared.registry.clone(), close_reason.clone());
        let both = async move {
            let failed = tokio::select! {
                result = &mut read => return result,
                result = write => result,
            };
            // The socket may hold data that arrived before the write failed.
            if failed.is_err() {
                let _ = tokio::time::timeout(DRAIN_TIMEOUT, read).await;
            }
            failed
        };
        let task = tokio::spawn(async move {
            tokio::select! {
                result = both => result,
                reason = closing.wait() => Err(reason),
            }
        });
        let closed = close_reason.clone();
        tokio::spawn(async move {
            let result = task
                .await
                .unwrap_or_else(|_| Err("the task of the connection ended unexpectedly".into()));
            // The reason is set before the streams end, so that their readers can ask for it.
            match (result, form) {
                // The connection of a single pair, which has ended.
                (Ok(()), Form::Channels(_)) => {}
                (Ok(()), _) => closed.set("closed".into()),
                (Err(reason), _) => closed.set(reason),
            }
            registry.clear();
        });
        Self { shared, commands, controls, close_reason }
    }

    /// Opens a pair of streams. `first` is sent together with the request.
    pub async fn open(&self, purpose: Purpose, first: Bytes) -> Result<Stream, String> {
        let (events, incoming) = mpsc::channel(QUEUE);
        if self.shared.going_away.load(Ordering::Relaxed) {
            return Err(GOING_AWAY.into());
        }
        let mut next = self.shared.next.lock().await;
        let pair = Pair { error: *next, data: *next + 2 };
        *next += 4;
        self.shared.registry.insert(pair, events);
        // The stream exists before the command: if that cannot be sent, its drop cleans up.
        let stream = Stream::new(self.handle(), pair, incoming);
        let command = Command::Open { error: pair.error, data: pair.data, purpose, first };
        self.commands.send(command).await.map_err(|_| self.closed_by())?;
        Ok(stream)
    }

    fn handle(&self) -> Handle {
        Handle {
            registry: self.shared.registry.clone(),
            commands: self.commands.clone(),
            controls: self.controls.clone(),
        }
    }

    fn closed_by(&self) -> String {
        self.close_reason.get().unwrap_or_else(|| "the connection is closing".into())
    }
}

impl Shared {
    fn new(form: Form) -> Self {
        Self {
            form,
            registry: Arc::default(),
            next: tokio::sync::Mutex::new(1),
            blocked: Mutex::default(),
            answers: AtomicUsize::new(0),
            going_away: AtomicBool::new(false),
        }
    }

    fn set_blocked(&self, since: Option<Instant>) {
        *self.blocked.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn blocked(&self) -> Option<Instant> {
        *self.blocked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
