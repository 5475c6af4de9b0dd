//! A link whose streams have a connection each: WebSocket v4.channel.k8s.io, the oldest form of all. It
//! names its ports when it is upgraded, and with several of them the end of one could not be told.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::{
    Stream,
    connection::{Connection, Ending},
    protocol,
    upgrade::Upgraded,
    wire,
};
use crate::cluster::Cluster;

/// How to make the connections.
pub struct Channels {
    /// `None` when the link is closed: who still has a handle of it must not keep idle connections.
    cluster: Mutex<Option<Cluster>>,
    pod: String,
    /// The connection that has shown that this form is taken, and its port.
    spare: Mutex<Option<(u16, Upgraded)>>,
}

impl Channels {
    pub fn new(cluster: &Cluster, pod: &str, port: u16, first: Upgraded) -> Self {
        let spare = Mutex::new(Some((port, first)));
        Self { cluster: Mutex::new(Some(cluster.clone())), pod: pod.into(), spare }
    }

    /// Opens a stream, and with it a connection.
    pub async fn open(&self, port: u16, first: Bytes, ending: &Ending) -> Result<Stream, String> {
        if let Some(reason) = ending.reason() {
            return Err(reason);
        }
        let upgraded = if let Some(spare) = self.spare(port) {
            spare
        } else {
            let cluster = self.cluster().ok_or("closed")?;
            // In a box, as whatever opens a stream would have the size of this.
            Box::pin(protocol::channels(&cluster, &self.pod, port))
                .await
                .map_err(|error| error.to_string())?
        };
        Ok(Connection::single(upgraded, wire::Channels::FORWARD, ending.clone(), first))
    }

    /// Lets go of all that it has.
    pub fn close(&self) {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn cluster(&self) -> Option<Cluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// It is of use once, and to its port only.
    fn spare(&self, port: u16) -> Option<Upgraded> {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).take();
        spare.filter(|(of, _)| *of == port).map(|(_, spare)| spare)
    }
}
