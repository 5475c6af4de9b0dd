//! The low-water mark of a socket (`SO_RCVLOWAT`), for fewer wake-ups in a bulk transfer. Without it, the kernel wakes the
//! reader for each TLS record that arrives. With it, for [`LOW_WATER`] bytes, as long as these arrive within [`TIMEOUT`].

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

use super::socket::Socket;

/// Of 64 to 256 KiB, the least CPU time for each byte.
const LOW_WATER: i32 = 128 * 1024;
/// The last bytes of a transfer wait so long for more.
const TIMEOUT: Duration = Duration::from_millis(1);

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
