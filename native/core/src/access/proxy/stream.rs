//! A TCP connection, possibly with TLS to a proxy, that knows whether it was used.

use std::{
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::TcpStream,
};

mod low_water;
mod refill;
mod socket;

use low_water::LowWater;
use refill::Refill;
use socket::Socket;

/// The sizes of reads of a bulk transfer, from the first one on. rustls asks for at most 4 KiB (0.23,
/// `msgs/deframer/buffers.rs`), which is four or five system calls for each TLS record, and many acknowledgements.
const BULK: [usize; 2] = [16 * 1024, 256 * 1024];

/// Whether a connection has answered a request. A used one may have been closed while it was idle.
#[derive(Clone, Default)]
pub(crate) struct Used(Arc<AtomicBool>);

impl Used {
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

type Inner = TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>>;

/// A connection for hyper, whose metadata has [`Used`].
pub(crate) struct Stream<S = Inner> {
    inner: S,
    used: Used,
    /// Bytes of a bulk transfer that were read ahead.
    ahead: BytesMut,
    /// The size of the next read, if the one before was full; 0 otherwise.
    size: usize,
    low_water: LowWater,
    refill: Refill,
}

impl<S: Unpin> Stream<S> {
    pub(super) fn new(inner: S) -> Self {
        Self {
            inner,
            used: Used::default(),
            ahead: BytesMut::new(),
            size: 0,
            low_water: LowWater::default(),
            refill: Refill::default(),
        }
    }

    fn inner(self: Pin<&mut Self>) -> Pin<&mut S> {
        Pin::new(&mut self.get_mut().inner)
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        self.inner.inner().connected().extra(self.used.clone())
    }
}

impl<S: AsyncRead + Socket + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { inner, ahead, size, low_water, .. } = self.get_mut();
        let room = buffer.remaining();
        if ahead.is_empty() && *size <= room {
            low_water.end(inner);
            *ahead = BytesMut::new();
            ready!(Pin::new(inner).poll_read(context, buffer))?;
            *size = if room > 0 && buffer.remaining() == 0 { BULK[0] } else { 0 };
            return Poll::Ready(Ok(()));
        }
        if ahead.is_empty() {
            ahead.reserve(*size);
            let read = pin!(inner.read_buf(ahead)).poll(context);
            if read.is_pending() && *size == BULK[1] {
                if low_water.wait(inner, context) {
                    return Poll::Pending;
                }
                *size /= 2;
            }
            // An idle connection holds no memory.
            let Poll::Ready(Ok(count)) = read else {
                *ahead = BytesMut::new();
                return read.map_ok(|_| ());
            };
            low_water.restart();
            *size = match count {
                _ if count >= *size => BULK[1].min(2 * *size),
                _ if count >= *size / 4 => *size,
                _ if *size > BULK[0] => *size / 2,
                _ => 0,
            };
            if *size < BULK[1] {
                low_water.end(inner);
            }
        }
        let count = room.min(ahead.len());
        buffer.put_slice(&ahead[..count]);
        ahead.advance(count);
        if ahead.is_empty() && *size == 0 {
            *ahead = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Socket + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self { inner, refill, .. } = self.get_mut();
        let written = Pin::new(&mut *inner).poll_write(context, bytes);
        refill.write(written, inner, &[IoSlice::new(bytes)], context)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { inner, refill, .. } = self.get_mut();
        let written = Pin::new(&mut *inner).poll_write_vectored(context, buffers);
        refill.write(written, inner, buffers, context)
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, net::Ipv4Addr, time::Duration};

    use tokio::{
        io::AsyncWriteExt,
        net::{TcpListener, TcpSocket},
    };

    use super::*;

    /// Has all of its bytes at once, and counts the reads.
    struct Source {
        bytes: BytesMut,
        reads: usize,
        low_water: Cell<i32>,
    }

    impl Socket for Source {
        fn set_low_water(&self, bytes: i32) -> bool {
            self.low_water.set(bytes);
            true
        }

        fn can_send(&self) -> bool {
            false
        }

        fn send(&self, _buffers: &[IoSlice<'_>]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    impl AsyncRead for Source {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.reads += 1;
            if self.bytes.is_empty() {
                return Poll::Pending;
            }
            let count = self.bytes.len().min(buffer.remaining());
            buffer.put_slice(&self.bytes.split_to(count));
            Poll::Ready(Ok(()))
        }
    }

    fn source(bytes: &[u8]) -> Stream<Source> {
        Stream::new(Source { bytes: bytes.into(), reads: 0, low_water: Cell::new(1) })
    }

