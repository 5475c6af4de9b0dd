//! A TCP connection in the pod, seen from here.

use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::mpsc;

use super::{
    connection::{Connection, Event},
    wire::Order,
};

/// The pod's side did not take the connection, or broke it; the link is not touched by that.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// A TCP connection to a port of the pod. Dropping it ends the connection at once.
pub struct Stream {
    connection: Connection,
    error: u32,
    data: u32,
    incoming: mpsc::Receiver<Event>,
    error_ended: bool,
}

/// The runtime ends both streams together. This is for one that ends only the data.
const ERROR_PATIENCE: Duration = Duration::from_secs(1);

impl Stream {
    pub(super) fn new(
        connection: Connection,
        error: u32,
        data: u32,
        incoming: mpsc::Receiver<Event>,
    ) -> Self {
        Self { connection, error, data, incoming, error_ended: false }
    }

    /// The next bytes, `None` at the end. An end in the middle of what a caller expects is for the
    /// caller to judge.
    ///
    /// # Errors
    /// [`Refused`] with the container runtime's words.
    pub async fn read(&mut self) -> Result<Option<Bytes>, Refused> {
        loop {
            match self.incoming.recv().await {
                Some(Event::Data(bytes)) => return Ok(Some(bytes)),
                Some(Event::Refused(text)) => return Err(refused(&text)),
                Some(Event::ErrorEnd) => self.error_ended = true,
                Some(Event::DataEnd) => return self.reason_of_end().await,
                None => return Ok(None),
            }
        }
    }

    /// The reason of a refusal may come after the end of the data.
    async fn reason_of_end(&mut self) -> Result<Option<Bytes>, Refused> {
        if self.error_ended {
            return Ok(None);
        }
        match tokio::time::timeout(ERROR_PATIENCE, self.incoming.recv()).await {
            Ok(Some(Event::Refused(text))) => Err(refused(&text)),
            _ => Ok(None),
        }
    }

    /// Bytes that have arrived, without waiting for more.
    pub fn try_read(&mut self) -> Option<Bytes> {
        match self.incoming.try_recv() {
            Ok(Event::Data(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// The other direction, apart from the reading one.
    #[must_use]
    pub fn writer(&self) -> Writer {
        Writer { orders: self.connection.orders.clone(), data: self.data }
    }
}

/// The runtime's text with the part that says something, without the ids of namespaces.
fn refused(text: &str) -> Refused {
    let ipv4 = text.rsplit_once("IPv4: ").map_or(text, |(_, rest)| rest);
    let short = ipv4.split(" IPv6").next().unwrap_or(ipv4).trim();
    Refused(short.chars().take(1000).collect())
}

/// Sends on a [`Stream`].
pub struct Writer {
    orders: mpsc::Sender<Order>,
    data: u32,
}

impl Writer {
    /// Sends bytes, at most 16 MiB at once. Waits while the link is busy; `false` means that it is
    /// closed.
    pub async fn write(&self, bytes: Bytes) -> bool {
        self.send(bytes, false).await
    }

    /// Says that we will send no more; the pod may still. Where the link cannot say that, it does not.
    pub async fn finish(&self) -> bool {
        self.send(Bytes::new(), true).await
    }

    async fn send(&self, bytes: Bytes, fin: bool) -> bool {
        self.orders.send(Order::Data { stream: self.data, bytes, fin }).await.is_ok()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.reset(self.error, self.data);
    }
}
