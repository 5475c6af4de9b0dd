//! A buffer that grows with what is read. A thousand idle connections hold little memory, and a bulk transfer has large
//! reads.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    mem::{self, MaybeUninit},
    pin::Pin,
    task::{Poll, ready},
};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use super::CHUNK_SIZE;

/// Memory for several reads of a bulk transfer.
const BULK: usize = 2 * CHUNK_SIZE;
/// How many times that is kept, while its bytes are on their way: as much as a connection has in its queue.
const EARLIER: usize = 8;
/// Enough for small calls.
const MIN: usize = 2 * 1024;

/// A buffer, and how much the next read has room for.
#[derive(Debug)]
pub(crate) struct ReadBuffer {
    /// What was read and not taken out.
    pub(crate) bytes: BytesMut,
    size: usize,
    /// Memory of earlier bytes of a bulk transfer. New memory costs a page fault for each 4 KiB.
    earlier: VecDeque<BytesMut>,
    /// The error of the next read.
    error: Option<io::Error>,
}

impl Default for ReadBuffer {
    fn default() -> Self {
        Self { bytes: BytesMut::new(), size: MIN, earlier: VecDeque::new(), error: None }
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
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let mut count = if self.size == MIN {
            self.read_small(reader).await?
        } else {
            self.make_room();
            reader.read_buf(&mut (&mut self.bytes).limit(self.size)).await?
        };
        // TLS returns one record at a time, and a bulk transfer has the next one ready.
        while self.size > MIN && (1..self.size).contains(&count) {
            match reader.read_buf(&mut self.bytes).now_or_never() {
                Some(Ok(more @ 1..)) => count += more,
                Some(Err(error)) => {
                    self.error = Some(error);
                    break;
                }
                Some(Ok(0)) | None => break,
            }
        }
        if count >= self.size {
            self.size = (2 * self.size).min(CHUNK_SIZE);
        } else if count < self.size / 4 {
            self.size = (self.size / 2).max(MIN);
        }
        // Not after the last bytes before a pause: a bulk transfer has many, while the network is full.
        if count < MIN || self.size <= CHUNK_SIZE / 4 {
            self.earlier.clear();
        }
        Ok(count)
    }

    /// Takes out all bytes.
    pub(crate) fn take(&mut self) -> Bytes {
        // What is left of small memory is not worth a counter of its users.
        let bytes = if self.size == MIN { mem::take(&mut self.bytes) } else { self.bytes.split() };
        bytes.freeze()
    }

    /// Reads into the stack: an idle connection holds no memory.
    async fn read_small(&mut self, reader: &mut (impl AsyncRead + Unpin)) -> io::Result<usize> {
        if self.bytes.is_empty() {
            self.bytes = BytesMut::new();
        }
        poll_fn(|context| {
            let mut memory = [MaybeUninit::uninit(); MIN];
            let mut read = ReadBuf::uninit(&mut memory);
            ready!(Pin::new(&mut *reader).poll_read(context, &mut read))?;
            self.bytes.extend_from_slice(read.filled());
            Poll::Ready(Ok(read.filled().len()))
        })
        .await
    }

    fn make_room(&mut self) {
        let (kept, room) = (self.bytes.len(), self.bytes.capacity() - self.bytes.len());
        // Only the beginning of a frame is copied.
        if self.size == CHUNK_SIZE && room < self.size && kept < MIN {
            // The newest, which may be in a cache. It can be used again if all of its bytes were dropped.
            let free = self.earlier.iter_mut().rposition(|memory| memory.try_reclaim(BULK));
            let next = free.and_then(|index| self.earlier.remove(index));
            let mut next = next.unwrap_or_else(|| BytesMut::with_capacity(BULK));
            next.extend_from_slice(&self.bytes);
            self.bytes.clear();
            self.earlier.push_back(mem::replace(&mut self.bytes, next));
            if self.earlier.len() > EARLIER {
                self.earlier.pop_front();
            }
        } else if self.bytes.is_empty() && self.bytes.capacity() > 2 * self.size {
            self.bytes = BytesMut::with_capacity(self.size);
        } else {
            self.bytes.reserve(self.size);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        task::{Context, Poll},
    };

    use tokio::io::ReadBuf;

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
        assert!(buffer.read(&mut tokio::io::empty()).await? == 0 && buffer.bytes.capacity() == 0);
        Ok(())
    }

    #[tokio::test]
    async fn memory_that_is_free_again_is_used_again() -> io::Result<()> {
        let mut buffer = ReadBuffer::default();
        let (bulk, mut waiting, mut seen) = (vec![1; 100 * CHUNK_SIZE], VecDeque::new(), vec![]);
        let mut reader = &bulk[..];
        while buffer.read(&mut reader).await? > 0 {
            let bytes = buffer.bytes.split().freeze();
            seen.push(bytes.as_ptr());
            waiting.push_back(bytes);
            if waiting.len() > 3 {
                waiting.pop_front();
            }
        }
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert!(count > 100 && seen.len() < 20, "{count} in {} places", seen.len());
        let (pause, small) = (&bulk[..2 * MIN], &b"small"[..]);
        for (last, kept) in [(&[pause][..], true), (&[small], false), (&[pause, pause], false)] {
            for mut reader in [&bulk[..]; 6].iter().chain(last).copied() {
                buffer.read(&mut reader).await?;
                buffer.take();
            }
            assert_eq!(!buffer.earlier.is_empty(), kept, "after {} short reads", last.len());
        }
        Ok(())
    }

    /// Returns a record at a time, as TLS does.
    struct Records(Vec<io::Result<&'static [u8]>>);

    impl AsyncRead for Records {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            match self.0.pop() {
                Some(record) => buffer.put_slice(record?),
                None => return Poll::Pending,
            }
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn a_read_takes_all_records_that_have_arrived() {
        let broken = io::Error::from(io::ErrorKind::ConnectionReset);
        let mut records = Records(vec![Err(broken), Ok(&[3; 1500]), Ok(&[2; 1500]), Ok(&[1; MIN])]);
        let mut buffer = ReadBuffer::default();
        assert_eq!(buffer.read(&mut records).await.ok(), Some(MIN));
        assert_eq!(buffer.read(&mut records).await.ok(), Some(3000));
        assert_eq!(buffer.bytes.len(), MIN + 3000);
        let error = buffer.read(&mut records).await.map_err(|error| error.kind());
        assert_eq!(error, Err(io::ErrorKind::ConnectionReset));
        assert!(buffer.read(&mut records).now_or_never().is_none());
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
