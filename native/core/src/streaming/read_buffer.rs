//! A buffer that grows with what is read. A thousand idle connections hold little memory, and a bulk transfer has large
//! reads.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::CHUNK_SIZE;

/// Enough for small calls. What an idle connection holds, in each direction.
const MIN: usize = 2 * 1024;

/// A buffer, and how much the next read has room for.
#[derive(Debug)]
pub(crate) struct ReadBuffer {
    /// What was read and not taken out.
    pub(crate) bytes: BytesMut,
    size: usize,
}

impl Default for ReadBuffer {
    fn default() -> Self {
        Self { bytes: BytesMut::new(), size: MIN }
    }
}

impl ReadBuffer {
    /// Appends what the next read returns. Like [`AsyncReadExt::read_buf`], it can be cancelled without a loss.
    ///
    /// # Errors
    /// The error of the reader.
    pub(crate) async fn read(
        &mut self,
        reader: &mut (impl AsyncRead + Unpin),
    ) -> io::Result<usize> {
        if self.bytes.is_empty() && self.bytes.capacity() > 2 * self.size {
            self.bytes = BytesMut::with_capacity(self.size);
        } else {
            self.bytes.reserve(self.size);
        }
        let count = reader.read_buf(&mut self.bytes).await?;
        if count >= self.size {
            self.size = (2 * self.size).min(CHUNK_SIZE);
        } else if count < self.size / 4 {
            self.size = (self.size / 2).max(MIN);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_grows_with_bulk_and_shrinks_with_small_messages() -> io::Result<()> {
        let mut buffer = ReadBuffer::default();
        let bulk = vec![1; 10 * CHUNK_SIZE];
        let (mut reader, mut count) = (&bulk[..], 0);
        while buffer.read(&mut reader).await? > 0 {
            count += buffer.bytes.split().len();
        }
        assert_eq!(count, bulk.len());
        assert!(buffer.bytes.capacity() >= CHUNK_SIZE / 2);
        for _ in 0..10 {
            assert_eq!(buffer.read(&mut &b"small"[..]).await?, 5);
            assert_eq!(&buffer.bytes.split()[..], b"small");
        }
        assert!(buffer.bytes.capacity() <= 2 * MIN);
        Ok(())
    }

    #[tokio::test]
    async fn what_was_not_taken_out_stays() -> io::Result<()> {
        let mut buffer = ReadBuffer::default();
        buffer.read(&mut &b"ab"[..]).await?;
        buffer.read(&mut &b"c"[..]).await?;
        assert_eq!(&buffer.bytes[..], b"abc");
        Ok(())
    }
}
