//! A Unix socket whose write readiness is only watched while it is full. tokio registers its `UnixStream` for both
//! directions, and Linux reports a socket as writable each time the peer has read (`unix_write_space`): one more wake-up
//! for each message.

use std::{
    io::{self, IoSlice},
    os::fd::AsFd,
    pin::Pin,
    task::{Context, Poll},
};

use nix::{
    errno::Errno,
    sys::{
        socket::{setsockopt, sockopt::SndBuf},
        uio::writev,
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf, WriteHalf, split},
    net::{UnixStream, unix::pipe},
};

/// Bytes. What Linux allows unless it is configured otherwise (`net.core.wmem_max`), and it doubles that. Data from the pod
/// at a distance takes a little less CPU time. The local node's end has the same (`K8sConnect.Route.VM.Dist`).
const SEND_BUFFER: usize = 208 * 1024;

pub(super) fn halves(socket: UnixStream) -> io::Result<(ReadHalf<Socket>, WriteHalf<Socket>)> {
    // Without it, the connection is slower.
    let _ = setsockopt(&socket, SndBuf, &SEND_BUFFER);
    let socket = pipe::Receiver::from_owned_fd_unchecked(socket.into_std()?.into())?;
    Ok(split(Socket { socket, full: None }))
}

pub(super) struct Socket {
    /// tokio registers only the ends of pipes for one direction. Their `read` and `write` work on a socket, too.
    socket: pipe::Receiver,
    /// A duplicate, registered for writing, while the socket is full.
    full: Option<pipe::Sender>,
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut full = match self.full.take() {
            Some(full) => full,
            None => match writev(&self.socket, slices) {
                Err(Errno::EAGAIN) => {
                    let socket = self.socket.as_fd().try_clone_to_owned()?;
                    pipe::Sender::from_owned_fd_unchecked(socket)?
                }
                result => return Poll::Ready(result.map_err(io::Error::from)),
            },
        };
        let result = Pin::new(&mut full).poll_write_vectored(context, slices);
        if result.is_pending() {
            self.full = Some(full);
        }
        result
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The socket is closed when both halves are dropped.
    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use futures_util::FutureExt;
    use nix::sys::socket::{MsgFlags, recv};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_full_socket_loses_nothing() -> io::Result<()> {
        let (socket, peer) = UnixStream::pair()?;
        let (mut reader, mut writer) = halves(socket)?;
        let (mut peer_reader, mut peer_writer) = peer.into_split();
        let sent: Vec<u8> = (0..3_000_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        for _twice in 1..=2 {
            let write = async {
                // More than the socket holds, with what is written while it is full.
                writer.write_all(&sent[..1_000_000]).await?;
                writer.write_all(&sent[1_000_000..]).await
            };
            let mut received = vec![0; sent.len()];
            let read = peer_reader.read_exact(&mut received);
            tokio::try_join!(write, read)?;
            assert!(received == sent);
        }
        let mut received = [0; 5];
        tokio::try_join!(peer_writer.write_all(b"other"), reader.read_exact(&mut received))?;
        assert_eq!(&received, b"other");
        Ok(())
    }

    #[tokio::test]
    async fn the_end_of_the_peer_is_seen_while_the_socket_is_full() -> io::Result<()> {
        let (socket, peer) = UnixStream::pair()?;
        let (mut reader, mut writer) = halves(socket)?;
        let bytes = vec![1; 3_000_000];
        let write = async { writer.write_all(&bytes).await.map_err(|error| error.kind()) };
        let end = async {
            // Not before the writer has begun.
            while !has_received(&peer) {
                tokio::task::yield_now().await;
            }
            drop(peer);
        };
        let (written, ()) = tokio::join!(write, end);
        assert!(matches!(written, Err(io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)));
        let mut rest = Vec::new();
        // A peer with unread bytes resets the connection.
        let read = reader.read_to_end(&mut rest).await.map_err(|error| error.kind());
        assert!(matches!(read, Ok(0) | Err(io::ErrorKind::ConnectionReset)));
        Ok(())
    }

    fn has_received(peer: &UnixStream) -> bool {
        let mut bytes = vec![0; 100_000];
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        recv(peer.as_raw_fd(), &mut bytes, flags) == Ok(bytes.len())
    }

    /// Whether tokio waits until the socket with this inode can be written (`EPOLLOUT`), from `/proc/self/fdinfo`.
    #[cfg(target_os = "linux")]
    fn is_watched_for_writing(inode: u64) -> io::Result<bool> {
        let mut found = false;
        for file in std::fs::read_dir("/proc/self/fdinfo")? {
            // Other tests close theirs at the same time.
            let Ok(text) = std::fs::read_to_string(file?.path()) else { continue };
            for line in text.lines().filter(|line| line.starts_with("tfd:")) {
                let word = |name: &str| {
                    let (_, rest) = line.split_once(name)?;
                    u64::from_str_radix(rest.split_whitespace().next()?, 16).ok()
                };
                if word("ino:") == Some(inode) {
                    found |= word("events:").is_some_and(|events| events & 4 != 0);
                }
            }
        }
        Ok(found)
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn it_is_watched_for_writing_only_while_it_is_full() -> io::Result<()> {
        use std::io::Read;

        let (socket, peer) = UnixStream::pair()?;
        let mut peer = peer.into_std()?;
        let inode = nix::sys::stat::fstat(&socket)?.st_ino;
        assert!(is_watched_for_writing(inode)?);
        let (_reader, mut writer) = halves(socket)?;
        writer.write_all(b"small").await?;
        assert!(!is_watched_for_writing(inode)?);
        let bytes = vec![1; 3_000_000];
        {
            let mut write = Box::pin(writer.write_all(&bytes));
            assert!((&mut write).now_or_never().is_none());
            assert!(is_watched_for_writing(inode)?);
            peer.set_nonblocking(false)?;
            let read = tokio::task::spawn_blocking(move || {
                peer.read_exact(&mut vec![0; 3_000_005]).map(|()| peer)
            });
            write.await?;
            peer = read.await??;
        }
        assert!(!is_watched_for_writing(inode)?);
        drop(peer);
        Ok(())
    }
}
