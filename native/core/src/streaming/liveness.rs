//! Keepalive: when to ping the peer, and when the connection counts as lost. Pure: the time is an
//! argument.

use std::time::Duration;

use tokio::time::Instant;

/// The idle time before a ping, and the interval between pings.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(6);
/// A peer may answer late once: our own traffic can stall it.
const MAX_UNANSWERED: u32 = 2;
/// For a peer that reads nothing. It cannot answer a ping either, which waits behind the data.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(40);

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing until then.
    WaitUntil(Instant),
    /// Send a ping, and ask again at once.
    Ping,
    /// The connection is lost for this reason.
    Lost(String),
}

/// The state of a peer.
#[derive(Debug)]
pub struct Liveness {
    heard: Instant,
    /// When the peer last sent something, was pinged, or read nothing.
    asked: Instant,
    unanswered: u32,
}

impl Liveness {
    /// A new connection.
    pub fn new(now: Instant) -> Self {
        Self { heard: now, asked: now, unanswered: 0 }
    }

    /// The peer has sent something. Any bytes count as an answer.
    pub fn heard(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    /// `blocked`: since when the peer has read none of our bytes.
    pub fn next(&mut self, now: Instant, blocked: Option<Instant>) -> Action {
        if let Some(since) = blocked {
            let end = since.max(self.heard) + WRITE_TIMEOUT;
            if now >= end {
                let seconds = WRITE_TIMEOUT.as_secs();
                return Action::Lost(format!("timed out after {seconds} s sending data"));
            }
            // A ping that can be sent after that has its full time.
            self.asked = now;
            return Action::WaitUntil(end.min(now + KEEPALIVE_INTERVAL));
        }
        let due = self.asked + KEEPALIVE_INTERVAL;
        if now < due {
            return Action::WaitUntil(due);
        }
        if self.unanswered == MAX_UNANSWERED {
            let seconds = (now - self.heard).as_secs();
            return Action::Lost(format!("no answer to {MAX_UNANSWERED} pings for {seconds} s"));
        }
        self.unanswered += 1;
        self.asked = now;
        Action::Ping
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The seconds of the pings, and the second at which the connection was lost.
    fn run(
        liveness: &mut Liveness,
        start: Instant,
        blocked: impl Fn(u64) -> bool,
    ) -> (Vec<u64>, u64) {
        let mut pings = vec![];
        let mut since = None;
        for second in 0..200 {
            let now = start + SECOND * u32::try_from(second).unwrap();
            since = blocked(second).then(|| since.unwrap_or(now));
            match liveness.next(now, since) {
                Action::Ping => pings.push(second),
                Action::Lost(_) => return (pings, second),
                Action::WaitUntil(then) => assert!(then > now),
            }
        }
        panic!("never lost")
    }

    #[test]
    fn a_silent_peer_is_lost_within_20_s_and_not_after_one_late_answer() {
        let start = Instant::now();
        assert_eq!(run(&mut Liveness::new(start), start, |_| false), (vec![6, 12], 18));
    }

    #[test]
    fn any_bytes_count_as_an_answer() {
        let start = Instant::now();
        let mut liveness = Liveness::new(start);
        assert_eq!(liveness.next(start + SECOND * 6, None), Action::Ping);
        liveness.heard(start + SECOND * 7);
        let due = start + SECOND * 13;
        assert_eq!(liveness.next(start + SECOND * 12, None), Action::WaitUntil(due));
    }

    #[test]
    fn blocked_output_is_noticed_within_40_s_without_pings() {
        let start = Instant::now();
        assert_eq!(run(&mut Liveness::new(start), start, |_| true), (vec![], 40));
    }

    #[test]
    fn after_blocked_output_a_ping_has_its_full_time() {
        let start = Instant::now();
        let blocked = |second| second < 30;
        assert_eq!(run(&mut Liveness::new(start), start, blocked), (vec![35, 41], 47));
    }

    #[test]
    fn a_peer_that_sends_and_reads_nothing_is_not_lost() {
        let start = Instant::now();
        let mut liveness = Liveness::new(start);
        for second in 1..300 {
            let now = start + SECOND * second;
            liveness.heard(now);
            assert!(matches!(liveness.next(now, Some(start)), Action::WaitUntil(_)));
        }
    }
}
