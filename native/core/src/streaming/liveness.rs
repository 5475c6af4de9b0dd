//! Keepalive: decides when to ping the peer and when the connection is lost. The functions are pure: the caller
//! passes the time.

use std::time::Duration;

use tokio::time::Instant;

/// The idle time before a ping, and the interval between pings.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(6);
/// Two, because the peer can answer one ping late: our own traffic can stall it.
const MAX_UNANSWERED: u32 = 2;
/// The timeout of the ping after the machine was suspended.
const RESUME_TIMEOUT: Duration = Duration::from_secs(2);
/// The timeout for a peer that reads nothing. A ping would wait behind the data, so the peer could not answer it.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(40);

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Wait until this time.
    WaitUntil(Instant),
    /// Send a ping, and call `next` again at once.
    Ping,
    /// The connection is lost for this reason.
    Lost(String),
}

/// The liveness of the peer of one connection.
#[derive(Debug)]
pub struct Liveness {
    heard: Instant,
    /// The start of the keepalive interval: when the peer last sent something, was pinged, or read nothing.
    asked: Instant,
    unanswered: u32,
    resume_ping: ResumePing,
}

/// The state of the ping after the machine was suspended. The peer may have gone away meanwhile, while our clock
/// stood still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ResumePing {
    NotNeeded,
    Due,
    Sent(Instant),
}

impl Liveness {
    /// The state of a new connection.
    pub fn new(now: Instant) -> Self {
        Self { heard: now, asked: now, unanswered: 0, resume_ping: ResumePing::NotNeeded }
    }

    /// The peer has sent something. Any bytes count as an answer.
    pub fn heard(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    /// The machine was suspended.
    pub fn resumed(&mut self) {
        self.resume_ping = ResumePing::Due;
    }

    /// Returns what to do at `now`. `blocked` is the time since which the peer has read none of our bytes.
    pub fn next(&mut self, now: Instant, blocked: Option<Instant>) -> Action {
        if let Some(since) = blocked {
            let end = since.max(self.heard) + WRITE_TIMEOUT;
            if now >= end {
                let seconds = WRITE_TIMEOUT.as_secs();
                return Action::Lost(format!("timed out after {seconds} s sending data"));
            }
            // A ping that is sent when the peer reads again gets its full timeout.
            self.asked = now;
            let mut interval = KEEPALIVE_INTERVAL;
            if self.resume_ping != ResumePing::NotNeeded {
                self.resume_ping = ResumePing::Due;
                interval = RESUME_TIMEOUT;
            }
            return Action::WaitUntil(end.min(now + interval));
        }
        match self.resume_ping {
            ResumePing::NotNeeded => self.next_keepalive(now),
            ResumePing::Due => {
                self.resume_ping = ResumePing::Sent(now);
                Action::Ping
            }
            ResumePing::Sent(sent) if now < sent + RESUME_TIMEOUT => {
                Action::WaitUntil(sent + RESUME_TIMEOUT)
            }
            ResumePing::Sent(_) => {
                let seconds = RESUME_TIMEOUT.as_secs();
                Action::Lost(format!(
                    "no answer to a ping for {seconds} s after the machine was suspended"
                ))
            }
        }
    }

    fn next_keepalive(&mut self, now: Instant) -> Action {
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

    /// Returns the seconds at which pings were sent, and the second at which the connection was lost.
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

    const LOST: &str = "no answer to a ping for 2 s after the machine was suspended";

    #[test]
    fn after_a_suspension_a_silent_peer_is_pinged_at_once_and_lost_after_2_s() {
        let start = Instant::now();
        // A keepalive ping that is due and earlier unanswered pings do not matter.
        for second in [0, 3, 6, 12] {
            let mut liveness = Liveness::new(start);
            let now = start + SECOND * second;
            while liveness.next(now, None) == Action::Ping {}
            liveness.resumed();
            assert_eq!(liveness.next(now, None), Action::Ping);
            let end = now + SECOND * 2;
            assert_eq!(liveness.next(now, None), Action::WaitUntil(end));
            assert_eq!(liveness.next(end - SECOND / 10, None), Action::WaitUntil(end));
            assert_eq!(liveness.next(end, None), Action::Lost(LOST.into()));
        }
    }

    #[test]
    fn after_a_suspension_any_bytes_count_as_an_answer() {
        let start = Instant::now();
        let mut liveness = Liveness::new(start);
        liveness.resumed();
        assert_eq!(liveness.next(start, None), Action::Ping);
        liveness.heard(start + SECOND);
        let due = Action::WaitUntil(start + SECOND * 7);
        assert_eq!(liveness.next(start + SECOND * 3, None), due);
    }

    #[test]
    fn a_second_suspension_is_a_second_ping_with_its_full_time() {
        let start = Instant::now();
        let mut liveness = Liveness::new(start);
        for second in [0, 1] {
            liveness.resumed();
            assert_eq!(liveness.next(start + SECOND * second, None), Action::Ping);
        }
        let end = start + SECOND * 3;
        assert_eq!(liveness.next(start + SECOND * 2, None), Action::WaitUntil(end));
        assert_eq!(liveness.next(end, None), Action::Lost(LOST.into()));
    }

    #[test]
    fn after_a_suspension_blocked_output_delays_the_ping() {
        let start = Instant::now();
        let mut liveness = Liveness::new(start);
        liveness.resumed();
        // `next` is called again soon, because output is often blocked only for a moment.
        let soon = Action::WaitUntil(start + SECOND * 2);
        assert_eq!(liveness.next(start, Some(start)), soon);
        assert_eq!(run(&mut liveness, start, |second| second < 5), (vec![5], 7));
    }

    #[test]
    fn output_that_blocks_after_the_ping_repeats_it() {
        let start = Instant::now();
        let mut liveness = Liveness::new(start);
        liveness.resumed();
        assert_eq!(run(&mut liveness, start, |second| second == 1), (vec![0, 2], 4));
        liveness = Liveness::new(start);
        liveness.resumed();
        assert_eq!(run(&mut liveness, start, |second| second > 0), (vec![0], 41));
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
