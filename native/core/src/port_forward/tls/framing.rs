//! The lengths of the messages of the distribution handshake. Over TCP they have two bytes, over TLS four. After the
//! handshake both have four.
//!
//! `{packet, 4}` in `inet_tls_dist`:
//! <https://github.com/erlang/otp/blob/OTP-27.0/lib/ssl/src/inet_tls_dist.erl>

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// More than any message of the handshake.
const MAX_LENGTH: usize = 0xFFFF;

/// Converts one direction of a connection.
pub(super) struct Framing {
    /// Bytes of a length as they arrive.
    from: usize,
    /// Bytes of a length as they are passed on.
    to: usize,
    /// The first byte of the last message of the handshake.
    last: u8,
    input: BytesMut,
    done: bool,
}

impl Framing {
    /// From the local node, whose last message is `challenge_reply`.
    pub fn to_pod() -> Self {
        Self { from: 2, to: 4, last: b'r', input: BytesMut::new(), done: false }
    }

    /// To the local node. The last message is `challenge_ack`.
    pub fn from_pod() -> Self {
        Self { from: 4, to: 2, last: b'a', input: BytesMut::new(), done: false }
    }

    /// The complete messages, converted, and what comes after the handshake, as it is.
    pub fn pass(&mut self, bytes: Bytes) -> Bytes {
        if self.done {
            return bytes;
        }
        self.input.extend_from_slice(&bytes);
        let mut output = BytesMut::new();
        while !self.done && self.input.len() >= self.from {
            let length = (&self.input[..]).get_uint(self.from);
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if length > MAX_LENGTH {
                // Not a handshake. The other side rejects it.
                self.done = true;
            } else if self.input.len() < self.from + length {
                break;
            } else {
                self.input.advance(self.from);
                let message = self.input.split_to(length);
                output.put_uint(length as u64, self.to);
                self.done = message.first() == Some(&self.last);
                output.unsplit(message);
            }
        }
        if self.done {
            output.unsplit(self.input.split());
        }
        output.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cuts the input everywhere.
    fn passed(framing: fn() -> Framing, input: &[u8]) -> Vec<u8> {
        let whole = framing().pass(Bytes::copy_from_slice(input)).to_vec();
        for cut in 0..input.len() {
            let mut framing = framing();
            let mut output = framing.pass(Bytes::copy_from_slice(&input[..cut])).to_vec();
            output.extend(framing.pass(Bytes::copy_from_slice(&input[cut..])));
            assert_eq!(output, whole, "cut at {cut}");
        }
        whole
    }

    #[test]
    fn the_lengths_of_a_handshake_are_converted_and_no_others() {
        let over_tcp = b"\0\x03Nab\0\x02sx\0\x01r\0\0\0\0\0\0\0\x02pq";
        let over_tls = b"\0\0\0\x03Nab\0\0\0\x02sx\0\0\0\x01r\0\0\0\0\0\0\0\x02pq";
        assert_eq!(passed(Framing::to_pod, over_tcp), over_tls);
        let over_tls = b"\0\0\0\x03sok\0\0\0\x02Nx\0\0\0\x02ad\0\0\0\0\0\0\0\x02ar";
        let over_tcp = b"\0\x03sok\0\x02Nx\0\x02ad\0\0\0\0\0\0\0\x02ar";
        assert_eq!(passed(Framing::from_pod, over_tls), over_tcp);
    }

    #[test]
    fn what_is_no_handshake_is_passed_as_it_is() {
        let other = b"HTTP/1.1 400 Bad Request";
        assert_eq!(passed(Framing::from_pod, other), other);
    }
}
