//! The handshake of one direction, message by message. It changes the [`flags`] and the digests ([`cookies`]), and learns
//! the names of the nodes.
//!
//! <https://www.erlang.org/doc/apps/erts/erl_dist_protocol.html#distribution-handshake>

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};

pub mod cookies;
mod flags;

use cookies::Exchange;
pub(super) use flags::Flags;

/// The longest message: flags, challenge, creation and a name of 255 characters.
const MAX_LENGTH: usize = 1 + 8 + 4 + 4 + 2 + 4 * 255;
/// Bytes of a length.
const LENGTH: usize = 2;

/// The messages that one side sends.
#[derive(Debug)]
pub(super) struct Handshake {
    next: Next,
    input: BytesMut,
    flags: Flags,
    exchange: Option<Arc<Exchange>>,
    name: Option<String>,
    peer: Option<String>,
}

/// What the next message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// From the local node: its name and flags.
    Name,
    /// The flags that an old form of the name has no room for, or the answer to `alive`, or the reply.
    Reply,
    /// From the pod.
    Status,
    Challenge,
    Acknowledgement,
    Done,
}

impl Handshake {
    /// What the local node sends.
    pub fn to_pod(flags: Flags) -> Self {
        Self {
            next: Next::Name,
            input: BytesMut::new(),
            flags,
            exchange: None,
            name: None,
            peer: None,
        }
    }

    /// What the node in the pod sends.
    pub fn from_pod(flags: Flags) -> Self {
        Self { next: Next::Status, ..Self::to_pod(flags) }
    }

    /// Also replaces the digests. Both directions have the same exchange.
    pub fn with_cookies(self, exchange: Option<Arc<Exchange>>) -> Self {
        Self { exchange, ..self }
    }

    /// The complete messages with other flags; then, when the handshake is over, the bytes after it. `None` for what
    /// neither side sends.
    pub fn pass(&mut self, bytes: &Bytes) -> Option<(Bytes, Option<Bytes>)> {
        self.input.extend_from_slice(bytes);
        let mut output = BytesMut::new();
        while self.next != Next::Done {
            let Some(length) = self.input.first_chunk::<LENGTH>() else { break };
            let length = usize::from(u16::from_be_bytes(*length));
            if length > MAX_LENGTH {
                return None;
            }
            if self.input.len() < LENGTH + length {
                break;
            }
            output.extend_from_slice(&self.input.split_to(LENGTH));
            let message = self.input.split_to(length);
            output.unsplit(self.message(message)?);
        }
        let rest = (self.next == Next::Done).then(|| self.input.split().freeze());
        Some((output.freeze(), rest))
    }

    /// The name of the local node, as its own message or the pod's answer has it.
    pub fn take_name(&mut self) -> Option<String> {
        self.name.take()
    }

    /// The name of the node in the pod, as it says itself.
    pub fn take_peer(&mut self) -> Option<String> {
        self.peer.take()
    }

    fn message(&mut self, message: BytesMut) -> Option<BytesMut> {
        let tag = *message.first()?;
        let (next, changed) = match (self.next, tag) {
            (Next::Name, b'N') => {
                self.name = name(&message, 1 + 8 + 4);
                (Next::Reply, self.with_flags(message)?)
            }
            (Next::Name, b'n') => {
                self.name = message.get(1 + 2 + 4..).and_then(text);
                (Next::Reply, self.with_old_flags(message)?)
            }
            // Whether to go on, as there is a connection between the two already
            (Next::Reply, b's') => (Next::Reply, message),
            (Next::Reply, b'c') => (Next::Reply, self.with_high_flags(message)?),
            (Next::Status, b's') => {
                if let Some(named) = message.strip_prefix(b"snamed:") {
                    self.name = name(named, 0);
                }
                (Next::Challenge, message)
            }
            (Next::Challenge, b'N') => {
                self.challenged(&message, 1 + 8);
                self.peer = name(&message, 1 + 8 + 4 + 4);
                (Next::Acknowledgement, self.with_flags(message)?)
            }
            (Next::Challenge, b'n') => {
                self.challenged(&message, 1 + 2 + 4);
                self.peer = message.get(1 + 2 + 4 + 4..).and_then(text);
                (Next::Acknowledgement, self.with_old_flags(message)?)
            }
            (Next::Reply, b'r') => (Next::Done, self.replied(message)),
            (Next::Acknowledgement, b'a') => (Next::Done, self.acknowledged(message)),
            _ => return None,
        };
        self.next = next;
        Some(changed)
    }

