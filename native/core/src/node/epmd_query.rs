//! Asks epmd for all names, and uses its answer while it arrives.

use tokio::time::{Instant, timeout_at};

use super::{
    epmd::{self, Entry, Names},
    error::Error,
    probe::TIMEOUT,
};
use crate::{port_forward::PortForward, streaming::Stream};

/// More names than an epmd has.
const MAX_NAMES: usize = 64;

/// The answer as far as it has arrived, and the position of the next unused name.
pub(super) struct EpmdQuery {
    stream: Stream,
    deadline: Instant,
    names: Names,
    entries: Vec<Entry>,
    next: usize,
}

impl EpmdQuery {
    pub async fn send(connection: &PortForward) -> Result<Self, Error> {
        tracing::debug!(name: "epmd", asked = "NAMES_REQ", port = epmd::PORT);
        let stream = connection
            .open(epmd::PORT, epmd::NAMES)
            .await
            .map_err(|reason| Error::PortForwardClosed { reason })?;
        let deadline = Instant::now() + TIMEOUT;
        Ok(Self { stream, deadline, names: Names::default(), entries: Vec::new(), next: 0 })
    }

    /// The next node with this name, or the next of any name. Reads no further than necessary.
    pub async fn next_match(&mut self, requested: Option<&str>) -> Result<Entry, Error> {
        loop {
            while let Some(entry) = self.entries.get(self.next) {
                self.next += 1;
                if requested.map_or(!is_transient(&entry.name), |name| entry.name == name) {
                    return Ok(entry.clone());
                }
            }
            if !self.read().await? {
                return Err(self.no_match(requested));
            }
        }
    }

    /// All names, to the end of the answer.
    pub async fn all(mut self) -> Result<Vec<Entry>, Error> {
        while self.read().await? {}
        Ok(self.entries)
    }

    /// Reads more of the answer; `false` at its end.
    async fn read(&mut self) -> Result<bool, Error> {
        match timeout_at(self.deadline, self.stream.read()).await.ok() {
            None => Err(Error::EpmdTimedOut),
            Some(Err(refused)) => {
                Err(Error::NoEpmd { message: refused.to_string(), ports: vec![] })
            }
            Some(Ok(None)) => Ok(false),
            Some(Ok(Some(bytes))) => {
                self.names.feed(&bytes);
                self.parse()?;
                Ok(true)
            }
        }
    }

    fn no_match(&self, requested: Option<&str>) -> Error {
        match requested {
            Some(requested) if !self.entries.is_empty() => {
                let available = self.entries.iter().map(|entry| entry.name.clone()).collect();
                Error::UnknownNode { name: requested.into(), available }
            }
            _ => Error::NoNodes,
        }
    }

    /// Takes what has already arrived.
    pub fn take_arrived(&mut self) -> Result<(), Error> {
        while let Some(bytes) = self.stream.try_read() {
            self.names.feed(&bytes);
        }
        self.parse()
    }

    /// The nodes after the last match.
    pub fn rest(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().skip(self.next).filter(|entry| !is_transient(&entry.name))
    }

    /// All nodes, and this entry even where it is a transient CLI node.
    pub fn nodes_and(&self, chosen: &Entry) -> Vec<Entry> {
        let counts = |entry: &&Entry| *entry == chosen || !is_transient(&entry.name);
        self.entries.iter().filter(counts).cloned().collect()
    }

    fn parse(&mut self) -> Result<(), Error> {
        while let Some(entry) =
            self.names.next_entry().map_err(|actual| Error::EpmdInvalidAnswer { actual })?
        {
            if self.entries.len() == MAX_NAMES {
                return Err(Error::EpmdInvalidAnswer {
                    actual: format!("more than {MAX_NAMES} names"),
                });
            }
            tracing::debug!(name: "epmd", node = entry.name, port = entry.port);
            self.entries.push(entry);
        }
        Ok(())
    }
}

/// Whether it is a transient CLI node: `bin/app remote` and `bin/app rpc` of a release register one while they
/// run.
fn is_transient(name: &str) -> bool {
    name.starts_with("rem-") || name.starts_with("rpc-")
}
