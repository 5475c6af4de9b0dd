//! Encodes the few terms that the guard answers with.

use bytes::Bytes;

use super::{control::PASS_THROUGH, handshake::packet, term::VERSION};

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
