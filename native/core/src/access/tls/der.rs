//! Reads DER as strictly as Go does: short tags, minimal lengths, nothing after the end.

/// `INTEGER`.
pub(super) const INTEGER: u8 = 0x02;
/// `BIT STRING`.
pub(super) const BIT_STRING: u8 = 0x03;
/// `OCTET STRING`.
pub(super) const OCTET_STRING: u8 = 0x04;
/// `OBJECT IDENTIFIER`.
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
/// `SEQUENCE`.
pub(super) const SEQUENCE: u8 = 0x30;
const BOOLEAN: u8 = 0x01;

/// The rest of a DER value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the next value has the tag.
    pub fn peek(&self, tag: u8) -> bool {
        self.0.first() == Some(&tag)
    }

    /// The next value: its tag, its contents, and all of it.
    pub fn any(&mut self) -> Option<(u8, &'a [u8], &'a [u8])> {
        let (&tag, &length) = (self.0.first()?, self.0.get(1)?);
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (header, length) = match length {
            0..=0x7f => (2, usize::from(length)),
            0x81..=0x84 => {
                let digits = self.0.get(2..2 + usize::from(length & 0x7f))?;
                let value =
                    digits.iter().fold(0_usize, |value, &digit| value << 8 | usize::from(digit));
                if digits[0] == 0 || value < 0x80 {
                    return None;
                }
                (2 + digits.len(), value)
            }
            _ => return None,
        };
        let end = header.checked_add(length)?;
        let whole = self.0.get(..end)?;
        self.0 = &self.0[end..];
        Some((tag, &whole[header..], whole))
    }

    /// The contents of the next value, which must have the tag.
    pub fn read(&mut self, tag: u8) -> Option<&'a [u8]> {
        if self.peek(tag) { self.any().map(|(_, contents, _)| contents) } else { None }
    }

    /// The next value with its tag and length.
    pub fn element(&mut self, tag: u8) -> Option<&'a [u8]> {
        if self.peek(tag) { self.any().map(|(_, _, whole)| whole) } else { None }
    }

    /// A reader of the contents of the next value.
    pub fn nested(&mut self, tag: u8) -> Option<Reader<'a>> {
        self.read(tag).map(Reader)
    }

    /// `Some(None)` where the next value has another tag.
    #[allow(clippy::option_option)]
    pub fn optional(&mut self, tag: u8) -> Option<Option<&'a [u8]>> {
        if self.peek(tag) { self.read(tag).map(Some) } else { Some(None) }
    }

    /// `BOOLEAN DEFAULT FALSE`.
    pub fn boolean(&mut self) -> Option<bool> {
        match self.optional(BOOLEAN)? {
            None | Some([0]) => Some(false),
            Some([0xff]) => Some(true),
            Some(_) => None,
        }
    }

    /// The bytes of an `INTEGER` in two's complement, without needless ones.
    pub fn integer(&mut self) -> Option<&'a [u8]> {
        let bytes = self.read(INTEGER)?;
        match bytes {
            [] | [0, 0..=0x7f, ..] | [0xff, 0x80..=0xff, ..] => None,
            _ => Some(bytes),
        }
    }

    /// The bytes of an `INTEGER` above zero, without leading zeros.
    pub fn positive(&mut self) -> Option<&'a [u8]> {
        match self.integer()? {
            [0] | [0x80..=0xff, ..] => None,
            [0, rest @ ..] => Some(rest),
            bytes => Some(bytes),
        }
    }

    /// An implicitly tagged `INTEGER`; `Some(None)` where it is negative, or there is none.
    #[allow(clippy::option_option)]
    pub fn optional_small(&mut self, tag: u8) -> Option<Option<u64>> {
        let Some(bytes) = self.optional(tag)? else { return Some(None) };
        let integer = value(INTEGER, &[bytes]);
        Reader::new(&integer).integer()?;
        if bytes.len() > 8 { None } else { Some(Reader::new(&integer).small()) }
    }

    /// An `INTEGER` from zero to the largest of 63 bits.
    pub fn small(&mut self) -> Option<u64> {
        let bytes = self.integer()?;
        if bytes.len() > 8 || bytes[0] & 0x80 != 0 {
            return None;
        }
        Some(bytes.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    /// The contents of an `OBJECT IDENTIFIER`.
    pub fn oid(&mut self) -> Option<&'a [u8]> {
        let bytes = self.read(OBJECT_IDENTIFIER)?;
        let complete = bytes.last().is_some_and(|last| last & 0x80 == 0);
        let arcs = || bytes.split_inclusive(|byte| byte & 0x80 == 0);
        (complete && arcs().all(|arc| arc[0] != 0x80 && arc.len() <= 5)).then_some(bytes)
    }

    /// The bytes of a `BIT STRING`, and how many bits of the last one do not count.
    pub fn bits(&mut self) -> Option<(&'a [u8], u8)> {
        let (&unused, bytes) = self.read(BIT_STRING)?.split_first()?;
        let padding = bytes.last().map_or(0, |&last| u16::from(last) & ((1 << unused.min(8)) - 1));
        (unused <= 7 && padding == 0 && (unused == 0 || !bytes.is_empty()))
            .then_some((bytes, unused))
    }

    /// The bytes of a `BIT STRING` that has whole bytes.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        self.bits().filter(|(_, unused)| *unused == 0).map(|(bytes, _)| bytes)
    }
}

