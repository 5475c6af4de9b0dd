//! Port-forward: TCP connections to ports of a pod, through the API server.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    access::cluster::{self, Cluster},
    streaming::{
        CloseReason, Protocol, Stream,
        connection::Connection,
        frame::{Form, Purpose},
        negotiation::{Negotiated, negotiate},
    },
};

mod per_stream;
mod subresource;
pub mod tls;

use per_stream::PerStream;
use subresource::{CHANNELS, EITHER, TUNNEL, port_forward};
pub use tls::{NodeTls, Tls};

/// A port-forward connection to a pod. It closes when the last handle and the last stream are dropped, or when
/// one of its connections breaks. Then every stream ends, and [`PortForward::closed`] returns the reason.
#[derive(Clone)]
pub struct PortForward {
    transport: Transport,
    /// For connections to the node.
    tls: NodeTls,
    close_reason: CloseReason,
    data_refused: Arc<AtomicBool>,
}

#[derive(Clone)]
enum Transport {
    /// One connection for all streams.
    Shared(Connection),
    /// One connection for each stream.
    PerStream(Arc<PerStream>),
}

impl PortForward {
    /// Connects to a pod, and describes the connection for people. `port` is the first one to be opened.
    ///
    /// # Errors
    /// [`cluster::Error`]: 404 where there is no such pod, 400 where it has no node yet.
    pub async fn connect(
        cluster: &Cluster,
        pod: &str,
        port: u16,
        protocol: Protocol,
    ) -> Result<(Self, String), cluster::Error> {
        let websocket = if protocol == Protocol::V4 { CHANNELS } else { EITHER };
        let request = port_forward(pod, port, websocket);
        let (negotiated, spdy_refusal) = negotiate(cluster, &request, protocol).await?;
        let (connection, form) = match negotiated {
            Negotiated::Spdy(upgraded) => (Self::spdy(upgraded, Form::Spdy), "SPDY/3.1"),
            Negotiated::WebSocket(upgraded, chosen) if chosen == TUNNEL => {
                (Self::spdy(upgraded, Form::Tunnel), "SPDY/3.1 inside a WebSocket")
            }
            Negotiated::WebSocket(upgraded, _) => {
                let per_stream = PerStream::new(cluster, pod, port, upgraded);
                (Self::per_stream(per_stream), "a WebSocket (v4.channel.k8s.io) for each stream")
            }
        };
        let refusal = spdy_refusal.map(|reason| format!(", as SPDY was refused: {reason}"));
        let refusal = refusal.unwrap_or_default();
        Ok((connection, format!("{form} through the API server{refusal}")))
    }

    /// Speaks SPDY on an upgraded connection. Must be called on a runtime.
    fn spdy(connection: impl AsyncRead + AsyncWrite + Send + 'static, form: Form) -> Self {
        let close_reason = CloseReason::new();
        let connection = Connection::new(connection, form, close_reason.clone());
        Self {
            transport: Transport::Shared(connection),
            tls: NodeTls::default(),
            close_reason,
            data_refused: Arc::default(),
        }
    }

    fn per_stream(connections: PerStream) -> Self {
        let transport = Transport::PerStream(Arc::new(connections));
        Self {
            transport,
            tls: NodeTls::default(),
            close_reason: CloseReason::new(),
            data_refused: Arc::default(),
        }
    }

    /// The same connection, with TLS to the node.
    #[must_use]
    pub fn with_tls(self, tls: NodeTls) -> Self {
        Self { tls, ..self }
    }

    /// The TLS client for the node.
    #[must_use]
    pub fn tls(&self) -> Option<Tls> {
        self.tls.get()
    }

    /// Where the TLS client for the node is set.
    #[must_use]
    pub(crate) fn node_tls(&self) -> &NodeTls {
        &self.tls
    }

    /// Opens a connection to the node, with TLS if the node uses it: see [`PortForward::open`].
    ///
    /// # Errors
    /// As [`PortForward::open`].
    pub async fn open_node(&self, port: u16, first: Bytes) -> Result<Stream, String> {
        match self.tls.wait().await {
            None => self.open(port, first).await,
            Some(tls) => tls.start(self.open(port, Bytes::new()).await?, first),
        }
    }

    /// Opens a TCP connection to a port on the loopback of the pod. `first` is sent as early as possible, with
    /// SPDY together with the request. A refused connection shows on the stream, not here.
    ///
    /// # Errors
    /// The reason why the port-forward connection is closed, or cannot be used.
    pub async fn open(&self, port: u16, first: Bytes) -> Result<Stream, String> {
        match &self.transport {
            Transport::Shared(connection) => connection.open(Purpose::Port(port), first).await,
            Transport::PerStream(connections) => {
                connections.open(port, first, &self.close_reason).await
            }
        }
    }

    /// Notes that a port refused what was sent to it.
    ///
    /// The kubelet never reads data for a port that refuses. Its SPDY library (moby/spdystream, connection.go) then
    /// waits forever to deliver the data. This blocks one of the five workers that handle all frames of the
    /// connection, pings included.
    pub(crate) fn note_refused_data(&self) {
        self.data_refused.store(true, Ordering::Relaxed);
    }

    /// Whether the kubelet has lost a worker of this connection: then it has to be replaced by another one.
    #[must_use]
    pub fn has_lost_worker(&self) -> bool {
        matches!(self.transport, Transport::Shared(_)) && self.data_refused.load(Ordering::Relaxed)
    }

    /// Closes the connection and every stream, whoever else has a handle.
    pub fn close(&self) {
        self.close_reason.set("closed".into());
        if let Transport::PerStream(connections) = &self.transport {
            connections.close();
        }
    }

    /// Waits until the connection is closed, and returns the reason.
    pub async fn closed(&self) -> String {
        self.close_reason.wait().await
    }

    /// Why the connection is closed; `None` while it is open. The reason is set before the streams end.
    #[must_use]
    pub fn close_reason(&self) -> Option<String> {
        self.close_reason.get()
    }
}

/// Opens port-forward connections to one pod.
#[derive(Clone)]
pub struct Connector {
    cluster: Arc<Cluster>,
    pod: Arc<str>,
    protocol: Protocol,
    tls: Option<Tls>,
}

impl Connector {
    /// For a pod in the cluster's namespace.
    #[must_use]
    pub fn new(cluster: Arc<Cluster>, pod: &str, protocol: Protocol, tls: Option<Tls>) -> Self {
        Self { cluster, pod: pod.into(), protocol, tls }
    }

    /// One more port-forward connection. `port` is the first one to be opened.
    ///
    /// # Errors
    /// The error of the API server.
    pub async fn connect(&self, port: u16) -> Result<PortForward, cluster::Error> {
        let connect = PortForward::connect(&self.cluster, &self.pod, port, self.protocol);
        let (connection, _description) = connect.await?;
        Ok(connection.with_tls(NodeTls::new(self.tls.clone())))
    }
}

#[cfg(test)]
pub(crate) mod peer;
#[cfg(test)]
mod tests;
