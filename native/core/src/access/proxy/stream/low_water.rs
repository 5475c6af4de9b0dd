//! The low-water mark of a socket (`SO_RCVLOWAT`), for fewer wake-ups in a bulk transfer. Without it, the kernel wakes the
//! reader for each TLS record that arrives. With it, for [`LOW_WATER`] bytes, as long as these arrive within [`TIMEOUT`].

use std::{
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll},
    time::Duration,
};

use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
#[cfg(target_os = "linux")]
use nix::{libc, setsockopt_impl, sockopt_impl};
use tokio::{
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};

/// Of 64 to 256 KiB, the least CPU time for each byte.
const LOW_WATER: i32 = 128 * 1024;
/// The last bytes of a transfer wait so long for more.
const TIMEOUT: Duration = Duration::from_millis(1);

/// A socket that may have a low-water mark.
pub(super) trait Socket {
    /// How many bytes wake the reader. If as many have arrived already, wakes it now. `false` if that is unsupported.
    fn set_low_water(&self, bytes: i32) -> bool;
}

impl Socket for TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>> {
    fn set_low_water(&self, bytes: i32) -> bool {
        match self.inner() {
            MaybeHttpsStream::Http(stream) => *IS_SUPPORTED && set(stream.inner(), bytes),
            // TLS to a proxy has a buffer of its own.
            MaybeHttpsStream::Https(_) => false,
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
sockopt_impl!(
    /// `SO_RCVLOWAT`
    ReceiveLowWater,
    SetOnly,
    libc::SOL_SOCKET,
    libc::SO_RCVLOWAT,
    i32
);

/// The timeout of the low-water mark, while the socket has one.
#[derive(Default)]
pub(super) struct LowWater(Option<Pin<Box<Sleep>>>);

impl LowWater {
    /// Makes the kernel wake the reader for many bytes only. `false` after the timeout, or if the kernel cannot: the next
    /// byte wakes the reader.
    pub fn wait(&mut self, socket: &impl Socket, context: &mut Context<'_>) -> bool {
        if self.0.is_none() && socket.set_low_water(LOW_WATER) {
            self.0 = Some(Box::pin(sleep(TIMEOUT)));
        }
        let Some(timeout) = &mut self.0 else { return false };
        if timeout.as_mut().poll(context) == Poll::Pending {
            return true;
        }
        self.end(socket);
        false
    }

    /// Starts the timeout again after a read.
    pub fn restart(&mut self) {
        if let Some(timeout) = &mut self.0 {
            timeout.as_mut().reset(Instant::now() + TIMEOUT);
        }
    }

    /// Removes the mark: the next byte wakes the reader.
    pub fn end(&mut self, socket: &impl Socket) {
        if self.0.take().is_some() {
            socket.set_low_water(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Socket, is_new_enough};

    impl Socket for &[u8] {
        fn set_low_water(&self, _bytes: i32) -> bool {
            false
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