    fn with_flags(&self, mut message: BytesMut) -> Option<BytesMut> {
        let flags = message.get(1..9)?.try_into().ok()?;
        let flags = self.flags.of(u64::from_be_bytes(flags));
        message.get_mut(1..9)?.copy_from_slice(&flags.to_be_bytes());
        Some(message)
    }

    /// Before OTP 23: two bytes of a version, and four of flags.
    fn with_old_flags(&self, mut message: BytesMut) -> Option<BytesMut> {
        let flags: [u8; 4] = message.get(3..7)?.try_into().ok()?;
        let flags = self.flags.of(u32::from_be_bytes(flags).into()).to_be_bytes();
        message.get_mut(3..7)?.copy_from_slice(&flags[4..]);
        Some(message)
    }

    /// The upper half of the flags, after the old form of the name.
    fn with_high_flags(&self, mut message: BytesMut) -> Option<BytesMut> {
        let flags: [u8; 4] = message.get(1..5)?.try_into().ok()?;
        let flags = self.flags.of(u64::from(u32::from_be_bytes(flags)) << 32).to_be_bytes();
        message.get_mut(1..5)?.copy_from_slice(&flags[..4]);
        Some(message)
    }

    fn challenged(&self, message: &[u8], at: usize) {
        if let (Some(exchange), Some(challenge)) = (&self.exchange, number(message, at)) {
            exchange.challenged(challenge);
        }
    }

    /// A challenge of the local node, and the digest of the pod's.
    fn replied(&self, message: BytesMut) -> BytesMut {
        match (&self.exchange, number(&message, 1)) {
            (Some(exchange), Some(challenge)) => {
                with_digest(message, 1 + 4, |digest| exchange.reply(challenge, digest))
            }
            _ => message,
        }
    }

    fn acknowledged(&self, message: BytesMut) -> BytesMut {
        match &self.exchange {
            Some(exchange) => with_digest(message, 1, |digest| exchange.acknowledge(digest)),
            None => message,
        }
    }
}

/// What has no digest at this place stays as it is.
fn with_digest(
    mut message: BytesMut,
    at: usize,
    change: impl FnOnce(cookies::Digest) -> cookies::Digest,
) -> BytesMut {
    if let Some(place) = message.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *place = change(*place);
    }
    message
}

