//! The program's life: frames in, answers out, until the BEAM is gone.
//!
//! The BEAM's end is seen twice, as the end of standard input and by its pidfd, whichever comes
//! first: a child of the BEAM that holds the pipe open must not hold the rules. A signal to end
//! is obeyed in the same, orderly way.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    process::ExitCode,
    time::{Duration, Instant},
};

use k8s_connect_wire::{self as wire, Answer, MAJOR, MINOR, Refusal, Request};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
    unistd,
};

use crate::{
    caller::{self, Caller},
    capability, lockdown,
    policy::kernel,
    redirect::{self, Mechanism},
};

/// Serves until the end. `sudo_uid` is who called `sudo`, if anybody did.
#[must_use]
pub fn run(sudo_uid: Option<&str>) -> ExitCode {
    let result = lockdown::begin().and_then(|()| Server::start(sudo_uid));
    match result {
        Ok(Some(mut server)) => {
            let farewell = server.serve();
            let Server { life, mechanism, .. } = server;
            if let Ok(mechanism) = mechanism {
                mechanism.end();
            }
            if let Some(id) = farewell {
                life.say(&Answer::Applied { id, redirects: 0, routed: vec![] });
            }
            ExitCode::SUCCESS
        }
        Ok(None) => ExitCode::SUCCESS,
        Err(refusal) => {
            let _ = say(&Answer::Refused { id: None, refusal }, || true);
            ExitCode::FAILURE
        }
    }
}

struct Server {
    life: Life,
    input: Input,
    pace: Pace,
    mechanism: Result<Box<dyn Mechanism>, Refusal>,
}

impl Server {
    /// `None`: the BEAM has ended before it said anything.
    fn start(sudo_uid: Option<&str>) -> Result<Option<Self>, Refusal> {
        caller::refuse_setuid()?;
        let mut input = Input::default();
        let Some(pid) = input.hello()? else { return Ok(None) };
        let Caller { uid, beam } = caller::identify(pid, sudo_uid)?;
        let life = Life { beam, signals: signals().map_err(kernel("taking signals"))? };
        let mechanism = capability::check().and_then(|()| capability::with(|| redirect::open(uid)));
        lockdown::finish()?;
        life.say(&Answer::Hello {
            major: MAJOR,
            minor: MINOR,
            version: env!("CARGO_PKG_VERSION").into(),
            uid,
            mechanism: mechanism.as_ref().ok().map(|mechanism| mechanism.name().into()),
            unable: mechanism.as_ref().err().cloned(),
        });
        Ok(Some(Self { life, input, pace: Pace::new(), mechanism }))
    }

    /// Until the end; answers the request that is still to be answered, if one has asked for it.
    fn serve(&mut self) -> Option<u64> {
        loop {
            while let Some(frame) = self.input.next_frame() {
                let answer = match frame.and_then(|frame| wire::request(&frame)) {
                    Ok(Request::Reset { id }) => return Some(id),
                    Ok(request) => self.answer(request),
                    Err(refusal) => Answer::Refused { id: None, refusal },
                };
                if !self.life.say(&answer) {
                    return None;
                }
            }
            let news = self.mechanism.as_ref().ok().map(|mechanism| mechanism.news());
            match self.life.wait(&Wanted::Input(news)) {
                Event::News => self.refresh(),
                Event::Ready if self.input.fill() => {}
                _ => return None,
            }
        }
    }

    fn answer(&mut self, request: Request) -> Answer {
        let (id, result) = match request {
            Request::Hello { .. } | Request::Reset { .. } => (None, Err(Refusal::SecondHello)),
            Request::Apply { id, redirects } => (Some(id), self.apply(id, &redirects)),
            Request::Status { id } => (Some(id), Ok(self.status(id))),
        };
        result.unwrap_or_else(|refusal| Answer::Refused { id, refusal })
    }

    fn refresh(&mut self) {
        if let Ok(mechanism) = &mut self.mechanism {
            mechanism.refresh();
        }
    }