/// The contents of the value that is all of the bytes.
pub(super) fn only(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    let mut reader = Reader::new(bytes);
    let contents = reader.read(tag)?;
    reader.is_empty().then_some(contents)
}

/// A value with its tag and length, for the private keys that ring reads.
pub(super) fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let digits = length.to_be_bytes();
    let digits = &digits[digits.iter().take_while(|&&digit| digit == 0).count()..];
    let mut bytes = vec![tag];
    if length < 0x80 {
        bytes.push(length.to_le_bytes()[0]);
    } else {
        bytes.push(0x80 | digits.len().to_le_bytes()[0]);
        bytes.extend(digits);
    }
    for part in parts {
        bytes.extend(*part);
    }
    bytes
}

/// An object identifier as people write it.
pub(super) fn dotted(oid: &[u8]) -> String {
    let mut arcs = oid
        .split_inclusive(|byte| byte & 0x80 == 0)
        .map(|arc| arc.iter().fold(0_u64, |value, &byte| value << 7 | u64::from(byte & 0x7f)));
    let first = arcs.next().unwrap_or_default();
    let root = (first / 40).min(2);
    let mut text = format!("{root}.{}", first - root * 40);
    for arc in arcs {
        text.push('.');
        text += &arc.to_string();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_minimal() {
        assert_eq!(only(&[4, 1, 7], OCTET_STRING), Some(&[7][..]));
        for bad in
            [&[4, 0x81, 1, 7][..], &[4, 0x80, 7], &[4, 2, 7], &[4], &[4, 1, 7, 0], &[0x1f, 1, 7]]
        {
            assert_eq!(only(bad, bad[0]), None, "{bad:?}");
        }
        for length in [0, 0x7f, 0x80, 0xff, 0x100, 0x1_0000] {
            let contents = vec![5; length];
            assert_eq!(only(&value(OCTET_STRING, &[&contents]), OCTET_STRING), Some(&contents[..]));
        }
    }

    #[test]
    fn integers_are_minimal() {
        let read = |bytes: &[u8]| Reader::new(&value(INTEGER, &[bytes])).integer().is_some();
        assert!(read(&[0]) && read(&[0, 0x80]) && read(&[0xff, 0x7f]) && read(&[0x80]));
        assert!(!read(&[]) && !read(&[0, 1]) && !read(&[0xff, 0x80]));
        assert_eq!(Reader::new(&[2, 2, 0, 0x80]).positive(), Some(&[0x80][..]));
        assert_eq!(Reader::new(&[2, 1, 0x80]).positive(), None);
        assert_eq!(Reader::new(&[2, 2, 1, 0]).small(), Some(256));
    }

    #[test]
    fn bits_and_identifiers() {
        assert_eq!(Reader::new(&[3, 2, 5, 0x60]).bits(), Some((&[0x60][..], 5)));
        assert_eq!(Reader::new(&[3, 2, 5, 0x61]).bits(), None);
        assert_eq!(Reader::new(&[3, 1, 1]).bits(), None);
        assert_eq!(Reader::new(&[6, 2, 0x2a, 0x86]).oid(), None);
        assert_eq!(dotted(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d]), "1.2.840.113549");
        assert_eq!(dotted(&[0x55, 0x1d, 0x11]), "2.5.29.17");
    }
}
