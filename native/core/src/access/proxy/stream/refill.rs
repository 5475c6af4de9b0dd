//! Writes before the kernel reports the socket as writable. Linux reports that only once a third of the send buffer is free
//! (`__sk_stream_is_writeable`). Over a network with delay, the rate is what the send buffer holds for each round trip, so a
//! buffer that stays full is faster.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    task::coop::has_budget_remaining,
    time::{Instant, Sleep, sleep},
};

use super::socket::Socket;

/// A shorter one fills the buffer better, but costs CPU time. Without delay, the kernel reports the socket as writable sooner.
const INTERVAL: Duration = Duration::from_millis(20);

/// If the buffer stays full, the interval doubles up to this.
const MAX_INTERVAL: Duration = Duration::from_secs(1);

/// What to do while the socket is not reported as writable.
#[derive(Default)]
pub(super) enum Refill {
    #[default]
    Off,
    /// The buffer was full at the beginning of this interval.
    Full(Pin<Box<Sleep>>, Duration),
    /// There was room at the last write.
    Room,
}

impl Refill {
    /// `written`: the result of an ordinary write. If the socket is not reported as writable, writes all the same at the end
    /// of each interval, until the buffer is full.
    pub fn write(
        &mut self,
        written: Poll<io::Result<usize>>,
        socket: &impl Socket,
        buffers: &[IoSlice<'_>],
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            *self = Self::Off;
            return written;
        }
        // Otherwise tokio only wants other tasks to run.
        if !has_budget_remaining() || !socket.can_send() {
            return Poll::Pending;
        }
        loop {
            match self {
                Self::Off => *self = Self::Full(Box::pin(sleep(INTERVAL)), INTERVAL),
                Self::Full(end, interval) => {
                    ready!(end.as_mut().poll(context));
                    if let Some(result) = send(socket, buffers) {
                        *self = Self::Room;
                        return Poll::Ready(result);
                    }
                    *interval = MAX_INTERVAL.min(2 * *interval);
                    end.as_mut().reset(Instant::now() + *interval);
                }
                Self::Room => match send(socket, buffers) {
                    Some(result) => return Poll::Ready(result),
                    None => *self = Self::Off,
                },
            }
        }
    }
}

/// `None` if the buffer is full.
fn send(socket: &impl Socket, buffers: &[IoSlice<'_>]) -> Option<io::Result<usize>> {
    match socket.send(buffers) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        result => Some(result),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::{Cell, RefCell},
        future::poll_fn,
    };

    use tokio::time::Instant;

    use super::*;

    /// Has this much room, but is never reported as writable.
    #[derive(Default)]
    struct Full {
        room: Cell<usize>,
        /// How often it was full.
        refused: Cell<usize>,
        sent: RefCell<Vec<u8>>,
    }

    impl Socket for Full {
        fn set_low_water(&self, _bytes: i32) -> bool {
            false
        }

        fn can_send(&self) -> bool {
            true
        }

        fn send(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
            let bytes: Vec<u8> = buffers.iter().flat_map(|buffer| buffer.iter().copied()).collect();
            let count = bytes.len().min(self.room.get());
            if count == 0 {
                self.refused.update(|count| count + 1);
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.room.update(|room| room - count);
            self.sent.borrow_mut().extend_from_slice(&bytes[..count]);
            Ok(count)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_buffer_is_filled_again_once_in_an_interval() -> io::Result<()> {
        let (socket, mut refill, start) = (Full::default(), Refill::default(), Instant::now());
        let mut write = async |bytes: &[&[u8]]| {
            let buffers: Vec<_> = bytes.iter().map(|bytes| IoSlice::new(bytes)).collect();
            poll_fn(|context| refill.write(Poll::Pending, &socket, &buffers, context)).await
        };
        socket.room.set(6);
        assert_eq!(write(&[b"abc", b"def"]).await?, 6);
        assert_eq!(start.elapsed(), INTERVAL);
        // At once, as long as there is room.
        socket.room.set(4);
        assert_eq!(write(&[b"ghi"]).await?, 3);
        assert_eq!(write(&[b"jkl"]).await?, 1);
        assert_eq!(start.elapsed(), INTERVAL);
        // Less and less often, as long as it stays full.
        let more_room = async {
            tokio::time::sleep(100 * INTERVAL).await;
            assert!(socket.refused.get() < 10, "{}", socket.refused.get());
            socket.room.set(2);
            Ok(())
        };
        assert_eq!(tokio::try_join!(write(&[b"kl"]), more_room)?.0, 2);
        assert!(start.elapsed() <= 101 * INTERVAL + MAX_INTERVAL, "{:?}", start.elapsed());
        assert_eq!(*socket.sent.borrow(), b"abcdefghijkl");
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn an_ordinary_write_ends_it() {
        let (socket, mut refill) = (Full::default(), Refill::default());
        socket.room.set(10);
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut write =
            |written| refill.write(written, &socket, &[IoSlice::new(b"a")], &mut context);
        assert!(write(Poll::Pending).is_pending());
        assert!(matches!(write(Poll::Ready(Ok(1))), Poll::Ready(Ok(1))));
        tokio::time::advance(2 * INTERVAL).await;
        assert!(write(Poll::Pending).is_pending(), "a new interval");
        assert_eq!(socket.room.get(), 10);
    }
}
