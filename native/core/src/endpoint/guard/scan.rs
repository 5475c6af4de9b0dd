//! Looks at each item of a message, whose bytes arrive in pieces of any size. It keeps at most the beginning of one item.

use super::term::{Item, MAX_ITEM, Stop, VERSION, item};

/// A message is a control term, and for some a payload.
const MAX_TERMS: u8 = 2;

/// The position in a message.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Terms that are complete or begun.
    begun: u8,
    /// Items that the current term still needs.
    terms: u64,
    /// Bytes to skip.
    data: u32,
    /// The beginning of an item that is cut.
    cut: Vec<u8>,
    /// Bytes before it.
    at: usize,
}

impl Scan {
    /// Begins after the control term.
    pub fn of_payload() -> Self {
        Self { begun: 1, ..Self::default() }
    }

    /// Shows each item to `see` with its position, which may stop it.
    ///
    /// # Errors
    /// What is malformed, or the error of `see`.
    pub fn feed<E>(
        &mut self,
        bytes: &[u8],
        see: &mut impl FnMut(&Item, usize) -> Result<(), E>,
    ) -> Result<(), E>
    where
        E: From<&'static str>,
    {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.data > 0 {
                let skipped = rest.len().min(self.data as usize);
                rest = &rest[skipped..];
                self.at += skipped;
                self.data -= u32::try_from(skipped).unwrap_or(self.data);
            } else if self.terms == 0 {
                if rest[0] != VERSION || self.begun == MAX_TERMS {
                    return Err("no term".into());
                }
                (self.begun, self.terms) = (self.begun + 1, 1);
                rest = &rest[1..];
                self.at += 1;
            } else if self.cut.is_empty() {
                rest = self.step(rest, see)?;
            } else {
                rest = self.join(rest, see)?;
            }
        }
        Ok(())
    }

    /// Bytes that were read, without an item that is cut.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Bytes of an item that is cut.
    pub fn cut(&self) -> usize {
        self.cut.len()
    }

    /// Whether a message may end here.
    pub fn is_complete(&self) -> bool {
        self.begun > 0 && self.terms == 0 && self.data == 0
    }

    fn step<'a, E: From<&'static str>>(
        &mut self,
        bytes: &'a [u8],
        see: &mut impl FnMut(&Item, usize) -> Result<(), E>,
    ) -> Result<&'a [u8], E> {
        match item(bytes) {
            Ok(item) => {
                see(&item, self.at)?;
                self.at += item.size;
                self.count(&item);
                Ok(&bytes[item.size..])
            }
            Err(Stop::Incomplete) => {
                self.cut.extend_from_slice(bytes);
                Ok(&[])
            }
            Err(Stop::Malformed(what)) => Err(what.into()),
        }
    }

    /// The rest of the item that was cut is at the beginning of `bytes`.
    fn join<'a, E: From<&'static str>>(
        &mut self,
        bytes: &'a [u8],
        see: &mut impl FnMut(&Item, usize) -> Result<(), E>,
    ) -> Result<&'a [u8], E> {
        let mut joined = std::mem::take(&mut self.cut);
        let before = joined.len();
        joined.extend_from_slice(&bytes[..bytes.len().min(MAX_ITEM)]);
        let after = self.step(&joined, see)?.len();
        if self.cut.is_empty() { Ok(&bytes[joined.len() - after - before..]) } else { Ok(&[]) }
    }

    fn count(&mut self, item: &Item) {
        self.data = item.data;
        // A message of 4 GiB has fewer items than fit.
        self.terms = (self.terms - 1).saturating_add(item.terms);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{super::term::Token, *};

    /// The atoms of a message that is cut at these positions, and whether it was complete.
    fn atoms(message: &[u8], cuts: &[usize]) -> Result<(Vec<String>, bool), String> {
        #[derive(Debug)]
        struct Error(String);
        impl From<&'static str> for Error {
            fn from(what: &'static str) -> Self {
                Self(what.into())
            }
        }
        let (mut scan, mut atoms, mut from) = (Scan::default(), Vec::new(), 0);
        for to in cuts.iter().copied().chain([message.len()]) {
            let mut see = |item: &Item, at: usize| {
                assert_eq!(super::item(&message[at..]).unwrap(), *item);
                if let Token::Atom(atom) = item.token {
                    atoms.push(atom.text());
                }
                Ok::<_, Error>(())
            };
            scan.feed(&message[from..to], &mut see).map_err(|error| error.0)?;
            from = to;
        }
        Ok((atoms, scan.is_complete()))
    }

    /// `{a, <<"xyz">>, [b | c], #{d => "ef"}}` and `[]`
    const MESSAGE: &[u8] =
        b"\x83h\x04w\x01am\0\0\0\x03xyzl\0\0\0\x01w\x01bw\x01ct\0\0\0\x01w\x01dk\0\x02ef\x83j";

    #[test]
    fn each_item_is_seen_once_however_the_message_is_cut() {
        let expected = Ok((["a", "b", "c", "d"].map(String::from).to_vec(), true));
        for first in 0..=MESSAGE.len() {
            for second in first..=MESSAGE.len() {
                assert_eq!(atoms(MESSAGE, &[first, second]), expected, "{first}, {second}");
            }
        }
        let each: Vec<_> = (0..MESSAGE.len()).collect();
        assert_eq!(atoms(MESSAGE, &each), expected);
    }

    #[test]
    fn a_message_that_ends_early_is_not_complete() {
        for end in (0..MESSAGE.len()).filter(|end| *end != MESSAGE.len() - 2) {
            assert!(!atoms(&MESSAGE[..end], &[]).unwrap().1, "{end}");
        }
        assert!(atoms(&MESSAGE[..MESSAGE.len() - 2], &[]).unwrap().1, "without a payload");
    }

    #[test]
    fn a_third_term_and_an_unknown_tag_are_malformed() {
        assert_eq!(atoms(&[MESSAGE, b"\x83j"].concat(), &[]), Err("no term".into()));
        // ATOM_CACHE_REF, a compressed term, LOCAL_EXT, and a tag within a tuple
        for tag in [&b"\x83R\0"[..], b"\x83P\0\0\0\0", b"\x83y", b"\x83h\x01\xff"] {
            assert_eq!(atoms(tag, &[]), Err("unknown tag".into()));
        }
    }

    #[test]
    fn an_endless_number_of_terms_needs_no_memory() {
        let deep: Vec<u8> =
            [VERSION].into_iter().chain((0..1_000_000).flat_map(|_| [104, 1])).collect();
        assert_eq!(atoms(&deep, &[]), Ok((vec![], false)));
        let wide: Vec<u8> = [VERSION]
            .into_iter()
            .chain((0..100_000).flat_map(|_| [105, 255, 255, 255, 255]))
            .collect();
        assert_eq!(atoms(&wide, &[]), Ok((vec![], false)));
    }
}
