//! A port-forward connection with a WebSocket for each stream: v4.channel.k8s.io, the oldest protocol. Its ports
//! are part of the request, and with several of them the end of one could not be expressed.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::subresource::{CHANNELS, port_forward};
use crate::{
    access::cluster::{self, Cluster},
    streaming::{
        CloseReason, Protocol, Stream, Upgraded,
        connection::Connection,
        frame::Channels,
        negotiation::{Negotiated, negotiate},
    },
};

/// Opens a WebSocket for each stream.
pub(super) struct PerStream {
    /// `None` after closing: a remaining handle must not keep idle connections open.
    cluster: Mutex<Option<Cluster>>,
    pod: String,
    /// The first WebSocket, which showed that the protocol is accepted, and its port.
    first: Mutex<Option<(u16, Upgraded)>>,
}

impl PerStream {
    pub fn new(cluster: &Cluster, pod: &str, port: u16, first: Upgraded) -> Self {
        let first = Mutex::new(Some((port, first)));
        Self { cluster: Mutex::new(Some(cluster.clone())), pod: pod.into(), first }
    }

    /// Opens a stream, and a WebSocket for it.
    pub async fn open(
        &self,
        port: u16,
        bytes: Bytes,
        close_reason: &CloseReason,
    ) -> Result<Stream, String> {
        if let Some(reason) = close_reason.get() {
            return Err(reason);
        }
        let upgraded = if let Some(first) = self.take_first(port) {
            first
        } else {
            let cluster = self.cluster().ok_or("closed")?;
            // Boxed: every future that opens a stream would have its size.
            Box::pin(connect(&cluster, &self.pod, port)).await.map_err(|error| error.to_string())?
        };
        Ok(Connection::single(upgraded, Channels::FORWARD, close_reason.clone(), bytes))
    }

    /// Drops what could open more streams.
    pub fn close(&self) {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn cluster(&self) -> Option<Cluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// It can be used once, and for its port only.
    fn take_first(&self, port: u16) -> Option<Upgraded> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        first.filter(|(of, _)| *of == port).map(|(_, first)| first)
    }
}

async fn connect(cluster: &Cluster, pod: &str, port: u16) -> Result<Upgraded, cluster::Error> {
    let request = port_forward(pod, port, CHANNELS);
    match negotiate(cluster, &request, Protocol::V4).await?.0 {
        Negotiated::Spdy(upgraded) | Negotiated::WebSocket(upgraded, _) => Ok(upgraded),
    }
}
