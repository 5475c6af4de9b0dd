//! Messages: a header of 16 bytes, a fixed part, and attributes, which may hold attributes; all of
//! it in the machine's byte order and in steps of four bytes. Reading never trusts a length.

/// The header before each message.
const HEADER: usize = 16;
/// The message is a request.
const REQUEST: u16 = 1;
/// Answer with an acknowledgement.
pub const ACK: u16 = 4;
/// List everything.
pub const DUMP: u16 = 0x300;
/// Make it if it is not there.
pub const CREATE: u16 = 0x400;
/// Fail if it is there.
pub const EXCLUSIVE: u16 = 0x200;
/// At the end of the list.
pub const APPEND: u16 = 0x800;
/// The attribute holds attributes.
const NESTED: u16 = 0x8000;

/// Messages being written, one after another.
#[derive(Default)]
pub struct Messages {
    bytes: Vec<u8>,
    start: usize,
}

impl Messages {
    /// Begins a message; what follows belongs to it, until [`Messages::end`].
    pub fn begin(&mut self, kind: u16, flags: u16, sequence: u32) -> &mut Self {
        self.start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self
    }

    /// The fixed part after the header.
    pub fn body(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self.pad();
        self
    }

    /// An attribute of bytes.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.body(value)
    }

    /// An attribute of text, which ends in a zero byte.
    pub fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        self.attribute(kind, &[value.as_bytes(), &[0]].concat())
    }

    /// A number in the network's byte order, as netfilter has it.
    pub fn be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attribute(kind, &value.to_be_bytes())
    }

    /// An attribute of attributes.
    pub fn nest(&mut self, kind: u16, inside: impl FnOnce(&mut Self)) -> &mut Self {
        let at = self.bytes.len();
        self.attribute(kind | NESTED, &[]);
        inside(self);
        let length = u16::try_from(self.bytes.len() - at).unwrap_or(u16::MAX);
        self.bytes[at..at + 2].copy_from_slice(&length.to_ne_bytes());
        self
    }

    /// Ends the message: its length is known now.
    pub fn end(&mut self) {
        let length = u32::try_from(self.bytes.len() - self.start).unwrap_or(u32::MAX);
        self.bytes[self.start..self.start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// What has been written.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// A message that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply<'a> {
    /// Its type.
    pub kind: u16,
    /// The number of what it answers.
    pub sequence: u32,
    /// The socket of who has asked, or caused it; 0 for the kernel.
    pub port: u32,
    /// What comes after the header.
    pub body: &'a [u8],
}

/// The messages of one datagram; ends at the first that is not whole.
pub fn replies(mut datagram: &[u8]) -> impl Iterator<Item = Reply<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32_at(datagram, 0)?).ok()?;
        let body = datagram.get(HEADER..length)?;
        let (kind, sequence) = (u16_at(datagram, 4)?, u32_at(datagram, 8)?);
        let port = u32_at(datagram, 12)?;
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Reply { kind, sequence, port, body })
    })
}

/// Attributes, each with its type; ends at the first that is not whole.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The first attribute of a type.
#[must_use]
pub fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(found, value)| (found == kind).then_some(value))
}

/// A number in the machine's byte order.
#[must_use]
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// A number in the machine's byte order.
#[must_use]
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut messages = Messages::default();
        messages.begin(7, ACK, 1).body(b"abc").text(1, "name").nest(2, |inside| {
            inside.be32(3, 5);
        });
        messages.end();
        messages.begin(8, 0, 2).end();
        let read: Vec<_> = replies(messages.bytes()).collect();
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].kind, read[0].sequence, &read[0].body[..4]), (7, 1, &b"abc\0"[..]));
        let attributes: Vec<_> = attributes(&read[0].body[4..]).collect();
        assert_eq!(attributes[0], (1, &b"name\0"[..]));
        assert_eq!(attribute(attributes[1].1, 3).unwrap(), 5u32.to_be_bytes());
        assert_eq!((read[1].kind, read[1].body), (8, &[][..]));
    }

    #[test]
    fn a_length_that_lies_ends_the_reading() {
        for length in [0u32, 3, 15, 17, u32::MAX] {
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.resize(16, 0);
            assert_eq!(replies(&bytes).count(), 0, "{length}");
        }
        for length in [0u16, 3, 9, u16::MAX] {
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.resize(8, 0);
            assert_eq!(attributes(&bytes).count(), 0, "{length}");
        }
    }
}
