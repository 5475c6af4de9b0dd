//! The TCP socket below a [`super::Stream`].

#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::{
    io::{self, IoSlice},
    sync::LazyLock,
};

use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
#[cfg(target_os = "linux")]
use nix::{
    libc, setsockopt_impl, sockopt_impl,
    sys::socket::{MsgFlags, sendmsg},
};
use tokio::net::TcpStream;

/// What a bulk transfer asks of a socket.
pub(super) trait Socket {
    /// How many bytes wake the reader. If as many have arrived already, wakes it now. `false` if that is unsupported.
    fn set_low_water(&self, bytes: i32) -> bool;

    /// Whether [`Self::send`] can be used.
    fn can_send(&self) -> bool;

    /// Writes also while the socket is not reported as writable.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if its buffer is full, and those of `sendmsg`.
    fn send(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize>;
}

impl Socket for TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>> {
    fn set_low_water(&self, bytes: i32) -> bool {
        match self.inner() {
            MaybeHttpsStream::Http(stream) => *IS_SUPPORTED && set(stream.inner(), bytes),
            // TLS to a proxy has a buffer of its own.
            MaybeHttpsStream::Https(_) => false,
        }
    }

    fn can_send(&self) -> bool {
        cfg!(target_os = "linux") && matches!(self.inner(), MaybeHttpsStream::Http(_))
    }

    fn send(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.inner() {
            MaybeHttpsStream::Http(stream) => send(stream.inner(), buffers),
            MaybeHttpsStream::Https(_) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

/// Since Linux 4.18, a lower mark wakes the reader if so many bytes are there (`tcp_set_rcvlowat`).
static IS_SUPPORTED: LazyLock<bool> = LazyLock::new(|| {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    is_new_enough(&release)
});

fn is_new_enough(release: &str) -> bool {
    let mut numbers = release.split(['.', '-']).map_while(|part| part.trim().parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(4), Some(18))
}

#[cfg(target_os = "linux")]
fn set(socket: &TcpStream, bytes: i32) -> bool {
    nix::sys::socket::setsockopt(socket, ReceiveLowWater, &bytes).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn set(_socket: &TcpStream, _bytes: i32) -> bool {
    false
}

#[cfg(target_os = "linux")]
fn send(socket: &TcpStream, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    Ok(sendmsg::<()>(socket.as_raw_fd(), buffers, &[], flags, None)?)
}

#[cfg(not(target_os = "linux"))]
fn send(_socket: &TcpStream, _buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    Err(io::ErrorKind::WouldBlock.into())
}

#[cfg(target_os = "linux")]
sockopt_impl!(
    /// `SO_RCVLOWAT`
    ReceiveLowWater,
    SetOnly,
    libc::SOL_SOCKET,
    libc::SO_RCVLOWAT,
    i32
);

#[cfg(test)]
mod tests {
    use super::{Socket, is_new_enough};

    impl Socket for &[u8] {
        fn set_low_water(&self, _bytes: i32) -> bool {
            false
        }

        fn can_send(&self) -> bool {
            false
        }

        fn send(&self, _buffers: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::WouldBlock.into())
        }
    }

    #[test]
    fn old_kernels_do_not_wake_the_reader() {
        for release in ["4.18.0-553.el8.x86_64\n", "5.15.0", "6.18.44-fc-v669\n", "10.0"] {
            assert!(is_new_enough(release), "{release}");
        }
        for release in ["3.10.0-1160.el7.x86_64", "4.4.0", "4.17.19", "", "4", "unknown"] {
            assert!(!is_new_enough(release), "{release}");
        }
    }
}
