//! Several chunks in one write, without copying them together.

use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// Chunks that are written one after the other: see [`tokio::io::AsyncWriteExt::write_all_buf`].
pub(crate) struct Chunks<'a>(&'a mut [Bytes]);

impl<'a> Chunks<'a> {
    pub fn new(chunks: &'a mut [Bytes]) -> Self {
        let mut chunks = Self(chunks);
        chunks.skip_empty();
        chunks
    }

    fn skip_empty(&mut self) {
        while self.0.first().is_some_and(Bytes::is_empty) {
            self.0 = &mut std::mem::take(&mut self.0)[1..];
        }
    }
}

impl Buf for Chunks<'_> {
    fn remaining(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    fn chunk(&self) -> &[u8] {
        self.0.first().map_or(&[], |chunk| chunk)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let pairs = slices.iter_mut().zip(self.0.iter());
        pairs.map(|(slice, chunk)| *slice = IoSlice::new(chunk)).count()
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(chunk) = self.0.first_mut().filter(|_| count > 0) {
            let part = count.min(chunk.len());
            chunk.advance(part);
            count -= part;
            self.skip_empty();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_bytes_can_be_written_at_a_time() {
        let parts = [&b""[..], b"ab", b"", b"c", b"defgh", b""].map(Bytes::from_static);
        for step in 1..=9 {
            let mut parts = parts.clone();
            let (mut chunks, mut output) = (Chunks::new(&mut parts), Vec::new());
            while chunks.has_remaining() {
                let mut slices = [IoSlice::new(&[]); 3];
                let count = chunks.chunks_vectored(&mut slices);
                let bytes: Vec<u8> = slices[..count]
                    .iter()
                    .flat_map(|slice| slice.iter().copied())
                    .take(step)
                    .collect();
                chunks.advance(bytes.len());
                output.extend(bytes);
            }
            assert_eq!(output, b"abcdefgh", "{step} at a time");
        }
    }
}
