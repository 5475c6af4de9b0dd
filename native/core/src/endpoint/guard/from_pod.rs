//! Messages of the pod's node. Each passes or is refused.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;

use super::{
    super::handshake::Handshake,
    Closed, Peers, Shared,
    audit::Entry,
    control::Control,
    io_request::Rewritten,
    packets::{LENGTH, Output, Packets, Part, Piece},
    passing::{Passing, change},
    payload::Late,
    policy::{Local, Verdict},
    session::Error,
};

/// The empty list, in the external format.
const NIL: &[u8] = &[106];
/// Answers that wait for the pod to read. More are dropped.
pub(super) const MAX_ANSWERS: usize = 256 * 1024;

/// The direction from the pod.
#[derive(Debug)]
pub struct FromPod {
    shared: Arc<Shared>,
    pub(super) handshake: Option<Handshake>,
    packets: Packets,
    /// `None` in a message that does not pass.
    passing: Option<Passing>,
    /// The module that prints text.
    pub(super) printer: Option<&'static str>,
    /// Whether the current message needs the end of a list after it.
    ends_list: bool,
}

/// What becomes of the beginning of a message.
enum Head {
    Passes(Option<Late>),
    Becomes(Rewritten),
    Dropped,
}

impl FromPod {
    pub(super) fn new(
        shared: Arc<Shared>,
        handshake: Handshake,
        printer: Option<&'static str>,
    ) -> Self {
        Self {
            shared,
            handshake: Some(handshake),
            packets: Packets::default(),
            passing: None,
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
                    head.and_then(|head| self.begin(head, piece, &input))
                }
                Part::More(piece) => self.go_on(piece, &input),
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

    /// The entries that have to be in the audit log before the output is sent.
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
            Verdict::Pass => Head::Passes(None),
            Verdict::Watch(late) => Head::Passes(Some(late)),
            Verdict::Rewrite(rewritten) => Head::Becomes(rewritten),
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
        Ok(head)
    }

    /// The beginning of a message, if it passes.
    fn begin(&mut self, head: Head, piece: Piece, input: &[u8]) -> Result<Option<Piece>, Error> {
        let late = match head {
            Head::Dropped => {
                self.passing = None;
                return Ok(None);
            }
            Head::Passes(late) => late,
            Head::Becomes(_) => None,
        };
        let (mut passing, left) = (Passing::new(late), self.packets.left());
        // The first byte is before the terms.
        let before = LENGTH + 1;
        let marks = self.read(&mut passing, &piece.bytes(input)[before..])?;
        let passed = if let Head::Becomes(rewritten) = head {
            let mut message = piece.bytes(input)[LENGTH..].to_vec();
            change(&mut message[1..], &marks);
            self.ends_list = rewritten.ends_list;
            Piece::Held(passing.hold(rewrite(&message, left, &rewritten)).into())
        } else {
            passing.pass(piece, input, before, &marks)
        };
        self.passing = Some(passing);
        Ok(Some(passed))
    }

    /// The rest of a message, if it passes.
    fn go_on(&mut self, piece: Piece, input: &[u8]) -> Result<Option<Piece>, Error> {
        let Some(mut passing) = self.passing.take() else { return Ok(None) };
        let marks = self.read(&mut passing, piece.bytes(input))?;
        let passed = passing.pass(piece, input, 0, &marks);
        self.passing = Some(passing);
        Ok(Some(passed))
    }

    fn read(&self, passing: &mut Passing, bytes: &[u8]) -> Result<Vec<usize>, Error> {
        let (mut peers, complete) = (self.shared.peers(), self.packets.left() == 0);
        passing.read(bytes, complete, &mut peers, &self.shared.session)
    }

    fn judge(&self, control: &Control) -> Verdict {
        let session = &self.shared.session;
        let mut peers = self.shared.peers();
        let Peers { name, pod, given, trail, .. } = &mut *peers;
        let (name, pod, printer, now) =
            (name.as_deref(), pod.as_deref(), self.printer, Instant::now());
        let mut local = Local { name, pod, printer, given, session, now };
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
}

/// The beginning of a packet with another request. The request is the last term of a message. `left` bytes of the
/// message have not arrived.
fn rewrite(message: &[u8], left: usize, rewritten: &Rewritten) -> Vec<u8> {
    let Rewritten { head, replaced, length, ends_list } = rewritten;
    let (before, request) = message.split_at(message.len() - length);
    let after = request.get(*replaced..).unwrap_or_default();
    let size = before.len() + head.len() + after.len() + left + usize::from(*ends_list);
    let size = u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes();
    [&size, before, head, after].concat()
}
