//! Packets after the handshake: four bytes of a length, and a message. Bytes of a message pass as they arrive once its
//! beginning is known, so a message of any size needs no more memory than that.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

/// A message is judged by at most this part of it.
pub(super) const HEAD: usize = 64 * 1024;
/// Bytes of a length.
pub(super) const LENGTH: usize = 4;

/// A packet, with its length.
pub(super) fn packet(parts: &[&[u8]]) -> Bytes {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    let mut packet = BytesMut::with_capacity(LENGTH + length);
    packet.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    for part in parts {
        packet.put_slice(part);
    }
    packet.freeze()
}

/// Takes the packets of one direction apart.
#[derive(Debug, Default)]
pub(super) struct Packets {
    /// The beginning of a packet.
    held: BytesMut,
    /// Bytes of the current packet that have not arrived.
    left: usize,
}

/// A part of a packet.
#[derive(Debug)]
pub(super) enum Part {
    /// A packet without a message, which shows that the node lives.
    Tick(Piece),
    /// The length and the first [`HEAD`] bytes of a message, or all of it.
    Head(Piece),
    /// More of the message.
    More(Piece),
}

/// Bytes of the input, or bytes that were held.
#[derive(Debug)]
pub(super) enum Piece {
    Input(Range<usize>),
    Held(Bytes),
}

impl Piece {
    pub fn bytes<'a>(&'a self, input: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Input(range) => &input[range.clone()],
            Self::Held(bytes) => bytes,
        }
    }
}

impl Packets {
    /// The next part of the input from `at` on; `None` if more is needed.
    pub fn next(&mut self, input: &[u8], at: &mut usize) -> Option<Part> {
        let rest = &input[*at..];
        if rest.is_empty() {
            return None;
        }
        if self.left > 0 {
            let length = self.left.min(rest.len());
            self.left -= length;
            return Some(Part::More(take(at, length)));
        }
        let Some(length) = self.length(rest) else {
            self.hold(rest, at, rest.len());
            return None;
        };
        let head = LENGTH + length.min(HEAD);
        let missing = head - self.held.len();
        if rest.len() < missing {
            // Without this, it is copied each time that the buffer grows.
            self.held.reserve(missing);
            self.hold(rest, at, rest.len());
            return None;
        }
        let piece = if self.held.is_empty() {
            // A bulk transfer uses this memory again. An idle connection must not keep it.
            self.held = BytesMut::new();
            take(at, head)
        } else {
            self.hold(rest, at, missing);
            Piece::Held(self.held.split().freeze())
        };
        self.left = LENGTH + length - head;
        Some(if length == 0 { Part::Tick(piece) } else { Part::Head(piece) })
    }

    /// Bytes of the current message that have not arrived.
    pub fn left(&self) -> usize {
        self.left
    }

    fn length(&self, rest: &[u8]) -> Option<usize> {
        let mut length = [0; LENGTH];
        let mut bytes = self.held.iter().chain(rest);
        for byte in &mut length {
            *byte = *bytes.next()?;
        }
        Some(u32::from_be_bytes(length) as usize)
    }

    fn hold(&mut self, rest: &[u8], at: &mut usize, length: usize) {
        self.held.extend_from_slice(&rest[..length]);
        *at += length;
    }
}

fn take(at: &mut usize, length: usize) -> Piece {
    let from = *at;
    *at += length;
    Piece::Input(from..*at)
}

/// The bytes that pass. Adjacent pieces of the input are one slice of it, without a copy.
#[derive(Debug, Default)]
pub(super) struct Output {
    run: Range<usize>,
}

impl Output {
    pub fn push(&mut self, piece: Piece, input: &Bytes, output: &mut Vec<Bytes>) {
        match piece {
            Piece::Input(range) if range.start == self.run.end => self.run.end = range.end,
            Piece::Input(range) => {
                self.flush(input, output);
                self.run = range;
            }
            Piece::Held(bytes) => {
                self.flush(input, output);
                output.push(bytes);
            }
        }
    }

    pub fn flush(&mut self, input: &Bytes, output: &mut Vec<Bytes>) {
        if !self.run.is_empty() {
            output.push(input.slice(self.run.clone()));
        }
        self.run = self.run.end..self.run.end;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]

    use super::*;

    fn packet(message: &[u8]) -> Vec<u8> {
        super::packet(&[message]).to_vec()
    }

    /// Passes all but the messages that begin with `x`; the output and the number of messages.
    fn pass(packets: &mut Packets, input: &Bytes, dropping: &mut bool) -> (Vec<Bytes>, usize) {
        let (mut at, mut output, mut run, mut count) = (0, Vec::new(), Output::default(), 0);
        while let Some(part) = packets.next(input, &mut at) {
            match part {
                Part::Head(piece) => {
                    count += 1;
                    *dropping = piece.bytes(input)[LENGTH] == b'x';
                    if !*dropping {
                        run.push(piece, input, &mut output);
                    }
                }
                Part::More(piece) if *dropping => drop(piece),
                Part::Tick(piece) | Part::More(piece) => run.push(piece, input, &mut output),
            }
        }
        run.flush(input, &mut output);
        (output, count)
    }

    #[test]
    fn packets_are_taken_apart_however_they_are_cut() {
        let big = vec![b'b'; HEAD + 1000];
        let dropped = [&b"x"[..], &big].concat();
        let kept = [packet(b"first"), vec![0; 4], packet(&big), packet(b"last")].concat();
        let input = [
            packet(b"first"),
            packet(&dropped),
            vec![0; 4],
            packet(b"x"),
            packet(&big),
            packet(b"last"),
        ]
        .concat();
        let cuts = (0..40).chain(HEAD - 10..HEAD + 60).chain(input.len() - 40..=input.len());
        for cut in cuts {
            let (mut packets, mut dropping) = (Packets::default(), false);
            let (mut output, mut count) = (Vec::new(), 0);
            for piece in [&input[..cut], &input[cut..]] {
                let (passed, more) =
                    pass(&mut packets, &Bytes::copy_from_slice(piece), &mut dropping);
                output.extend(passed.concat());
                count += more;
            }
            assert_eq!(count, 5);
            assert!(output == kept, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_whole_is_not_copied() {
        let input = Bytes::from(
            [packet(b"a"), packet(b"b"), vec![0; 4], packet(b"xy"), packet(b"c")].concat(),
        );
        let (output, _count) = pass(&mut Packets::default(), &input, &mut false);
        let [first, second] = &output[..] else { panic!("{output:?}") };
        assert_eq!((first.as_ptr(), first.len()), (input.as_ptr(), 14));
        assert_eq!(second.as_ptr(), input[20..].as_ptr());
    }

    #[test]
    fn no_more_than_the_head_is_held() {
        let mut packets = Packets::default();
        let (mut at, input) = (0, [&[0xff; 4][..], &[1; 1000]].concat());
        assert!(packets.next(&input, &mut at).is_none());
        for _ in 0..1000 {
            at = 0;
            while packets.next(&[1; 1000], &mut at).is_some() {}
            assert!(packets.held.len() <= LENGTH + HEAD);
        }
    }
}
