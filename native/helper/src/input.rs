//! Reads frames from standard input.

use std::io;

use k8s_connect_wire::{self as wire, Refusal};
use nix::unistd;

/// Bytes read that are not yet a complete frame.
#[derive(Default)]
pub struct Input {
    bytes: Vec<u8>,
    /// The remaining bytes of a frame that was too long.
    skip: usize,
}

impl Input {
    /// The next complete frame. A frame that is too long is refused and skipped.
    pub fn next_frame(&mut self) -> Option<Result<Vec<u8>, Refusal>> {
        let skipped = self.skip.min(self.bytes.len());
        self.bytes.drain(..skipped);
        self.skip -= skipped;
        let header = self.bytes.get(..4)?.try_into().ok()?;
        match wire::frame_length(header) {
            Ok(length) => {
                let frame = self.bytes.get(4..4 + length)?.to_vec();
                self.bytes.drain(..4 + length);
                Some(Ok(frame))
            }
            Err(refusal) => {
                self.bytes.drain(..4);
                if let Refusal::TooLong { length } = refusal {
                    self.skip = usize::try_from(length).unwrap_or(usize::MAX);
                }
                Some(Err(refusal))
            }
        }
    }

    /// Waits for input; `false` at end of file.
    pub fn fill(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        loop {
            match unistd::read(io::stdin(), &mut buffer) {
                Ok(length @ 1..) => {
                    self.bytes.extend_from_slice(&buffer[..length]);
                    return true;
                }
                Err(nix::errno::Errno::EINTR) => {}
                _ => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(pieces: &[&[u8]]) -> Vec<Result<Vec<u8>, Refusal>> {
        let mut input = Input::default();
        let mut found = Vec::new();
        for piece in pieces {
            input.bytes.extend_from_slice(piece);
            while let Some(frame) = input.next_frame() {
                found.push(frame);
            }
        }
        found
    }

    #[test]
    fn every_way_to_cut_the_input_gives_the_same_frames() {
        let too_long = wire::MAX_FRAME + 1;
        let mut bytes = b"\0\0\0\x03abc\0\0\0\0\0\0\0\x01d".to_vec();
        bytes.extend_from_slice(&u32::try_from(too_long).unwrap_or(0).to_be_bytes());
        bytes.extend(std::iter::repeat_n(0, too_long));
        bytes.extend_from_slice(b"\0\0\0\x01e");
        let length = u32::try_from(too_long).unwrap_or(0);
        let expected = vec![
            Ok(b"abc".to_vec()),
            Err(Refusal::Empty),
            Ok(b"d".to_vec()),
            Err(Refusal::TooLong { length }),
            Ok(b"e".to_vec()),
        ];
        for cut in (0..20).chain(bytes.len() - 8..bytes.len()) {
            assert_eq!(frames(&[&bytes[..cut], &bytes[cut..]]), expected, "{cut}");
        }
    }
}