    fn apply(&mut self, id: u64, redirects: &[wire::Redirect]) -> Result<Answer, Refusal> {
        let mechanism = self.mechanism.as_mut().map_err(|refusal| refusal.clone())?;
        // What is refused, or so already, costs nobody else anything.
        if mechanism.would_change(redirects)? {
            self.pace.wait(&self.life);
            mechanism.apply(redirects)?;
        }
        Ok(Answer::Applied { id, redirects: redirects.len(), routed: mechanism.routed() })
    }

    fn status(&self, id: u64) -> Answer {
        let mechanism = self.mechanism.as_ref();
        Answer::Status {
            id,
            redirects: mechanism.map(|it| it.redirects().to_vec()).unwrap_or_default(),
            routed: mechanism.map(|it| it.routed()).unwrap_or_default(),
            capabilities: mechanism.map(|_| vec!["cap_net_admin".into()]).unwrap_or_default(),
        }
    }
}

/// What everything ends with: the BEAM, by its pidfd, and signals that ask for it.
struct Life {
    beam: OwnedFd,
    signals: SignalFd,
}

impl Life {
    /// Answers; `false` where nobody is there to hear it.
    fn say(&self, answer: &Answer) -> bool {
        say(answer, || self.can_say()).is_ok()
    }

    /// Waits until the answer can be written: a BEAM that does not read must not keep us from
    /// seeing that it has ended.
    fn can_say(&self) -> bool {
        self.wait(&Wanted::Output) == Event::Ready
    }

    fn wait(&self, wanted: &Wanted) -> Event {
        let (stdin, stdout) = (io::stdin(), io::stdout());
        let ready = match wanted {
            Wanted::Output => PollFd::new(stdout.as_fd(), PollFlags::POLLOUT),
            _ => PollFd::new(stdin.as_fd(), PollFlags::POLLIN),
        };
        let end = |descriptor| PollFd::new(descriptor, PollFlags::POLLIN);
        let mut descriptors = vec![end(self.beam.as_fd()), end(self.signals.as_fd())];
        let mut timeout = PollTimeout::NONE;
        match wanted {
            Wanted::Pause(pause) => timeout = PollTimeout::try_from(*pause).unwrap_or(timeout),
            Wanted::Input(Some(news)) => descriptors.extend([ready, end(*news)]),
            Wanted::Input(None) | Wanted::Output => descriptors.push(ready),
        }
        loop {
            match poll(&mut descriptors, timeout) {
                Ok(_) => break,
                Err(nix::errno::Errno::EINTR) => {}
                Err(_) => return Event::End,
            }
        }
        let can = |at: usize| {
            descriptors.get(at).is_some_and(|descriptor| descriptor.any().unwrap_or(true))
        };
        match (can(0) || can(1), can(3)) {
            (true, _) => Event::End,
            (false, true) => Event::News,
            (false, false) => Event::Ready,
        }
    }
}

/// What there is to wait for, besides the end.
enum Wanted<'a> {
    /// A frame, or news for a mechanism.
    Input(Option<BorrowedFd<'a>>),
    /// Room for an answer.
    Output,
    /// Nothing; only time.
    Pause(Duration),
}

#[derive(PartialEq, Eq)]
enum Event {
    Ready,
    News,
    End,
}

/// Each change makes everybody's listing of rules begin again, so that a user who changes without a
/// pause could keep others from it: a few changes are free, and then there is one in a while.
struct Pace {
    free: u32,
    since: Instant,
}

impl Pace {
    const BURST: u32 = 20;
    const WHILE: Duration = Duration::from_millis(100);

    fn new() -> Self {
        Self { free: Self::BURST, since: Instant::now() }
    }

    fn wait(&mut self, life: &Life) {
        let earned = self.since.elapsed().as_millis() / Self::WHILE.as_millis();
        if earned > 0 {
            let earned = u32::try_from(earned).unwrap_or(Self::BURST);
            self.free = Self::BURST.min(self.free.saturating_add(earned));
            self.since = Instant::now();
        }
        if self.free > 0 {
            self.free -= 1;
        } else {
            // The end is seen by who waits next.
            life.wait(&Wanted::Pause(Self::WHILE));
            self.since = Instant::now();
        }
    }
}

