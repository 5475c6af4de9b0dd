//! What the node in the pod sends: it passes, or it is refused.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;

use super::{
    Closed, Peers, Shared,
    audit::Entry,
    capabilities::Named,
    control::Control,
    handshake::Handshake,
    io_request::Rewritten,
    packets::{LENGTH, Output, Packets, Part, Piece},
    policy::{Local, Verdict},
    scan::Scan,
    session::Error,
    term::{Atom, Token},
};

/// The empty list, in the external format.
const NIL: &[u8] = &[106];
/// Answers that wait for the pod to read. More are dropped.
pub(super) const MAX_ANSWERS: usize = 256 * 1024;

/// The direction from the pod.
#[derive(Debug)]
pub struct FromPod {
    shared: Arc<Shared>,
    handshake: Option<Handshake>,
    packets: Packets,
    /// `None` in a message that does not pass.
    scan: Option<Scan>,
    /// The module that prints text.
    pub(super) printer: Option<&'static str>,
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
    pub(super) fn new(shared: Arc<Shared>, visible: bool, printer: Option<&'static str>) -> Self {
        let handshake = Some(Handshake::from_pod(visible));
        Self {
            shared,
            handshake,
            packets: Packets::default(),
            scan: None,
            printer,
            ends_list: false,
        }
    }

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

    /// Replies to the local node that have to be written now; none in the middle of a message, whose end brings them
    /// along.
    pub fn replies(&mut self) -> Vec<Bytes> {
        if self.packets.left() > 0 || self.ends_list || self.handshake.is_some() {
            return vec![];
        }
        std::mem::take(&mut self.shared.peers().replies)
    }

    /// What has to be in the audit log before the output is sent.
    pub fn entries(&mut self) -> Vec<Entry> {
        self.shared.entries()
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
        let Peers { name, given, trail, .. } = &mut *peers;
        let (name, printer) = (name.as_deref(), self.printer);
        let mut local = Local { name, printer, given, session, now: Instant::now() };
        let verdict = local.judge(control);
        if let Some(trail) = trail.as_mut().filter(|_| verdict == Verdict::Pass) {
            trail.result(control);
        }
        verdict
    }

    fn answer(&self, answer: Bytes) {
        let answers = &mut self.shared.peers().answers;
        if answers.iter().map(Bytes::len).sum::<usize>() + answer.len() <= MAX_ANSWERS {
            answers.push(answer);
        }
    }

    /// Counts the atoms of a message that passes, notes the processes and aliases that it names, and checks that OTP can
    /// decode it.
    fn read(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let Some(scan) = &mut self.scan else { return Ok(()) };
        let session = &self.shared.session;
        let mut peers = self.shared.peers();
        let (Peers { name, given, .. }, now) = (&mut *peers, Instant::now());
        let mut note = |node: &Atom, named| {
            if !name.as_deref().is_some_and(|name| node.is(name)) || given.name(named, now) {
                Ok(())
            } else {
                Err(Error::from("too many processes and aliases that it was not told of"))
            }
        };
        let mut see = |token: &Token| match token {
            Token::Atom(atom) | Token::Port(atom) => session.see_atom(atom),
            Token::Pid(pid) => {
                session.see_atom(&pid.node)?;
                note(&pid.node, Named::Process((*pid).into()))
            }
            Token::Reference(reference) => {
                session.see_atom(&reference.node)?;
                note(&reference.node, Named::Alias((*reference).into()))
            }
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

/// The beginning of a packet with another request. The request is the last term of a message. `left` bytes of the
/// message have not arrived.
fn rewrite(message: &[u8], left: usize, rewritten: &Rewritten) -> Bytes {
    let Rewritten { head, replaced, length, ends_list } = rewritten;
    let (before, request) = message.split_at(message.len() - length);
    let after = &request[*replaced..];
    let size = before.len() + head.len() + after.len() + left + usize::from(*ends_list);
    let size = u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes();
    Bytes::from([&size, before, head, after].concat())
}
