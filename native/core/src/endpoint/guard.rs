//! One-way trust: the local node can do everything on the node in the pod, and the node in the pod can start nothing on
//! the local node.
//!
//! Erlang's distribution trusts both sides alike. The guard stands between them and passes each message or drops it:
//!
//! - in the handshake it clears the flags of all messages that cannot be judged alone;
//! - the messages of the local node *give out* the processes and aliases that they name ([`capabilities`]);
//! - a message of the pod passes if it is an answer, or if its receiver was given out and it is no command that OTP's
//!   processes handle ([`policy`], [`payload`], [`io_request`]);
//! - in a read-only session, a message of the local node passes if it calls an allowed function ([`request`],
//!   [`read_only`]);
//! - in an audited session, requests and results are logged ([`audit`]);
//! - a request that is refused gets an error as its answer (`noproc`, `notsup`, `{error, request}`, `read_only`), so that
//!   its caller does not wait.
//!
//! A message is judged by its first 64 KiB, and no more of it is held. The rest is read for its atoms, identifiers and
//! commands ([`payload::Late`]) as it passes.
//! Everything here is a codec without I/O.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bytes::Bytes;

use super::handshake::{Flags, Handshake, cookies::Cookies};

mod audit;
mod capabilities;
mod control;
mod encode;
mod from_pod;
mod io_request;
mod packets;
mod passing;
mod payload;
mod policy;
mod read_only;
mod refusal;
mod request;
mod scan;
mod servers;
mod session;
mod term;
mod text;
mod to_pod;

use audit::Trail;
pub use audit::{Arguments, Asked, Entry};
use capabilities::{Capabilities, Named};
pub use from_pod::FromPod;
pub use read_only::Calls;
pub use refusal::{Kind, Refusal};
pub use servers::Servers;
pub use session::{Error, Event, Limits, Session};
use term::Atom;
pub use to_pod::ToPod;

/// The connection has to be closed. If the guard has a reason for it, the session has it: see [`Session::failure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

/// The two directions of one connection.
#[derive(Debug)]
pub struct Connection {
    /// From the local node.
    pub to_pod: ToPod,
    /// From the node in the pod.
    pub from_pod: FromPod,
}

impl Connection {
    /// A connection that begins. `visible`: whether the nodes may be visible to each other. `printer`: the Elixir module
    /// of the local node that prints what the pod sends to a group leader.
    #[must_use]
    pub fn new(session: Arc<Session>, visible: bool, printer: Option<&'static str>) -> Self {
        let peers = Peers {
            name: None,
            pod: None,
            given: Capabilities::new(Instant::now()),
            answers: vec![],
            replies: vec![],
            trail: session.audit.map(Trail::new),
        };
        let shared = Arc::new(Shared { session, peers: Mutex::new(peers) });
        let flags = Flags::Guarded { visible };
        let to_pod = ToPod::new(shared.clone(), Handshake::to_pod(flags));
        let from_pod = FromPod::new(shared, Handshake::from_pod(flags), printer);
        Self { to_pod, from_pod }
    }

    /// Replaces the digests of the handshake.
    #[must_use]
    pub fn with_cookies(mut self, cookies: Option<&Cookies>) -> Self {
        let exchange = cookies.map(Cookies::exchange);
        for handshake in [&mut self.to_pod.handshake, &mut self.from_pod.handshake] {
            *handshake = handshake.take().map(|it| it.with_cookies(exchange.clone()));
        }
        self
    }
}

/// What both directions need.
#[derive(Debug)]
struct Shared {
    session: Arc<Session>,
    peers: Mutex<Peers>,
}

#[derive(Debug)]
struct Peers {
    /// The name of the local node.
    name: Option<String>,
    /// The name of the node in the pod.
    pod: Option<String>,
    given: Capabilities,
    /// To the pod.
    answers: Vec<Bytes>,
    /// To the local node.
    replies: Vec<Bytes>,
    /// For the audit log, if there is one.
    trail: Option<Trail>,
}

impl Peers {
    /// Notes that the pod names a process or alias of this node that was not given out.
    fn note(&mut self, node: &Atom, named: Named, session: &Session) -> Result<(), Error> {
        let is_own = self.name.as_deref().is_some_and(|name| node.is(name));
        if !is_own || self.given.knows(named, Instant::now()) {
            Ok(())
        } else {
            session.name(named)
        }
    }
}

impl Shared {
    fn peers(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The entries that have to be in the audit log before the output is sent.
    fn entries(&self) -> Vec<Entry> {
        self.peers().trail.as_mut().map(Trail::take).unwrap_or_default()
    }

    /// Changes the messages of the handshake, and returns what comes after them.
    fn shake(
        &self,
        handshake: &mut Option<Handshake>,
        input: Bytes,
        output: &mut Vec<Bytes>,
    ) -> Result<Bytes, Closed> {
        let Some(messages) = handshake else { return Ok(input) };
        let (passed, rest) = messages.pass(&input).ok_or(Closed)?;
        if !passed.is_empty() {
            output.push(passed);
        }
        if let Some(name) = messages.take_name() {
            self.peers().name = Some(name);
        }
        if let Some(pod) = messages.take_peer() {
            self.peers().pod = Some(pod);
        }
        if rest.is_some() {
            *handshake = None;
        }
        Ok(rest.unwrap_or_default())
    }
}

#[cfg(test)]
mod audit_tests;
#[cfg(test)]
mod capture_tests;
#[cfg(test)]
mod mutation_tests;
#[cfg(test)]
mod tests;
