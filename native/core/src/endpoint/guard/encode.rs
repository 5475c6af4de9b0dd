//! Encodes the few terms that the guard answers with.

use bytes::Bytes;

use super::{control::PASS_THROUGH, packets::packet, term::VERSION};

pub(super) fn atom(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    [&[119, length], &text.as_bytes()[..length.into()]].concat()
}

/// Of at most 255 encoded terms.
pub(super) fn tuple(parts: &[Vec<u8>]) -> Vec<u8> {
    let arity = u8::try_from(parts.len()).unwrap_or(u8::MAX);
    [&[104, arity][..], &parts.concat()].concat()
}

/// A packet with a control term only.
pub(super) fn signal(elements: &[Vec<u8>]) -> Bytes {
    packet(&[&[PASS_THROUGH, VERSION], &tuple(elements)])
}

pub(super) fn integer(value: u8) -> Vec<u8> {
    vec![97, value]
}

#[cfg(test)]
pub(super) use test::*;

#[cfg(test)]
mod test {
    use super::*;

    pub const LAPTOP: &str = "laptop@127.0.0.1";
    pub const POD: &str = "app@10.0.0.1";

    pub fn pid(node: &str, id: u8) -> Vec<u8> {
        [&b"X"[..], &atom(node), &[0, 0, 0, id], &[0; 4], &[0, 0, 0, 7]].concat()
    }

    pub fn reference(node: &str, id: u8) -> Vec<u8> {
        [&b"Z\0\x03"[..], &atom(node), &[0, 0, 0, 7], &[0; 8], &[0, 0, 0, id]].concat()
    }

    /// A message without its length.
    pub fn message(control: &[Vec<u8>], payload: Option<&[u8]>) -> Vec<u8> {
        let payload = payload.map(|payload| [&[131], payload].concat()).unwrap_or_default();
        [&[112, 131], &tuple(control)[..], &payload].concat()
    }

    pub fn packed(control: &[Vec<u8>], payload: Option<&[u8]>) -> Vec<u8> {
        packet(&[&message(control, payload)]).to_vec()
    }

    pub fn list(parts: &[Vec<u8>]) -> Vec<u8> {
        let length = u32::try_from(parts.len()).unwrap_or(0).to_be_bytes();
        [&[108], &length[..], &parts.concat(), &[106]].concat()
    }

    pub fn binary(bytes: &[u8]) -> Vec<u8> {
        [&[109], &u32::try_from(bytes.len()).unwrap_or(0).to_be_bytes()[..], bytes].concat()
    }

    pub fn string(text: &str) -> Vec<u8> {
        [&[107], &u16::try_from(text.len()).unwrap_or(0).to_be_bytes()[..], text.as_bytes()]
            .concat()
    }
}
