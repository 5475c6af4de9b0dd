//! A way to a pod through the API server, and TCP streams on it.
//!
//! Of what a server and all that is between may take, a link is one of three: SPDY on one connection,
//! the same inside of a WebSocket, or a WebSocket for each stream. Which one is seen by nobody else.

use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

mod channels;
mod connection;
pub mod exec;
mod liveness;
pub mod protocol;
pub mod spdy;
mod stream;
mod upgrade;
pub mod websocket;
mod wire;

use channels::Channels;
use connection::{Connection, Ending};
pub use protocol::Protocol;
pub(crate) use protocol::link as to;
pub use stream::{Refused, Stream, Writer};
pub(crate) use upgrade::failed;
use wire::{Form, What};

use crate::cluster::{self, Cluster};

/// The size of the pieces that data is read and sent in. Larger ones cost latency, smaller ones
/// a frame header and a system call more often.
pub const PIECE: usize = 32 * 1024;

/// A way to a pod. Dropping the last handle and the last stream closes it, and so does the end of one
/// of its connections that comes by itself: then every stream ends, and [`Link::closed`] says why.
#[derive(Clone)]
pub struct Link {
    way: Way,
    ending: Ending,
}

#[derive(Clone)]
enum Way {
    /// All streams in one connection.
    One(Connection),
    /// A connection for each.
    Each(Arc<Channels>),
}

impl Link {
    /// Speaks SPDY on a connection that has been upgraded to it. Must be called on a runtime.
    fn spdy(connection: impl AsyncRead + AsyncWrite + Send + 'static, form: Form) -> Self {
        let ending = Ending::new();
        Self { way: Way::One(Connection::new(connection, form, ending.clone())), ending }
    }

    fn each(channels: Channels) -> Self {
        Self { way: Way::Each(Arc::new(channels)), ending: Ending::new() }
    }

    /// Opens a TCP connection to a port of the pod's loopback; `first` is sent as soon as can be, with
    /// SPDY along with the request, without waiting for anything. A refusal shows on the stream, not
    /// here.
    ///
    /// # Errors
    /// The reason why the link is closed, or cannot be used.
    pub async fn open(&self, port: u16, first: Bytes) -> Result<Stream, String> {
        match &self.way {
            Way::One(connection) => connection.open(What::Port(port), first).await,
            Way::Each(channels) => channels.open(port, first, &self.ending).await,
        }
    }

    /// Ends every stream and the connection, whoever else has a handle.
    pub fn close(&self) {
        self.ending.end("closed".into());
        if let Way::Each(channels) = &self.way {
            channels.close();
        }
    }

    /// Waits until the link is closed, and says why.
    pub async fn closed(&self) -> String {
        self.ending.wait().await
    }

    /// Why the link is closed; `None` where it is not. It is set before the streams end.
    #[must_use]
    pub fn closed_by(&self) -> Option<String> {
        self.ending.reason()
    }
}

/// Makes links to one pod.
#[derive(Clone)]
pub struct Links {
    cluster: Arc<Cluster>,
    pod: Arc<str>,
    protocol: Protocol,
}

impl Links {
    /// Of a pod in the cluster's namespace.
    #[must_use]
    pub fn new(cluster: Arc<Cluster>, pod: &str, protocol: Protocol) -> Self {
        Self { cluster, pod: pod.into(), protocol }
    }

    /// One more link; `port` is the one that is wanted first.
    ///
    /// # Errors
    /// The API server's answer.
    pub async fn link(&self, port: u16) -> Result<Link, cluster::Error> {
        let (link, _what) = protocol::link(&self.cluster, &self.pod, port, self.protocol).await?;
        Ok(link)
    }
}

#[cfg(test)]
pub(crate) mod peer;
#[cfg(test)]
mod tests;
