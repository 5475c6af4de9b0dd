//! Messages of the local node. They pass, and give out the processes and aliases that they name. In a read-only session,
//! some do not pass.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;

use super::{
    super::handshake::Handshake,
    Closed, Peers, Shared,
    audit::Entry,
    capabilities::{Alias, Monitor, Named, Process, Spawn},
    control::{Control, Operation},
    io_request::Cursor,
    packets::{LENGTH, Output, Packets, Part},
    payload::{Tag, tag_of},
    read_only::{Instead, instead},
    refusal::{Kind, Refusal},
    request::Request,
    scan::Scan,
    session::{Error, Session},
    term::{Item, Reference, Token},
};

/// The direction to the pod.
#[derive(Debug)]
pub struct ToPod {
    shared: Arc<Shared>,
    pub(super) handshake: Option<Handshake>,
    packets: Packets,
    /// `None` for what is not read.
    scan: Option<Scan>,
    /// The next processes of the message that only wait for its answer.
    callers: usize,
    /// The next references of the message that are tags of its answer.
    tags: usize,
    /// Whether the group leader of a call of `rpc` is in the rest of the message: its last process.
    leader_comes: bool,
    /// The last process of the message, if it is one of the local node.
    last: Option<Process>,
    /// Whether the current message leaves.
    passes: bool,
}

impl ToPod {
    pub(super) fn new(shared: Arc<Shared>, handshake: Handshake) -> Self {
        Self {
            shared,
            handshake: Some(handshake),
            packets: Packets::default(),
            scan: None,
            callers: 0,
            tags: 0,
            leader_comes: false,
            last: None,
            passes: true,
        }
    }

