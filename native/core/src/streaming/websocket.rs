//! WebSocket frames of a client, as far as Kubernetes needs them: binary messages and control frames,
//! without extensions. Pure, no I/O.
//!
//! The protocol: RFC 6455. We never send fragments of a message: the container runtime treats each
//! frame as a message. Received messages may be fragmented.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use ring::{
    digest,
    rand::{SecureRandom, SystemRandom},
};
use thiserror::Error;

use crate::text::printable_bytes;

const CONTINUATION: u8 = 0;
const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASK: u8 = 0x80;
/// Length codes: the length follows in two, or in eight bytes.
const LONG: u8 = 126;
const LONGER: u8 = 127;
/// Of a control frame's payload.
const MAX_CONTROL: usize = 125;

/// The kind of a frame that we send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole message.
    Binary = 2,
    /// Closes the connection.
    Close = 8,
    /// A keepalive request.
    Ping = 9,
    /// The answer to a ping.
    Pong = 10,
}

/// A received frame. Data is returned as it arrives, not message by message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Bytes of a binary message, at least one.
    Data {
        /// The bytes.
        bytes: Bytes,
        /// Whether they are the first of the message.
        first: bool,
    },
    /// A ping, to be answered by a pong with the same bytes.
    Ping(Bytes),
    /// The answer to our ping.
    Pong,
    /// The peer closes the connection. The text is for people.
    Close(String),
}

/// The peer broke the protocol.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// A frame of a kind that is unknown, or invalid at this point.
    #[error("a frame of kind {0:#04x}")]
    Kind(u8),
    /// A frame that only a client may send.
    #[error("a masked frame")]
    Masked,
    /// A control frame that is fragmented or too long.
    #[error("a control frame of {0} bytes")]
    Control(u64),
}

/// Decodes bytes to frames.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The rest of the data frame whose header was read.
    left: u64,
    /// Whether that frame is the last of its message.
    last: bool,
    message: Message,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Message {
    #[default]
    None,
    /// None of its bytes was returned yet.
    Begun,
    Going,
}

struct Head {
    kind: u8,
    last: bool,
    /// The size of the header.
    size: usize,
    /// The length of the payload.
    length: u64,
}

impl Decoder {
    /// Takes the next frame out of `input`; `None` means that more bytes are needed.
    ///
    /// # Errors
    /// [`Error`]; the connection cannot be used after one.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, Error> {
        while self.left == 0 {
            let Some(head) = head(input)? else { return Ok(None) };
            if head.kind >= Kind::Close as u8 {
                return control(&head, input);
            }
            match (head.kind, self.message) {
                (2, Message::None) => self.message = Message::Begun,
                (CONTINUATION, Message::Begun | Message::Going) => {}
                (kind, _) => return Err(Error::Kind(kind)),
            }
            input.advance(head.size);
            (self.left, self.last) = (head.length, head.last);
            self.end_of_message();
        }
        Ok(self.next_data(input))
    }

    fn next_data(&mut self, input: &mut BytesMut) -> Option<Frame> {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len());
        if length == 0 {
            return None;
        }
        let bytes = input.split_to(length).freeze();
        let first = self.message == Message::Begun;
        self.message = Message::Going;
        self.left -= length as u64;
        self.end_of_message();
        Some(Frame::Data { bytes, first })
    }

    fn end_of_message(&mut self) {
        if self.left == 0 && self.last {
            self.message = Message::None;
        }
    }
}

/// The header of the next frame, which stays in the input.
fn head(input: &[u8]) -> Result<Option<Head>, Error> {
    let [first, second, rest @ ..] = input else { return Ok(None) };
    if first & RESERVED != 0 {
        return Err(Error::Kind(*first));
    }
    if second & MASK != 0 {
        return Err(Error::Masked);
    }
    let (length, size) = match second & !MASK {
        LONG => match rest.first_chunk() {
            Some(bytes) => (u16::from_be_bytes(*bytes).into(), 4),
            None => return Ok(None),
        },
        LONGER => match rest.first_chunk() {
            Some(bytes) => (u64::from_be_bytes(*bytes), 10),
            None => return Ok(None),
        },
        length => (length.into(), 2),
    };
    Ok(Some(Head { kind: first & 0x0f, last: first & FIN != 0, size, length }))
}

fn control(head: &Head, input: &mut BytesMut) -> Result<Option<Frame>, Error> {
    let length = match usize::try_from(head.length) {
        Ok(length @ ..=MAX_CONTROL) if head.last => length,
        _ => return Err(Error::Control(head.length)),
    };
    if input.len() < head.size + length {
        return Ok(None);
    }
    input.advance(head.size);
    let payload = input.split_to(length).freeze();
    match head.kind {
        8 => Ok(Some(Frame::Close(reason(&payload)))),
        9 => Ok(Some(Frame::Ping(payload))),
        10 => Ok(Some(Frame::Pong)),
        kind => Err(Error::Kind(kind)),
    }
}

/// A code and a text; both may be missing.
fn reason(payload: &[u8]) -> String {
    match payload {
        [a, b, text @ ..] => {
            let code = u16::from_be_bytes([*a, *b]);
            format!("{code} {}", printable_bytes(text, MAX_CONTROL)).trim_end().to_owned()
        }
        _ => "no reason given".into(),
    }
}

/// Appends one frame with these pieces as its payload.
pub fn put(out: &mut BytesMut, kind: Kind, pieces: &[&[u8]]) {
    put_with(out, kind, pieces, random());
}

fn put_with(out: &mut BytesMut, kind: Kind, pieces: &[&[u8]], key: [u8; 4]) {
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    out.reserve(14 + length);
    out.put_u8(FIN | kind as u8);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ ..=125), _) => out.put_u8(MASK | length),
        (_, Ok(length)) => {
            out.put_u8(MASK | LONG);
            out.put_u16(length);
        }
        _ => {
            out.put_u8(MASK | LONGER);
            out.put_u64(length as u64);
        }
    }
    out.put_slice(&key);
    let start = out.len();
    for piece in pieces {
        out.put_slice(piece);
    }
    mask(&mut out[start..], key);
}

fn mask(bytes: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u128::from_ne_bytes([a, b, c, d, a, b, c, d, a, b, c, d, a, b, c, d]);
    let (chunks, rest) = bytes.as_chunks_mut();
    for chunk in chunks {
        *chunk = (u128::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// A random `Sec-WebSocket-Key`.
#[must_use]
pub fn key() -> String {
    STANDARD.encode(random::<16>())
}

/// The `Sec-WebSocket-Accept` for a key.
#[must_use]
pub fn accept(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

/// Masks and keys protect against confused caches between client and server, which see nothing inside of TLS.
/// So zeros are sufficient where the system has no random numbers.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let _ = SystemRandom::new().fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests;
