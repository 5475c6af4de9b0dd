//! Makes the two nodes of a connection hidden to each other: `global` in a cluster may disconnect its nodes
//! when a visible node on a laptop joins. In the handshake both sides send the flag `DFLAG_PUBLISHED`, which no
//! digest covers. It is cleared in both directions.
//!
//! The protocol: <https://www.erlang.org/doc/apps/erts/erl_dist_protocol.html#distribution-handshake>.

use bytes::{Bytes, BytesMut};

/// `DFLAG_PUBLISHED`, in the last byte of the flags.
const PUBLISHED: u8 = 1;
/// The longest message of the handshake up to the flags, with a name of 255 characters. The first two letters of
/// a text, as a length, are more than that.
const MAX_MESSAGE: u16 = 1 + 8 + 4 + 4 + 2 + 4 * 255;

/// The filters of the two directions of a connection.
#[derive(Debug)]
pub struct Filters {
    /// From the client.
    pub to_pod: Filter,
    /// From the node in the pod.
    pub from_pod: Filter,
}

impl Filters {
    /// Filters that change nothing.
    #[must_use]
    pub fn none() -> Self {
        let filter = || Filter { status: false, next: Next::Other };
        Self { to_pod: filter(), from_pod: filter() }
    }

    /// Filters that make both sides hidden.
    #[must_use]
    pub fn hidden() -> Self {
        let filter = |status| Filter { status, next: Next::Head(Vec::new()) };
        Self { to_pod: filter(false), from_pod: filter(true) }
    }
}

/// Clears the flag in one direction. It delays nothing, and does not change what is not a handshake.
#[derive(Debug)]
pub struct Filter {
    /// Whether a status may precede the message with the flags.
    status: bool,
    next: Next,
}

/// What the next bytes are.
#[derive(Debug)]
enum Next {
    /// A message: the received part of its length (two bytes) and tag.
    Head(Vec<u8>),
    /// The rest of a status, in bytes. A message follows.
    Status(u16),
    /// The number of bytes before the one with the flag.
    Flags(u16),
    /// Bytes that do not change.
    Other,
}

impl Filter {
    /// The bytes to pass on.
    #[must_use]
    pub fn pass(&mut self, bytes: Bytes) -> Bytes {
        if matches!(self.next, Next::Other) {
            return bytes;
        }
        match bytes.iter().position(|byte| self.is_flag_byte(*byte)) {
            Some(at) => clear_flag(bytes, at),
            None => bytes,
        }
    }

    /// Processes the next byte. Whether it is the one with the flag.
    fn is_flag_byte(&mut self, byte: u8) -> bool {
        let next = match &mut self.next {
            Next::Flags(0) => {
                self.next = Next::Other;
                return true;
            }
            Next::Flags(left) => Next::Flags(*left - 1),
            Next::Status(1) => Next::Head(Vec::new()),
            Next::Status(left) => Next::Status(*left - 1),
            Next::Head(head) => {
                head.push(byte);
                let [high, low, tag] = head[..] else { return false };
                after_head(u16::from_be_bytes([high, low]), tag, self.status)
            }
            Next::Other => return false,
        };
        self.next = next;
        false
    }
}

fn after_head(length: u16, tag: u8, status: bool) -> Next {
    match tag {
        _ if length > MAX_MESSAGE => Next::Other,
        b's' if status && length > 1 => Next::Status(length - 1),
        // Eight bytes of flags.
        b'N' if length > 8 => Next::Flags(7),
        // Before OTP 23: two bytes of a version, four of flags.
        b'n' if length > 6 => Next::Flags(5),
        _ => Next::Other,
    }
}

