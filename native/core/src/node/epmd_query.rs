//! Asks epmd for all names, and uses its answer while it arrives.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{
    epmd::{self, Entry, Names},
    error::Error,
    probe::TIMEOUT,
};
use crate::{port_forward::PortForward, streaming::Stream};

/// For an answer of epmd after the node itself has answered.
const ANSWER_PATIENCE: Duration = Duration::from_millis(100);
/// Between two lines of an answer, at most.
const LINE_GAP: Duration = Duration::from_millis(10);
/// More names than an epmd has.
const MAX_NAMES: usize = 64;

/// The answer as far as it has arrived, and which of its names were used.
pub(super) struct EpmdQuery {
    connection: PortForward,
    stream: Stream,
    deadline: Instant,
    names: Names,
    entries: Vec<Entry>,
    used: Vec<String>,
    /// Names whose ports refuse connections.
    refused: Vec<String>,
}

impl EpmdQuery {
    pub async fn send(connection: &PortForward) -> Result<Self, Error> {
        tracing::debug!(name: "epmd", request = "NAMES_REQ", port = epmd::PORT);
        let stream = connection
            .open(epmd::PORT, epmd::NAMES)
            .await
            .map_err(|reason| Error::PortForwardClosed { reason })?;
        let deadline = Instant::now() + TIMEOUT;
        Ok(Self {
            connection: connection.clone(),
            stream,
            deadline,
            names: Names::default(),
            entries: Vec::new(),
            used: Vec::new(),
            refused: Vec::new(),
        })
    }

    /// The next node with the name `requested`, or the next of any name, and of those that have arrived the one
    /// with the name `expected` first. Reads no further than necessary.
    pub async fn next_match(
        &mut self,
        requested: Option<&str>,
        expected: impl Fn(&str) -> bool,
    ) -> Result<Entry, Error> {
        loop {
            let of_pod = || self.unused().filter(|entry| !self.is_transient(&entry.name));
            let found = match requested {
                Some(name) => self.unused().find(|entry| entry.name == name),
                None => of_pod().find(|entry| expected(&entry.name)).or_else(|| of_pod().next()),
            };
            if let Some(entry) = found.cloned() {
                self.used.push(entry.name.clone());
                return Ok(entry);
            }
            if !self.read().await? {
                return Err(self.no_match(requested));
            }
        }
    }

    fn unused(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| !self.used.contains(&entry.name))
    }

    /// Whether it is a transient CLI node, by what has arrived: it is named after another node, with something
    /// before or after the name.
    pub fn is_transient(&self, name: &str) -> bool {
        is_of_release(name) || self.entries.iter().any(|entry| is_named_after(name, &entry.name))
    }

    /// Waits until the lines of the answer have arrived, but only for a moment. Each line arrives by itself.
    pub async fn await_answer(&mut self) {
        let deadline = self.deadline.min(Instant::now() + ANSWER_PATIENCE);
        loop {
            let next_line = Instant::now() + LINE_GAP;
            let until = if self.entries.is_empty() { deadline } else { deadline.min(next_line) };
            // Without an answer in time there is no other name.
            if !matches!(timeout_at(until, self.read()).await, Ok(Ok(true))) {
                return;
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
                self.connection.note_refused_data();
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

    /// Remembers that the port of this name refuses connections.
    pub fn mark_refused(&mut self, entry: &Entry) {
        self.refused.push(entry.name.clone());
    }

    /// The nodes that may be alive. One of them may have been asked without waiting for its answer.
    pub fn may_be_alive(&self) -> impl Iterator<Item = &Entry> {
        let refused = |entry: &Entry| self.refused.contains(&entry.name);
        self.entries.iter().filter(move |entry| !refused(entry) && !self.is_transient(&entry.name))
    }

    /// All nodes, and this one even where it is a transient CLI node, or not registered.
    pub fn nodes_and_self(&self, chosen: &Entry) -> Vec<Entry> {
        let counts = |entry: &&Entry| *entry == chosen || !self.is_transient(&entry.name);
        with_chosen(self.entries.iter().filter(counts).cloned().collect(), chosen)
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

/// The node has only the port that has answered: epmd may say another one, to which connections are not redirected.
fn with_chosen(mut nodes: Vec<Entry>, chosen: &Entry) -> Vec<Entry> {
    nodes.retain(|entry| entry == chosen || entry.name != chosen.name);
    if !nodes.contains(chosen) {
        nodes.insert(0, chosen.clone());
    }
    nodes
}

/// `rabbitmqcli-7-rabbit` of `rabbit`, `maint1-app` of `app`: the command-line tools of a node register while
/// they run.
fn is_named_after(name: &str, node: &str) -> bool {
    let before = name.strip_suffix(node).is_some_and(|before| before.ends_with('-'));
    let after = name.strip_prefix(node).is_some_and(|after| after.starts_with('-'));
    before || after
}

/// `rem-1f3a-app`, the name that `bin/app remote` and `bin/app rpc` of a release take. It may outlive the node.
fn is_of_release(name: &str) -> bool {
    let rest = name.strip_prefix("rem-").or_else(|| name.strip_prefix("rpc-"));
    let random = rest.and_then(|rest| Some(rest.split_once('-')?.0));
    random.is_some_and(|random| {
        !random.is_empty() && random.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_the_port_that_has_answered() {
        let entry = |name: &str, port| Entry { name: name.into(), port };
        let chosen = entry("app", 1);
        let others = vec![entry("app", 2), entry("b", 3), entry("app", 4)];
        assert_eq!(with_chosen(others, &chosen), [entry("app", 1), entry("b", 3)]);
        let listed = vec![entry("b", 3), entry("app", 1), entry("app", 2)];
        assert_eq!(with_chosen(listed, &chosen), [entry("b", 3), entry("app", 1)]);
    }

    #[test]
    fn a_cli_node_is_named_after_its_node() {
        for (name, node) in [
            ("rabbitmqcli-7-rabbit", "rabbit"),
            ("rem-1f3a-app", "app"),
            ("maint1-app", "app"),
            ("6f9619ff-8b86-d011-b42d-00cf4fc964ff-ejabberd", "ejabberd"),
            ("app-remsh", "app"),
        ] {
            assert!(is_named_after(name, node), "{name}");
        }
        for (name, node) in [("app", "app"), ("myapp", "app"), ("app2", "app"), ("a-b", "c")] {
            assert!(!is_named_after(name, node), "{name}");
        }
        assert!(is_of_release("rem-1f3a-app") && is_of_release("rpc-2-app"));
        assert!(!is_of_release("rpc-gateway") && !is_of_release("rpc-gateway-a"));
        assert!(!is_of_release("rem--app") && !is_of_release("app"));
    }
}