fn number(message: &[u8], at: usize) -> Option<u32> {
    message.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// A name after two bytes of its length.
fn name(message: &[u8], at: usize) -> Option<String> {
    let mut rest = message.get(at..)?;
    let length = rest.try_get_u16().ok()?;
    rest.get(..length.into()).and_then(text)
}

fn text(name: &[u8]) -> Option<String> {
    str::from_utf8(name).ok().map(String::from)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use md5::{Digest as _, Md5};

    use super::*;

    const ALL: [u8; 8] = [0xff; 8];
    /// The output, the rest, and the name.
    type Passed = (Vec<u8>, Option<Vec<u8>>, Option<String>);

    fn message(parts: &[&[u8]]) -> Vec<u8> {
        let body = parts.concat();
        [&u16::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat()
    }

    fn changed(visible: bool) -> [u8; 8] {
        Flags::Guarded { visible }.of(u64::MAX).to_be_bytes()
    }

    /// Cuts the input everywhere.
    fn pass(new: fn(Flags) -> Handshake, input: &[u8]) -> Option<Passed> {
        let cut = |at: usize| {
            let mut handshake = new(Flags::Guarded { visible: false });
            let first = handshake.pass(&Bytes::copy_from_slice(&input[..at]))?;
            let (mut output, mut rest) = (first.0.to_vec(), first.1.map(|rest| rest.to_vec()));
            let second = Bytes::copy_from_slice(&input[at..]);
            if let Some(rest) = &mut rest {
                rest.extend(second);
            } else {
                let second = handshake.pass(&second)?;
                output.extend(second.0);
                rest = second.1.map(|rest| rest.to_vec());
            }
            Some((output, rest, handshake.take_name()))
        };
        let whole = cut(input.len());
        for at in 0..input.len() {
            assert_eq!(cut(at), whole, "cut at {at}");
        }
        whole
    }

    #[test]
    fn both_sides_see_other_flags_however_the_handshake_is_cut() {
        let name = |flags: &[u8]| message(&[b"N", flags, &[0; 4], b"\0\x03a@b"]);
        let reply = message(&[b"r", &[1; 20]]);
        let output = pass(Handshake::to_pod, &[&name(&ALL)[..], &reply, b"\0\0\0\0"].concat());
        let expected = [name(&changed(false)), reply.clone()].concat();
        assert_eq!(output, Some((expected, Some(vec![0; 4]), Some("a@b".into()))));

        let challenge = |flags: &[u8]| message(&[b"N", flags, &[0; 8], b"\0\x03p@q"]);
        let ack = message(&[b"a", &[1; 16]]);
        for (status, name) in
            [(&b"sok"[..], None), (b"snamed:\0\x03n@m\0\0\0\x01", Some("n@m".to_owned()))]
        {
            let status = message(&[status]);
            let output = pass(Handshake::from_pod, &[&status[..], &challenge(&ALL), &ack].concat());
            let expected = [&status[..], &challenge(&changed(false)), &ack].concat();
            assert_eq!(output, Some((expected, Some(vec![]), name)));
        }
    }

    #[test]
    fn the_old_form_has_its_flags_in_two_messages() {
        let old = |flags: &[u8]| message(&[b"n\0\x05", flags, b"a@b"]);
        let high = |flags: &[u8]| message(&[b"c", flags, &[0; 4]]);
        let reply = message(&[b"r", &[1; 20]]);
        let input = [&old(&ALL[..4])[..], &high(&ALL[..4]), &reply].concat();
        let flags = changed(false);
        let expected = [&old(&flags[4..])[..], &high(&flags[..4]), &reply].concat();
        assert_eq!(
            pass(Handshake::to_pod, &input),
            Some((expected, Some(vec![]), Some("a@b".into())))
        );
    }

    #[test]
    fn an_answer_to_alive_is_no_end() {
        let name = message(&[b"N", &ALL, &[0; 4], b"\0\x03a@b"]);
        let (_output, rest, _name) =
            pass(Handshake::to_pod, &[name, message(&[b"strue"])].concat()).unwrap();
        assert_eq!(rest, None);
    }

    #[test]
    fn what_is_no_handshake_does_not_pass() {
        for input in
            [&b"HTTP/1.1 400 Bad Request"[..], b"\0\0", b"\0\x01N", b"\0\x02xx", b"\0\x03aok"]
        {
            assert_eq!(pass(Handshake::from_pod, input), None, "{input:?}");
            assert_eq!(pass(Handshake::to_pod, input), None, "{input:?}");
        }
        let twice = [message(&[b"sok"]), message(&[b"sok"])].concat();
        assert_eq!(pass(Handshake::from_pod, &twice), None);
    }

    #[test]
    fn a_visible_node_stays_visible() {
        let name = message(&[b"N", &ALL, &[0; 4], b"\0\x03a@b"]);
        let (output, _rest) =
            Handshake::to_pod(Flags::Guarded { visible: true }).pass(&name.into()).unwrap();
        assert_eq!(output[3..11], changed(true));
    }

    #[test]
    fn in_front_of_a_trusted_pod_only_the_flag_of_a_visible_node_changes() {
        let name = message(&[b"N", &ALL, &[0; 4], b"\0\x03a@b"]);
        let (output, _rest) = Handshake::to_pod(Flags::Hidden).pass(&name.clone().into()).unwrap();
        assert_eq!(output[3..11], (u64::MAX - 1).to_be_bytes());
        let (output, _rest) = Handshake::to_pod(Flags::All).pass(&name.clone().into()).unwrap();
        assert_eq!(output, name);
    }

    #[test]
    fn the_digests_are_replaced() {
        let exchange = cookies::Cookies::new(b"node", "local").exchange();
        let digest = |cookie: &str, challenge: u32| -> Vec<u8> {
            Md5::digest(format!("{cookie}{challenge}")).to_vec()
        };
        for (tag, before) in [(b"N", [0; 8].to_vec()), (b"n", [0; 6].to_vec())] {
            let flags = Flags::Hidden;
            let mut from_pod = Handshake::from_pod(flags).with_cookies(Some(exchange.clone()));
            let mut to_pod = Handshake::to_pod(flags).with_cookies(Some(exchange.clone()));
            let challenge = 4_000_000_000_u32.to_be_bytes();
            let challenge = message(&[tag, &before, &challenge, &[0; 4], b"\0\x03p@q"]);
            from_pod.pass(&[message(&[b"sok"]), challenge].concat().into()).unwrap();
            let name = message(&[b"N", &ALL, &[0; 4], b"\0\x03a@b"]);
            to_pod.pass(&name.into()).unwrap();
            let reply =
                |cookie| message(&[b"r", &5_u32.to_be_bytes(), &digest(cookie, 4_000_000_000)]);
            let (output, _rest) = to_pod.pass(&reply("local").into()).unwrap();
            assert_eq!(output, reply("node"));
            let ack = |cookie| message(&[b"a", &digest(cookie, 5)]);
            let (output, _rest) = from_pod.pass(&ack("node").into()).unwrap();
            assert_eq!(output, ack("local"));
        }
    }
}
