//! The distribution handshake up to the challenge: enough to learn a node's true name, and before
//! any cookie is needed. We ask to be given a name (`NAME_ME`), so that a probe leaves no atom.
//!
//! The protocol: <https://www.erlang.org/doc/apps/erts/erl_dist_protocol.html#distribution-handshake>.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::Error;

/// What OTP 25 and later demand, and nothing else; not published, so hidden.
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
/// Those of them that OTP 22 has.
const FLAGS_OF_OLD: u32 = 0x7_0f94;
const HANDSHAKE_23: u64 = 1 << 24;
const NAME_ME: u64 = 1 << 33;
/// A TLS record that is an alert, of any of TLS's versions: what a node answers that was started with
/// `-proto_dist inet_tls`. No status begins so: it would be 5379 bytes long.
const TLS_ALERT: [u8; 2] = [0x15, 0x03];
/// A node name is an atom, of at most 255 characters.
const MAX_NAME: usize = 255;

/// What a node says of itself in its challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Its full name.
    pub name: String,
    /// Its distribution flags.
    pub flags: u64,
    /// Its creation, another one after each start.
    pub creation: u32,
}

/// `send_name`, with its two bytes of length. The name is only the host part of one.
#[must_use]
pub fn send_name() -> Bytes {
    put_name("k8s-connect.invalid", FLAGS)
}

/// `send_name` of a node that has a name.
#[must_use]
pub fn send_name_of(name: &str) -> Bytes {
    put_name(name, FLAGS & !NAME_ME)
}

fn put_name(name: &str, flags: u64) -> Bytes {
    // A name of more than 255 characters is refused by whoever reads it.
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

/// `send_name` as it was until OTP 22, of version 5 of the protocol.
#[must_use]
pub fn send_name_of_old() -> Bytes {
    let name = b"k8s-connect@k8s-connect.invalid";
    let mut out = BytesMut::new();
    out.put_u16(1 + 2 + 4 + 31);
    out.put_u8(b'n');
    out.put_u16(5);
    out.put_u32(FLAGS_OF_OLD);
    out.put_slice(name);
    out.freeze()
}

/// Reads the node's side as it comes.
#[derive(Debug, Default)]
pub struct Reader {
    input: BytesMut,
    accepted: bool,
}

impl Reader {
    /// Takes bytes of the node's.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Whether what has come is TLS's word for what it cannot read.
    #[must_use]
    pub fn speaks_tls(&self) -> bool {
        !self.accepted
            && self.input.starts_with(&TLS_ALERT)
            && self.input.get(2).is_some_and(|minor| *minor <= 4)
    }

    /// The challenge; `None` where more bytes are needed.
    ///
    /// # Errors
    /// [`Error::Junk`] for what no node sends, [`Error::Rejected`] for a refusal,
    /// [`Error::TooOld`] for a node older than OTP 23.
    pub fn challenge(&mut self) -> Result<Option<Challenge>, Error> {
        // A first byte that is none of a status is told at once, and not waited for.
        if !self.accepted && self.input.get(2).is_some_and(|byte| *byte != b's') {
            return Err(junk("a status", &self.input));
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
        // Simultaneous is a node that dials us as well, and lets ours win.
        Some((b's', b"ok" | b"ok_simultaneous")) => Ok(()),
        Some((b's', status)) if status.starts_with(b"named:") => Ok(()),
        Some((b's', status)) => {
            Err(Error::Rejected { status: String::from_utf8_lossy(status).into_owned() })
        }
        _ => Err(junk("a status", message)),
    }
}

fn parse_challenge(mut message: BytesMut) -> Result<Challenge, Error> {
    let seen = message.clone();
    match message.first() {
        Some(b'N') if message.len() >= 19 => {}
        Some(b'n') => return Err(Error::TooOld),
        _ => return Err(junk("a challenge", &seen)),
    }
    message.advance(1);
    let flags = message.get_u64();
    message.advance(4); // the challenge itself, for the holder of the cookie
    let creation = message.get_u32();
    let length = usize::from(message.get_u16());
    let name = message.get(..length).ok_or_else(|| junk("a challenge", &seen))?;
    let name = checked_name(name)?;
    if flags & HANDSHAKE_23 == 0 {
        return Err(Error::TooOld);
    }
    Ok(Challenge { name, flags, creation })
}

/// The name becomes an atom of the VM, so it must be one that a node can have.
pub(super) fn checked_name(name: &[u8]) -> Result<String, Error> {
    let bad = || Error::BadName { name: String::from_utf8_lossy(name).into_owned() };
    let text = std::str::from_utf8(name).map_err(|_| bad())?;
    let (local, host) = text.split_once('@').ok_or_else(bad)?;
    if is_plain(local) && is_plain(host) && text.chars().count() <= MAX_NAME {
        Ok(text.into())
    } else {
        Err(bad())
    }
}

/// Whether it can be a part of a name, before or after the `@`.
pub(super) fn is_plain(part: &str) -> bool {
    !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || "-_.:[]+~".contains(c))
}

fn junk(expected: &'static str, seen: &[u8]) -> Error {
    let seen = String::from_utf8_lossy(&seen[..seen.len().min(60)]).into_owned();
    Error::Junk { expected, seen }
}

#[cfg(test)]
mod tests;