    /// Reads as rustls does.
    fn read(stream: &mut Stream<Source>) -> Option<Vec<u8>> {
        let (mut bytes, mut context) = ([0; 4096], Context::from_waker(std::task::Waker::noop()));
        let mut buffer = ReadBuf::new(&mut bytes);
        match Pin::new(stream).poll_read(&mut context, &mut buffer) {
            Poll::Ready(Ok(())) => Some(buffer.filled().to_vec()),
            Poll::Ready(Err(_)) | Poll::Pending => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn bulk_is_read_ahead_and_nothing_of_it_is_lost() {
        let bytes: Vec<u8> = (0..1_000_003_u32).flat_map(u32::to_be_bytes).collect();
        let mut stream = source(&bytes);
        let mut output = Vec::new();
        while let Some(read) = read(&mut stream) {
            output.extend(read);
        }
        assert!(output == bytes);
        assert!(stream.inner.reads <= bytes.len() / BULK[1] + 9, "{} reads", stream.inner.reads);
        assert!(stream.inner.low_water.get() > 1000);
        tokio::time::advance(Duration::from_millis(2)).await;
        assert_eq!(read(&mut stream), None);
        assert_eq!((stream.ahead.capacity(), stream.inner.low_water.get()), (0, 1));
        for _ in 0..5 {
            stream.inner.bytes.extend_from_slice(b"small");
            assert_eq!(read(&mut stream).as_deref(), Some(&b"small"[..]));
        }
        assert_eq!((stream.size, stream.ahead.capacity()), (0, 0));
    }

    #[tokio::test]
    async fn a_reader_with_more_room_does_not_wait_for_many_bytes() {
        let mut stream = source(&vec![7; 2_000_000]);
        while read(&mut stream).is_some() {}
        assert!(stream.inner.low_water.get() > 1000);
        let mut large = vec![0; BULK[1]];
        let mut context = Context::from_waker(std::task::Waker::noop());
        let read = Pin::new(&mut stream).poll_read(&mut context, &mut ReadBuf::new(&mut large));
        assert!(read.is_pending());
        assert_eq!((stream.ahead.capacity(), stream.inner.low_water.get()), (0, 1));
    }

    #[test]
    fn small_messages_are_not_read_ahead() {
        let mut stream = source(b"");
        for _ in 0..10 {
            stream.inner.bytes.extend_from_slice(b"small");
            assert_eq!(read(&mut stream).as_deref(), Some(&b"small"[..]));
            assert_eq!((stream.size, stream.ahead.capacity()), (0, 0));
        }
        assert_eq!(stream.inner.reads, 10);
    }

    #[tokio::test]
    async fn a_small_rest_of_a_transfer_arrives() -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let client = TcpStream::connect(listener.local_addr()?).await?;
        let (mut server, _) = listener.accept().await?;
        let inner = TokioIo::new(MaybeHttpsStream::Http(TokioIo::new(client)));
        let mut stream = Stream::new(inner);
        let mut buffer = [0; 4096];
        for size in [3_000_000, 3_000_001, 1, 3_000_001] {
            let bytes = vec![9; size];
            // The next transfer begins when this one has arrived: until then no byte of it may wait for more.
            let read = async {
                let mut left = size;
                while left > 0 {
                    left -= stream.read(&mut buffer).await?;
                }
                Ok(())
            };
            let transfer = async { tokio::try_join!(server.write_all(&bytes), read) };
            tokio::time::timeout(Duration::from_mins(1), transfer).await??;
        }
        Ok(())
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_socket_is_written_before_a_third_of_its_buffer_is_free() -> io::Result<()> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(64 * 1024)?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let listener = socket.listen(1)?;
        let client = TcpSocket::new_v4()?;
        client.set_send_buffer_size(4 * 1024 * 1024)?;
        let client = client.connect(listener.local_addr()?).await?;
        let (mut server, _) = listener.accept().await?;
        let mut stream = Stream::new(TokioIo::new(MaybeHttpsStream::Http(TokioIo::new(client))));
        let bytes = [9; 16 * 1024];
        let (mut written, mut read) = (0, 0);
        // Until nothing more fits.
        while let Ok(count) =
            tokio::time::timeout(Duration::from_millis(500), stream.write(&bytes)).await
        {
            written += count?;
        }
        let mut buffer = [0; 16 * 1024];
        let mut more = 0;
        while more == 0 {
            read += server.read(&mut buffer).await?;
            assert!(read < written / 4, "{read} of {written} bytes were read");
            let write = tokio::time::timeout(Duration::from_millis(100), stream.write(&bytes));
            more = write.await.unwrap_or(Ok(0))?;
        }
        Ok(())
    }

    #[test]
    fn the_end_shows_after_what_was_read_ahead() {
        let bytes = vec![7; 100_000];
        let mut stream = Stream::new(&bytes[..]);
        let mut output = Vec::new();
        let mut context = Context::from_waker(std::task::Waker::noop());
        let read = pin!(stream.read_to_end(&mut output)).poll(&mut context);
        assert!(matches!(read, Poll::Ready(Ok(100_000))), "{read:?}");
    }
}