/// Bytes from the BEAM, on their way to be frames.
#[derive(Default)]
struct Input {
    bytes: Vec<u8>,
    /// What is left of a frame that was refused for its length.
    skip: usize,
}

impl Input {
    /// Reads the first frame, which says who is there; `None` at the end of the input.
    fn hello(&mut self) -> Result<Option<u32>, Refusal> {
        let frame = loop {
            if let Some(frame) = self.next_frame() {
                break frame?;
            }
            if !self.fill() {
                return Ok(None);
            }
        };
        match wire::request(&frame)? {
            Request::Hello { major: MAJOR, pid, .. } => Ok(Some(pid)),
            Request::Hello { .. } => Err(Refusal::WrongVersion { major: MAJOR, minor: MINOR }),
            _ => Err(Refusal::NoHello),
        }
    }

    /// A frame that has arrived. One that is too long is refused, and passed over.
    fn next_frame(&mut self) -> Option<Result<Vec<u8>, Refusal>> {
        let skipped = self.skip.min(self.bytes.len());
        self.bytes.drain(..skipped);
        self.skip -= skipped;
        let header = self.bytes.get(..4)?.try_into().ok()?;
        match wire::frame_length(header) {
            Ok(length) => {
                let frame = self.bytes.get(4..4 + length)?.to_vec();
                self.bytes.drain(..4 + length);
                Some(Ok(frame))
            }
            Err(refusal) => {
                self.bytes.drain(..4);
                if let Refusal::TooLong { length } = refusal {
                    self.skip = usize::try_from(length).unwrap_or(usize::MAX);
                }
                Some(Err(refusal))
            }
        }
    }

    /// Waits for bytes; `false` at the end.
    fn fill(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        loop {
            match unistd::read(io::stdin(), &mut buffer) {
                Ok(length @ 1..) => {
                    self.bytes.extend_from_slice(&buffer[..length]);
                    return true;
                }
                Err(nix::errno::Errno::EINTR) => {}
                _ => return false,
            }
        }
    }
}

/// Signals that ask us to end come by a descriptor instead.
fn signals() -> io::Result<SignalFd> {
    let mut ends = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        ends.add(signal);
    }
    ends.thread_block()?;
    Ok(SignalFd::with_flags(&ends, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

/// Writes a frame in pieces that a pipe takes at once; `ready` waits for that, or says no.
fn say(answer: &Answer, ready: impl Fn() -> bool) -> io::Result<()> {
    let body = wire::encode(answer);
    let length = u32::try_from(body.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    let frame = [&length.to_be_bytes(), body.as_slice()].concat();
    let mut rest = frame.as_slice();
    while !rest.is_empty() {
        if !ready() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        match unistd::write(io::stdout(), &rest[..rest.len().min(PIECE)]) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A pipe that can be written to takes as much without a wait (`PIPE_BUF`).
const PIECE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(pieces: &[&[u8]]) -> Vec<Result<Vec<u8>, Refusal>> {
        let mut input = Input::default();
        let mut found = Vec::new();
        for piece in pieces {
            input.bytes.extend_from_slice(piece);
            while let Some(frame) = input.next_frame() {
                found.push(frame);
            }
        }
        found
    }

    #[test]
    fn every_way_to_cut_the_input_gives_the_same_frames() {
        let too_long = wire::MAX_FRAME + 1;
        let mut bytes = b"\0\0\0\x03abc\0\0\0\0\0\0\0\x01d".to_vec();
        bytes.extend_from_slice(&u32::try_from(too_long).unwrap_or(0).to_be_bytes());
        bytes.extend(std::iter::repeat_n(0, too_long));
        bytes.extend_from_slice(b"\0\0\0\x01e");
        let length = u32::try_from(too_long).unwrap_or(0);
        let expected = vec![
            Ok(b"abc".to_vec()),
            Err(Refusal::Empty),
            Ok(b"d".to_vec()),
            Err(Refusal::TooLong { length }),
            Ok(b"e".to_vec()),
        ];
        for cut in (0..20).chain(bytes.len() - 8..bytes.len()) {
            assert_eq!(frames(&[&bytes[..cut], &bytes[cut..]]), expected, "{cut}");
        }
    }
}