fn clear_flag(bytes: Bytes, at: usize) -> Bytes {
    let mut bytes = BytesMut::from(bytes);
    if let Some(byte) = bytes.get_mut(at) {
        *byte &= !PUBLISHED;
    }
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All bits are set.
    const FLAGS: [u8; 8] = [0xff; 8];

    fn message(body: &[&[u8]]) -> Vec<u8> {
        let body = body.concat();
        let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
        [&length.to_be_bytes(), &body[..]].concat()
    }

    fn new_name() -> Vec<u8> {
        message(&[b"N", &FLAGS, &[1; 4], b"\0\x05a@b.c"])
    }

    fn old_name() -> Vec<u8> {
        message(&[b"n", &[0, 5], &FLAGS[..4], b"a@b.c"])
    }

    fn new_challenge() -> Vec<u8> {
        message(&[b"N", &FLAGS, &[1; 8], b"\0\x05a@b.c"])
    }

    fn old_challenge() -> Vec<u8> {
        message(&[b"n", &[0, 5], &FLAGS[..4], &[1; 4], b"a@b.c"])
    }

    fn client() -> Filter {
        Filters::hidden().to_pod
    }

    fn server() -> Filter {
        Filters::hidden().from_pod
    }

    fn pass(mut filter: Filter, pieces: &[&[u8]]) -> Vec<u8> {
        let pieces = pieces.iter().map(|piece| filter.pass(Bytes::copy_from_slice(piece)));
        pieces.collect::<Vec<_>>().concat()
    }

    /// Checks that the byte at this position changes from 0xff to 0xfe, however the input is split.
    fn check(filter: fn() -> Filter, input: &[u8], at: usize) {
        let mut expected = input.to_vec();
        assert_eq!(expected[at], 0xff);
        expected[at] = 0xfe;
        for cut in 0..=input.len() {
            assert_eq!(pass(filter(), &[&input[..cut], &input[cut..]]), expected, "cut at {cut}");
        }
        let single: Vec<_> = input.chunks(1).collect();
        assert_eq!(pass(filter(), &single), expected);
    }

    #[test]
    fn a_name_is_hidden_however_it_is_split() {
        // After the handshake, bytes that look like another one.
        check(client, &[new_name(), new_name()].concat(), 2 + 8);
        check(client, &[old_name(), old_name(), new_name()].concat(), 2 + 6);
    }

    #[test]
    fn a_challenge_is_hidden_however_it_is_split_and_whatever_the_status() {
        let named = message(&[b"snamed:", b"\0\x05a@b.c", &[1; 4]]);
        for status in [&b"\0\x03sok"[..], b"\0\x10sok_simultaneous", b"\0\x06salive", &named] {
            for (challenge, at) in [(new_challenge(), 8), (old_challenge(), 6)] {
                let rest = [new_challenge(), message(&[b"a", &[9; 16]])].concat();
                check(server, &[status, &challenge, &rest].concat(), status.len() + 2 + at);
            }
        }
    }

    #[test]
    fn a_cleared_flag_stays_cleared() {
        let mut name = new_name();
        name[2 + 8] = 0xfe;
        assert_eq!(pass(client(), &[&name]), name);
    }

    #[test]
    fn junk_passes_as_it_is() {
        let short = [message(&[b"N", &FLAGS[..7]]), new_name()].concat();
        let long = [message(&[b"N", &[0xff; 2000]]), new_name()].concat();
        let empty = [message(&[]), new_name()].concat();
        let status = [message(&[b"s"]), new_challenge()].concat();
        let text = b"CONNECT pod:443 HTTP/1.1\r\n\r\n".to_vec();
        for input in [short, long, empty, status, text, vec![0xff; 64], vec![0], vec![]] {
            for filter in [client, server] {
                for cut in 0..=input.len() {
                    assert_eq!(pass(filter(), &[&input[..cut], &input[cut..]]), input);
                }
            }
        }
        // Only the server sends a status.
        let status = [message(&[b"sok"]), new_name()].concat();
        assert_eq!(pass(client(), &[&status]), status);
    }

    #[test]
    fn after_the_handshake_nothing_is_copied() {
        let mut filter = client();
        assert_ne!(filter.pass(new_name().into()), new_name());
        for mut filter in [filter, Filters::none().to_pod] {
            let bytes = Bytes::from(new_name());
            let passed = filter.pass(bytes.clone());
            assert_eq!(passed.as_ptr(), bytes.as_ptr());
            assert_eq!(passed, bytes);
        }
    }
}
