//! What the local node sends: it passes, and tells what the pod is told of.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;

use super::{
    Closed, Peers, Shared,
    control::{Control, Operation},
    handshake::Handshake,
    packets::{LENGTH, Output, Packets, Part},
    scan::Scan,
    session::Error,
    term::Token,
};

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
    pub(super) fn new(shared: Arc<Shared>, visible: bool) -> Self {
        let handshake = Some(Handshake::to_pod(visible));
        Self { shared, handshake, packets: Packets::default(), scan: None }
    }

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
        Operation::Monitor => {
            let _ = alias(3).map(|alias| peers.given.give_monitor(alias, now));
        }
        Operation::Demonitor => {
            let _ = alias(3).map(|alias| peers.given.forget_alias(&alias));
        }
        _ => {}
    }
}
