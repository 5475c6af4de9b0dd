//! The distribution handshake up to the challenge: the node reports its name in it, and no cookie is needed
//! before. We request a name (`NAME_ME`), so that a probe creates no atom in the node.
//!
//! The protocol: <https://www.erlang.org/doc/apps/erts/erl_dist_protocol.html#distribution-handshake>.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::error::Error;
use crate::node_name;

/// Only what OTP 25 and later require. Not published, so hidden.
const FLAGS: u64 = 0x4 // extended references
    | 0x10 | 0x80 // funs
    | 0x100 // extended pids and ports
    | 0x200 // exported funs
    | 0x400 // bit strings
    | 0x800 // new floats
    | 0x1_0000 // UTF-8 atoms
    | 0x2_0000 // maps
    | 0x4_0000 // big creations
    | HANDSHAKE_23
    | 1 << 25 // unlink ids
    | 1 << 26 // the digest of OTP 25's mandatory flags
    | NAME_ME
    | 1 << 34; // 64 bit pids
/// The ones that OTP 22 has.
const FLAGS_OF_OTP_22: u32 = 0x7_0f94;
const HANDSHAKE_23: u64 = 1 << 24;
const NAME_ME: u64 = 1 << 33;
/// The beginning of a TLS alert of any version: the answer of a node that was started with
/// `-proto_dist inet_tls`. No status begins with it: it would be 5379 bytes long.
const TLS_ALERT: [u8; 2] = [0x15, 0x03];

/// What a node reports in its challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Its full name.
    pub name: String,
    /// Its distribution flags.
    pub flags: u64,
    /// Its creation, which differs after each start.
    pub creation: u32,
}

/// `send_name`, with its two bytes of length. The name is only a host.
#[must_use]
pub fn send_name() -> Bytes {
    put_name("k8s-connect.invalid", FLAGS)
}

/// `send_name` of a node with a name.
#[must_use]
pub fn send_name_of(name: &str) -> Bytes {
    put_name(name, FLAGS & !NAME_ME)
}

fn put_name(name: &str, flags: u64) -> Bytes {
    // The node rejects a name of more than 255 characters.
    let length = u16::try_from(name.len()).unwrap_or(u16::MAX - 15);
    let name = &name.as_bytes()[..usize::from(length)];
    let mut out = BytesMut::new();
    out.put_u16(1 + 8 + 4 + 2 + length);
    out.put_u8(b'N');
    out.put_u64(flags);
    out.put_u32(0);
    out.put_u16(length);
    out.put_slice(name);
    out.freeze()
}

/// `send_name` of OTP 22 and before: version 5 of the protocol.
#[must_use]
pub fn send_name_of_otp_22() -> Bytes {
    let name = b"k8s-connect@k8s-connect.invalid";
    let mut out = BytesMut::new();
    out.put_u16(1 + 2 + 4 + 31);
    out.put_u8(b'n');
    out.put_u16(5);
    out.put_u32(FLAGS_OF_OTP_22);
    out.put_slice(name);
    out.freeze()
}

/// Parses the messages of the node as they arrive.
#[derive(Debug, Default)]
pub struct Reader {
    input: BytesMut,
    accepted: bool,
}

impl Reader {
    /// Adds bytes of the node.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Whether the node answered with a TLS alert.
    #[must_use]
    pub fn speaks_tls(&self) -> bool {
        !self.accepted
            && self.input.starts_with(&TLS_ALERT)
            && self.input.get(2).is_some_and(|minor| *minor <= 4)
    }

    /// The challenge; `None` where more bytes are needed.
    ///
    /// # Errors
    /// [`Error::InvalidHandshake`] for what no node sends, [`Error::Rejected`] for a rejection,
    /// [`Error::UnsupportedOtp`] for a node older than OTP 23.
    pub fn challenge(&mut self) -> Result<Option<Challenge>, Error> {
        // Without the tag of a status this is not a node. Its length may be wrong, so there is no waiting.
        if !self.accepted && self.input.get(2).is_some_and(|byte| *byte != b's') {
            return Err(invalid_handshake("a status", &self.input));
        }
        while let Some(message) = self.message() {
            if self.accepted {
                return parse_challenge(message).map(Some);
            }
            check_status(&message)?;
            self.accepted = true;
        }
        Ok(None)
    }

    fn message(&mut self) -> Option<BytesMut> {
        let length = usize::from(u16::from_be_bytes([*self.input.first()?, *self.input.get(1)?]));
        if self.input.len() < 2 + length {
            return None;
        }
        self.input.advance(2);
        Some(self.input.split_to(length))
    }
}

fn check_status(message: &[u8]) -> Result<(), Error> {
    match message.split_first() {
        // Simultaneous: the node connects to us as well, and our connection wins.
        Some((b's', b"ok" | b"ok_simultaneous")) => Ok(()),
        Some((b's', status)) if status.starts_with(b"named:") => Ok(()),
        Some((b's', status)) => {
            Err(Error::Rejected { status: String::from_utf8_lossy(status).into_owned() })
        }
        _ => Err(invalid_handshake("a status", message)),
    }
}

fn parse_challenge(mut message: BytesMut) -> Result<Challenge, Error> {
    let actual = message.clone();
    match message.first() {
        Some(b'N') if message.len() >= 19 => {}
        Some(b'n') => return Err(Error::UnsupportedOtp),
        _ => return Err(invalid_handshake("a challenge", &actual)),
    }
    message.advance(1);
    let flags = message.get_u64();
    message.advance(4); // the challenge itself, which needs the cookie
    let creation = message.get_u32();
    let length = usize::from(message.get_u16());
    let name = message.get(..length).ok_or_else(|| invalid_handshake("a challenge", &actual))?;
    let invalid_name = || Error::InvalidName { name: String::from_utf8_lossy(name).into_owned() };
    let name = node_name::parse(name).ok_or_else(invalid_name)?;
    if flags & HANDSHAKE_23 == 0 {
        return Err(Error::UnsupportedOtp);
    }
    Ok(Challenge { name, flags, creation })
}

fn invalid_handshake(expected: &'static str, actual: &[u8]) -> Error {
    let actual = String::from_utf8_lossy(&actual[..actual.len().min(60)]).into_owned();
    Error::InvalidHandshake { expected, actual }
}

#[cfg(test)]
mod tests;
