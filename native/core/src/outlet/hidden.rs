//! Makes the two nodes of a connection hidden to each other, whatever they say they are: a visible
//! node on a laptop makes a cluster's nodes drop each other. In the handshake both sides say whether
//! they are published, by one bit that no digest covers; it is cleared in both as it passes.
//!
//! The protocol: <https://www.erlang.org/doc/apps/erts/erl_dist_protocol.html#distribution-handshake>.

use bytes::{Bytes, BytesMut};

/// `DFLAG_PUBLISHED`, in the last byte of the flags.
const PUBLISHED: u8 = 1;
/// No message of the handshake up to the flags is longer: it has a name of at most 255 characters.
/// Text that happens to have the right tag is longer by its first two letters.
const MAX_MESSAGE: u16 = 1 + 8 + 4 + 4 + 2 + 4 * 255;

/// The filters of a connection's two directions.
#[derive(Debug)]
pub struct Filters {
    /// From the one who has connected.
    pub to_pod: Filter,
    /// From the node in the pod.
    pub from_pod: Filter,
}

impl Filters {
    /// Everything passes as it is.
    #[must_use]
    pub fn none() -> Self {
        let filter = || Filter { status: false, next: Next::Nothing };
        Self { to_pod: filter(), from_pod: filter() }
    }

    /// Both sides are hidden.
    #[must_use]
    pub fn hidden() -> Self {
        let filter = |status| Filter { status, next: Next::Head(Vec::new()) };
        Self { to_pod: filter(false), from_pod: filter(true) }
    }
}

/// Passes one direction of a connection on, with the one bit cleared. Nothing is held back, and what
/// does not begin as a handshake does passes as it is.
#[derive(Debug)]
pub struct Filter {
    /// Whether a status comes before the message with the flags.
    status: bool,
    next: Next,
}

/// What comes next.
#[derive(Debug)]
enum Next {
    /// A message; this much has been seen of its two bytes of length and its tag.
    Head(Vec<u8>),
    /// So many bytes of a status, and a message after it.
    Status(u16),
    /// So many bytes, and then the one with the bit.
    Flags(u16),
    /// Nothing that would have to be looked at.
    Nothing,
}

impl Filter {
    /// The bytes as they are to be passed on.
    #[must_use]
    pub fn pass(&mut self, bytes: Bytes) -> Bytes {
        if matches!(self.next, Next::Nothing) {
            return bytes;
        }
        match bytes.iter().position(|byte| self.has_the_bit(*byte)) {
            Some(at) => hide(bytes, at),
            None => bytes,
        }
    }

    /// Takes the next byte, and says whether it is the one.
    fn has_the_bit(&mut self, byte: u8) -> bool {
        let next = match &mut self.next {
            Next::Flags(0) => {
                self.next = Next::Nothing;
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
            Next::Nothing => return false,
        };
        self.next = next;
        false
    }
}

fn after_head(length: u16, tag: u8, status: bool) -> Next {
    match tag {
        _ if length > MAX_MESSAGE => Next::Nothing,
        b's' if status && length > 1 => Next::Status(length - 1),
        // Eight bytes of flags.
        b'N' if length > 8 => Next::Flags(7),
        // Of nodes older than OTP 23: two bytes of a version, four of flags.
        b'n' if length > 6 => Next::Flags(5),
        _ => Next::Nothing,
    }
}

fn hide(bytes: Bytes, at: usize) -> Bytes {
    let mut bytes = BytesMut::from(bytes);
    if let Some(byte) = bytes.get_mut(at) {
        *byte &= !PUBLISHED;
    }
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bits that look published, in every byte.
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

    /// The input with 0xff at one place made 0xfe, in whatever pieces it comes.
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
    fn a_name_is_hidden_however_it_is_cut() {
        // What comes after it looks like another one.
        check(client, &[new_name(), new_name()].concat(), 2 + 8);
        check(client, &[old_name(), old_name(), new_name()].concat(), 2 + 6);
    }

    #[test]
    fn a_challenge_is_hidden_however_it_is_cut_and_whatever_the_status() {
        let named = message(&[b"snamed:", b"\0\x05a@b.c", &[1; 4]]);
        for status in [&b"\0\x03sok"[..], b"\0\x10sok_simultaneous", b"\0\x06salive", &named] {
            for (challenge, at) in [(new_challenge(), 8), (old_challenge(), 6)] {
                let rest = [new_challenge(), message(&[b"a", &[9; 16]])].concat();
                check(server, &[status, &challenge, &rest].concat(), status.len() + 2 + at);
            }
        }
    }

    #[test]
    fn what_is_hidden_already_stays_as_it_is() {
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
        // Only a node says how it finds one.
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
