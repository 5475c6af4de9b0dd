//! The open streams of a connection: where their frames go.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::mpsc::{self, error::TrySendError};

/// How long a stream with a full queue may delay the others.
const STREAM_TIMEOUT: Duration = Duration::from_secs(5);

/// What a stream receives.
pub(super) enum Event {
    Data(Bytes),
    Refused(String),
    TlsFailed(String),
    DataEnd,
    ErrorEnd,
}

/// A pair of streams: the data, and the error message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair {
    pub error: u32,
    pub data: u32,
}

/// The receiving end of one stream of a pair.
#[derive(Clone)]
struct StreamReceiver {
    events: mpsc::Sender<Event>,
    is_error: bool,
    pair: Pair,
}

/// The open streams by id.
#[derive(Default)]
pub(super) struct Registry(Mutex<HashMap<u32, StreamReceiver>>);

impl Registry {
    pub fn insert(&self, pair: Pair, events: mpsc::Sender<Event>) {
        let mut receivers = self.lock();
        let error = StreamReceiver { events: events.clone(), is_error: true, pair };
        receivers.insert(pair.error, error);
        receivers.insert(pair.data, StreamReceiver { events, is_error: false, pair });
    }

    pub fn remove(&self, pair: Pair) {
        let mut receivers = self.lock();
        receivers.remove(&pair.error);
        receivers.remove(&pair.data);
    }

    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Ends all streams.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// Delivers bytes to a stream. Waits while its queue is full. Returns the pair to reset where the stream
    /// is not read in time.
    pub async fn deliver(&self, stream: u32, bytes: Bytes) -> Option<Pair> {
        let receiver = self.lock().get(&stream).cloned()?;
        let event = if receiver.is_error {
            Event::Refused(String::from_utf8_lossy(&bytes).into_owned())
        } else {
            Event::Data(bytes)
        };
        (!self.send(&receiver, event).await).then_some(receiver.pair)
    }

    /// Ends one stream of a pair.
    pub async fn end(&self, stream: u32) {
        let receiver = self.lock().remove(&stream);
        if let Some(receiver) = receiver {
            let event = if receiver.is_error { Event::ErrorEnd } else { Event::DataEnd };
            // If it is not read in time, the stream ends without this event.
            self.send(&receiver, event).await;
        }
    }

    /// Whether the stream was read in time.
    async fn send(&self, receiver: &StreamReceiver, event: Event) -> bool {
        match receiver.events.try_send(event) {
            // Closed: the stream was dropped, which has reset it.
            Ok(()) | Err(TrySendError::Closed(_)) => true,
            Err(TrySendError::Full(event)) => self.wait_for_room(receiver, event).await,
        }
    }

    async fn wait_for_room(&self, receiver: &StreamReceiver, event: Event) -> bool {
        loop {
            match tokio::time::timeout(STREAM_TIMEOUT, receiver.events.reserve()).await {
                Ok(Ok(room)) => {
                    room.send(event);
                    return true;
                }
                Ok(Err(_)) => return true, // the stream was dropped
                Err(_) if self.has_only(receiver.pair) => {}
                Err(_) => return false,
            }
        }
    }

    fn has_only(&self, pair: Pair) -> bool {
        self.lock().keys().all(|stream| [pair.error, pair.data].contains(stream))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, StreamReceiver>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