    /// Adds the bytes that pass to `output`, and answers to the pod between the messages. Whether there are replies to
    /// the local node: see [`FromPod::replies`].
    ///
    /// # Errors
    /// [`Closed`] for what is not a node.
    pub fn pass(&mut self, input: Bytes, output: &mut Vec<Bytes>) -> Result<bool, Closed> {
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
                    let message = &piece.bytes(&input)[LENGTH..];
                    let control = Control::read(message, self.packets.left() == 0).ok();
                    self.passes = self.may_leave(control.as_ref(), &mut peers);
                    // Of what does not leave nothing is learned.
                    self.scan =
                        control.as_ref().filter(|_| self.passes).map(|_| Scan::of_payload());
                    if let Some(control) = control.filter(|_| self.passes) {
                        learn_from_control(&control, &mut peers, now);
                        let payload = control.payload.unwrap_or_default();
                        let calls = is_message(&control) && is_call(payload);
                        self.callers = usize::from(calls);
                        self.tags = self.callers;
                        if calls && let Some((tag, references)) = tag_of_several(payload) {
                            self.tags = references;
                            give_tag(tag, &mut peers, &self.shared.session, now);
                        }
                        let rex = to_rex(&control);
                        self.leader_comes = rex && calls && self.packets.left() > 0;
                        self.last = None;
                        self.learn(payload, &mut peers, now);
                        if let Some(leader) = leader(payload).filter(|_| rex) {
                            give_group_leader(&leader, &mut peers, now);
                        }
                    }
                    piece
                }
                Part::More(piece) => {
                    self.learn(piece.bytes(&input), &mut peers, now);
                    if self.leader_comes
                        && self.packets.left() == 0
                        && self.scan.is_some()
                        && let Some(leader) = self.last
                    {
                        peers.given.give_group_leader(leader, now);
                    }
                    piece
                }
            };
            if self.passes {
                run.push(piece, &input, output);
            }
            self.passes |= self.packets.left() == 0;
        }
        run.flush(&input, output);
        if self.packets.left() == 0 && self.handshake.is_none() {
            output.append(&mut peers.answers);
        }
        Ok(!peers.replies.is_empty())
    }

    fn may_leave(&self, control: Option<&Control>, peers: &mut Peers) -> bool {
        let calls = self.shared.session.calls.as_ref();
        if calls.is_none() && peers.trail.is_none() {
            return true;
        }
        let request = control.map_or(Request::Unknown, Request::read);
        let leaves = calls.is_none_or(|calls| calls.allow(&request));
        if let Some(trail) = &mut peers.trail {
            trail.request(control, &request, leaves);
        }
        if leaves {
            return true;
        }
        self.shared.session.refuse(Refusal::new(Kind::ReadOnly, &request.to_string()));
        let Instead { to_local, to_pod } = control.map(instead).unwrap_or_default();
        peers.replies.extend(to_local);
        peers.answers.extend(to_pod);
        false
    }

    /// Answers to the pod that have to be sent now; none in the middle of a message, whose end brings them along.
    pub fn answers(&mut self) -> Vec<Bytes> {
        if self.packets.left() > 0 || self.handshake.is_some() {
            return vec![];
        }
        std::mem::take(&mut self.shared.peers().answers)
    }

    /// The entries that have to be in the audit log before the output is sent.
    pub fn entries(&mut self) -> Vec<Entry> {
        self.shared.entries()
    }

    /// A message of the local node is not refused. If it cannot be read, it gives out nothing.
    fn learn(&mut self, bytes: &[u8], peers: &mut Peers, now: Instant) {
        let Self { shared, scan: Some(scan), callers, tags, last, .. } = self else { return };
        let Peers { name, given, .. } = peers;
        let Some(name) = name else { return };
        let session = &shared.session;
        let mut see = |item: &Item, _at: usize| {
            match &item.token {
                Token::Pid(pid) if !pid.node.is(name) => *last = None,
                Token::Pid(pid) => {
                    let process = (*pid).into();
                    *last = Some(process);
                    let named = session.is_named(&Named::Process(process));
                    if *callers == 0 {
                        given.give_process(process, named, now);
                    } else {
                        *callers -= 1;
                        if !named {
                            given.give_caller(process, now);
                        }
                    }
                }
                Token::Reference(_) if *tags > 0 => *tags -= 1,
                Token::Reference(reference) if reference.node.is(name) => {
                    let alias = Alias::from(*reference);
                    given.give_alias(alias, session.is_named(&Named::Alias(alias)), now);
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

/// Whether a payload is a call of a process or of `sys`, whose first process is the caller: `{'$gen_call', {Pid, Tag},
/// Request}`.
fn is_call(payload: &[u8]) -> bool {
    let mut cursor = Cursor::new(payload.get(1..).unwrap_or_default());
    cursor.item() == Some(Token::Tuple(3))
        && matches!(cursor.item(), Some(Token::Atom(tag)) if tag.is("$gen_call") || tag.is("system"))
        && cursor.item() == Some(Token::Tuple(2))
}

/// Whether its payload is a message, and no reason of an exit, which may be the pod's.
fn is_message(control: &Control) -> bool {
    matches!(control.operation, Operation::Send | Operation::SendToName)
}

/// Of a call: the tag, if it is one of several servers, and how many references are in it.
fn tag_of_several(payload: &[u8]) -> Option<(Reference<'_>, usize)> {
    let mut cursor = Cursor::new(payload.get(1..)?);
    for _ in ["the message", "its name", "the sender", "its pid"] {
        cursor.item()?;
    }
    match tag_of(cursor)? {
        (_reference, Tag::Plain) => None,
        (reference, Tag::Node(_)) => Some((reference, 1)),
        (alias, Tag::Monitor(_)) => Some((alias, 2)),
    }
}

/// Unless the pod has named it first.
fn give_tag(tag: Reference, peers: &mut Peers, session: &Session, now: Instant) {
    let alias = Alias::from(tag);
    let is_own = peers.name.as_deref().is_some_and(|name| tag.node.is(name));
    if is_own && !session.is_named(&Named::Alias(alias)) {
        peers.given.give_tag(alias, now);
    }
}

/// Whether a message is for the server of `rpc`.
fn to_rex(control: &Control) -> bool {
    control.operation == Operation::SendToName
        && matches!(control.token(3), Some(Token::Atom(name)) if name.is("rex"))
}

/// The group leader of `{'$gen_call', From, {call | block_call, Module, Function, Arguments, GroupLeader}}`.
fn leader(payload: &[u8]) -> Option<Token<'_>> {
    let mut cursor = Cursor::new(payload.get(1..)?);
    if cursor.item()? != Token::Tuple(3) {
        return None;
    }
    let (_tag, _from) = (cursor.term()?, cursor.term()?);
    if cursor.item()? != Token::Tuple(5) {
        return None;
    }
    for _ in 0..4 {
        cursor.term()?;
    }
    cursor.item()
}

fn give_group_leader(leader: &Token, peers: &mut Peers, now: Instant) {
    if let Token::Pid(pid) = leader
        && peers.name.as_deref().is_some_and(|name| pid.node.is(name))
    {
        peers.given.give_group_leader((*pid).into(), now);
    }
}

/// Learns the sender, group leaders, monitors and ends of processes from a control term. Other elements may repeat
/// identifiers that the pod has sent.
fn learn_from_control(control: &Control, peers: &mut Peers, now: Instant) {
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
    let given = &mut peers.given;
    match control.operation {
        Operation::SpawnRequest => {
            let _ = process(2).map(|caller| given.give_caller(caller, now));
            let _ = process(3).map(|leader| given.give_group_leader(leader, now));
            let _ = alias(1).map(|alias| given.give_alias(alias, false, now));
            if let (Some(request), Some(parent)) = (alias(1), process(2)) {
                let spawn = Spawn { parent, link: control.has_option("link") };
                given.await_spawn(request, spawn, now);
                if control.has_option("monitor") {
                    given.give_monitor(request, Monitor { owner: parent, call: false }, now);
                }
            }
        }
        Operation::GroupLeader => {
            let _ = process(1).map(|leader| given.give_group_leader(leader, now));
        }
        Operation::Exit | Operation::MonitorExit => {
            let _ = process(1).map(|ended| given.end_process(ended, now));
        }
        Operation::Monitor => {
            let _ = process(1).map(|caller| given.give_caller(caller, now));
            if let (Some(alias), Some(owner)) = (alias(3), process(1)) {
                given.give_monitor(alias, Monitor { owner, call: true }, now);
            }
        }
        Operation::Demonitor => {
            let _ = alias(3).map(|alias| given.forget_alias(&alias, now));
        }
        Operation::Send
        | Operation::SendToName
        | Operation::AliasSend
        | Operation::Link
        | Operation::ExitSignal => {
            let _ = process(1).map(|sender| given.give_caller(sender, now));
        }
        Operation::SpawnReply | Operation::Unlink | Operation::Other(_) => {}
    }
}
