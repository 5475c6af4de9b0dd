//! One-way trust: the local node can do everything on the node in the pod, and the node in the pod can start nothing on
//! the local node.
//!
//! Erlang's distribution trusts both sides alike. The guard stands between them and passes each message or drops it:
//!
//! - in the [`handshake`] it clears the [`flags`] of all messages that cannot be judged alone;
//! - from what the local node sends, it learns which processes and aliases the pod was told of ([`capabilities`]);
//! - what the pod sends passes if it answers something, or goes to what it was told of and is no order that OTP's
//!   processes obey ([`policy`], [`payload`], [`io_request`]);
//! - what a message asks for and does not get has the answer that OTP gives if there is no such process.
//!
//! A message is judged by its first 64 KiB, so it is never held as a whole. The rest is read only for its atoms.
//! Everything here is a codec without I/O.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bytes::Bytes;

mod capabilities;
mod control;
mod encode;
mod flags;
mod handshake;
mod io_request;
mod packets;
mod payload;
mod policy;
mod scan;
mod session;
mod term;

use capabilities::Capabilities;
use control::{Control, Operation};
use handshake::Handshake;
use io_request::Rewritten;
use packets::{LENGTH, Output, Packets, Part, Piece};
use policy::{Local, Verdict};
use scan::Scan;
pub use session::{Error, Event, Kind, Limits, Refusal, Session};
use term::Token;

/// The empty list, in the external format.
const NIL: &[u8] = &[106];
/// Answers that wait for the pod to read. More are dropped.
const MAX_ANSWERS: usize = 256 * 1024;

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
        let peers = Peers { name: None, given: Capabilities::new(Instant::now()), answers: vec![] };
        let shared = Arc::new(Shared { session, peers: Mutex::new(peers) });
        let to_pod = ToPod {
            shared: shared.clone(),
            handshake: Some(Handshake::to_pod(visible)),
            packets: Packets::default(),
            scan: None,
        };
        let from_pod = FromPod {
            shared,
            handshake: Some(Handshake::from_pod(visible)),
            packets: Packets::default(),
            scan: None,
            printer,
            ends_list: false,
        };
        Self { to_pod, from_pod }
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
    given: Capabilities,
    answers: Vec<Bytes>,
}

impl Shared {
    fn peers(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
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
        if rest.is_some() {
            *handshake = None;
        }
        Ok(rest.unwrap_or_default())
    }
}

/// The direction to the pod.
#[derive(Debug)]
pub struct ToPod {
    shared: Arc<Shared>,
    handshake: Option<Handshake>,
    packets: Packets,
    /// `None` for what is not read.
    scan: Option<Scan>,
}

impl ToPod {
    /// Adds the bytes that pass to `output`: all of them, and answers to the pod between the messages.
    ///
    /// # Errors
    /// [`Closed`] for what is not a node.
    pub fn pass(&mut self, input: Bytes, output: &mut Vec<Bytes>) -> Result<(), Closed> {
        let shared = self.shared.clone();
        let input = shared.shake(&mut self.handshake, input, output)?;
        let mut peers = shared.peers();
        let (mut at, mut run, now) = (0, Output::default(), Instant::now());
        while let Some(part) = self.packets.next(&input, &mut at) {
            let piece = match part {
                Part::Tick(piece) => piece,
                Part::Head(piece) => {
                    if !peers.answers.is_empty() {
                        run.flush(&input, output);
                        output.append(&mut peers.answers);
                    }
                    self.scan = Some(Scan::default());
                    let message = &piece.bytes(&input)[LENGTH..];
                    self.learn(message.get(1..).unwrap_or_default(), &mut peers, now);
                    learn_from_control(message, self.packets.left() == 0, &mut peers, now);
                    piece
                }
                Part::More(piece) => {
                    self.learn(piece.bytes(&input), &mut peers, now);
                    piece
                }
            };
            run.push(piece, &input, output);
        }
        run.flush(&input, output);
        if self.packets.left() == 0 && self.handshake.is_none() {
            output.append(&mut peers.answers);
        }
        Ok(())
    }

    /// Answers to the pod that have to be sent now; none in the middle of a message, whose end brings them along.
    pub fn answers(&mut self) -> Vec<Bytes> {
        if self.packets.left() > 0 || self.handshake.is_some() {
            return vec![];
        }
        std::mem::take(&mut self.shared.peers().answers)
    }

    /// What the local node sends is not refused: what cannot be read gives out nothing.
    fn learn(&mut self, bytes: &[u8], peers: &mut Peers, now: Instant) {
        let Some(scan) = &mut self.scan else { return };
        let Peers { name, given, .. } = peers;
        let Some(name) = name else { return };
        let mut see = |token: &Token| {
            match token {
                Token::Pid(pid) if pid.node.is(name) => given.give_process((*pid).into(), now),
                Token::Reference(reference) if reference.node.is(name) => {
                    given.give_alias((*reference).into(), now);
                }
                _ => {}
            }
            Ok::<_, Error>(())
        };
        if scan.feed(bytes, &mut see).is_err() {
            self.scan = None;
        }
    }
}

/// Group leaders, and what ends.
fn learn_from_control(message: &[u8], complete: bool, peers: &mut Peers, now: Instant) {
    let Ok(control) = Control::read(message, complete) else { return };
    let process = |at| match control.token(at) {
        Some(Token::Pid(pid)) if peers.name.as_deref().is_some_and(|name| pid.node.is(name)) => {
            Some(pid.into())
        }
        _ => None,
    };
    let alias = |at| match control.token(at) {
        Some(Token::Reference(reference)) => Some(reference.into()),
        _ => None,
    };
    match control.operation {
        Operation::SpawnRequest => {
            let _ = process(3).map(|leader| peers.given.give_group_leader(leader, now));
        }
        Operation::GroupLeader => {
            let _ = process(1).map(|leader| peers.given.give_group_leader(leader, now));
        }
        Operation::Exit | Operation::MonitorExit => {
            let _ = process(1).map(|ended| peers.given.end_process(ended, now));
        }
        Operation::Demonitor => {
            let _ = alias(3).map(|alias| peers.given.forget_alias(&alias));
        }
        _ => {}
    }
}

/// The direction from the pod.
#[derive(Debug)]
pub struct FromPod {
    shared: Arc<Shared>,
    handshake: Option<Handshake>,
    packets: Packets,
    /// `None` in a message that does not pass.
    scan: Option<Scan>,
    printer: Option<&'static str>,
    /// Whether the current message needs the end of a list after it.
    ends_list: bool,
}

/// What becomes of the beginning of a message.
enum Head {
    Passes,
    Becomes(Bytes),
    Dropped,
}

impl FromPod {
    /// Adds the bytes that pass to `output`. Whether there are answers to the pod: see [`ToPod::answers`].
    ///
    /// # Errors
    /// [`Closed`] for what is not a node, and if the session has failed.
    pub fn pass(&mut self, input: Bytes, output: &mut Vec<Bytes>) -> Result<bool, Closed> {
        let shared = self.shared.clone();
        let input = shared.shake(&mut self.handshake, input, output)?;
        let (mut at, mut run) = (0, Output::default());
        while let Some(part) = self.packets.next(&input, &mut at) {
            let passed = match part {
                Part::Tick(piece) => Ok(Some(piece)),
                Part::Head(piece) => {
                    let head = self.head(&piece.bytes(&input)[LENGTH..]);
                    head.map(|head| match head {
                        Head::Passes => Some(piece),
                        Head::Becomes(bytes) => Some(Piece::Held(bytes)),
                        Head::Dropped => None,
                    })
                }
                Part::More(piece) => {
                    let read = self.read(piece.bytes(&input));
                    read.map(|()| self.scan.is_some().then_some(piece))
                }
            };
            match passed {
                Ok(Some(piece)) => {
                    run.push(piece, &input, output);
                    if self.packets.left() == 0 && std::mem::take(&mut self.ends_list) {
                        run.push(Piece::Held(Bytes::from_static(NIL)), &input, output);
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    self.shared.session.fail(error);
                    return Err(Closed);
                }
            }
        }
        run.flush(&input, output);
        Ok(!shared.peers().answers.is_empty())
    }

    fn head(&mut self, message: &[u8]) -> Result<Head, Error> {
        let (left, limit) = (self.packets.left(), self.shared.session.limits.message);
        let size = message.len() + left;
        if size > limit {
            return Err(Error::MessageTooLarge { size, limit });
        }
        let control = Control::read(message, left == 0)?;
        let head = match self.judge(&control) {
            Verdict::Pass => Head::Passes,
            Verdict::Rewrite(rewritten) => {
                self.ends_list = rewritten.ends_list;
                Head::Becomes(rewrite(message, left, &rewritten))
            }
            Verdict::Ignore => Head::Dropped,
            Verdict::Refuse(refusal) => {
                self.shared.session.refuse(refusal);
                Head::Dropped
            }
            Verdict::Answer(answer, refusal) => {
                self.answer(answer);
                let _ = refusal.map(|refusal| self.shared.session.refuse(refusal));
                Head::Dropped
            }
        };
        self.scan = if matches!(head, Head::Dropped) { None } else { Some(Scan::default()) };
        self.read(&message[1..])?;
        Ok(head)
    }

    fn judge(&self, control: &Control) -> Verdict {
        let session = &self.shared.session;
        let mut peers = self.shared.peers();
        let Peers { name, given, .. } = &mut *peers;
        let (name, printer) = (name.as_deref(), self.printer);
        let mut local = Local { name, printer, given, session, now: Instant::now() };
        local.judge(control)
    }

    fn answer(&self, answer: Bytes) {
        let answers = &mut self.shared.peers().answers;
        if answers.iter().map(Bytes::len).sum::<usize>() + answer.len() <= MAX_ANSWERS {
            answers.push(answer);
        }
    }

    /// Counts the atoms of a message that passes, and checks that OTP can decode it.
    fn read(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let Some(scan) = &mut self.scan else { return Ok(()) };
        let session = &self.shared.session;
        let mut see = |token: &Token| match token {
            Token::Atom(atom) | Token::Port(atom) => session.see_atom(atom),
            Token::Pid(pid) => session.see_atom(&pid.node),
            Token::Reference(reference) => session.see_atom(&reference.node),
            _ => Ok(()),
        };
        scan.feed(bytes, &mut see)?;
        if self.packets.left() == 0 && !scan.is_complete() {
            Err("length of a message".into())
        } else {
            Ok(())
        }
    }
}

/// The beginning of a packet with another request. The request is the last term of a message, of which `left` bytes
/// have not arrived.
fn rewrite(message: &[u8], left: usize, rewritten: &Rewritten) -> Bytes {
    let Rewritten { head, replaced, length, ends_list } = rewritten;
    let (before, request) = message.split_at(message.len() - length);
    let after = &request[*replaced..];
    let size = before.len() + head.len() + after.len() + left + usize::from(*ends_list);
    let size = u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes();
    Bytes::from([&size, before, head, after].concat())
}

#[cfg(test)]
mod tests;
