//! The program's life: attach, say so, then frames in and answers out, until the BEAM is gone.
//!
//! The BEAM's end is seen as the end of standard input and by its pidfd, whichever comes first: a
//! child of the BEAM that holds the pipe open must not hold the redirects.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::{AsFd, OwnedFd},
    process::ExitCode,
};

use k8s_connect_sock_diag::SockDiag;
use k8s_connect_wire::{self as wire, Answer, MAJOR, MINOR, Redirect, Refusal, Request};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
    unistd,
};

use crate::{
    caller::{self, Caller, Sudo},
    capability,
    cgroup::Slice,
    hook::{self, Hook},
    input::Input,
    lockdown, policy,
    refusal::kernel,
    self_test::SelfTest,
    sys,
};

/// Serves until the end.
#[must_use]
pub fn run(sudo: &Sudo) -> ExitCode {
    match Server::start(sudo) {
        Ok(mut server) => {
            server.serve();
            ExitCode::SUCCESS
        }
        Err(refusal) => {
            // Nobody may be reading it, for ever.
            let _ = capability::drop_all();
            let _ = say(&Answer::Refused { id: None, refusal }, || true);
            ExitCode::FAILURE
        }
    }
}

struct Server {
    caller: Caller,
    hook: Hook,
    sockets: SockDiag,
    signals: SignalFd,
    /// Once it has said who it is.
    beam: Option<OwnedFd>,
}

/// What to do after a request.
enum Next {
    Answer(Answer),
    /// There is nothing to say.
    Continue,
    /// The last answer.
    End(Answer),
}

impl Server {
    /// The order matters: no input is read, and nobody else may trace this process, until all
    /// privilege is given up.
    fn start(sudo: &Sudo) -> Result<Self, Refusal> {
        lockdown::begin()?;
        capability::check_user_namespace()?;
        let caller = caller::identify(sudo)?;
        let slice = Slice::of(caller.uid)?;
        let offsets = hook::offsets()?;
        if caller.by_sudo {
            lockdown::check_suid_dumpable()?;
        }
        capability::raise(caller.by_sudo)?;
        let test = SelfTest::start(caller)?;
        // A failure is told without capabilities: its user may keep the end of a tester from being seen.
        let hook = Hook::attach(&caller, &slice, &offsets);
        if caller.by_sudo {
            caller.become_user()?;
            lockdown::untraceable().map_err(kernel("giving up being traced"))?;
        }
        capability::drop_all()?;
        let mut hook = hook?;
        test.run(&mut hook)?;
        let mut sockets = SockDiag::open().map_err(kernel("opening sock_diag"))?;
        let signals = signals().map_err(kernel("taking signals"))?;
        lockdown::finish()?;
        // A system call of this C library that the filter does not allow ends the helper here, and not later.
        let nowhere = Redirect { to: DOCUMENTATION, via: DOCUMENTATION.port() };
        policy::check_not_local(&[nowhere])?;
        let _ = policy::listener(&nowhere, caller.uid, &mut sockets);
        Ok(Self { caller, hook, sockets, signals, beam: None })
    }

    fn serve(&mut self) {
        let ready = Answer::Ready {
            major: MAJOR,
            minor: MINOR,
            version: env!("CARGO_PKG_VERSION").into(),
            uid: self.caller.uid,
            gid: self.caller.gid,
        };
        let mut input = Input::default();
        let mut going_on = self.say(&ready);
        while going_on {
            going_on = match input.next_frame() {
                Some(frame) => match self.next(frame) {
                    Next::Answer(answer) => self.say(&answer),
                    Next::Continue => true,
                    Next::End(answer) => {
                        self.say(&answer);
                        false
                    }
                },
                None => self.wait(&io::stdin(), PollFlags::POLLIN) && input.fill(),
            };
        }
    }

    fn next(&mut self, frame: Result<Vec<u8>, Refusal>) -> Next {
        let refused = |refusal| Answer::Refused { id: None, refusal };
        let request = frame.and_then(|frame| wire::request(&frame));
        if self.beam.is_none() {
            return match request.and_then(|request| self.hello(&request)) {
                Ok(()) => Next::Continue,
                Err(refusal) => Next::End(refused(refusal)),
            };
        }
        Next::Answer(match request {
            Ok(Request::Apply { id, redirects }) => match self.apply(&redirects) {
                Ok(()) => Answer::Applied { id, redirects: redirects.len() },
                Err(refusal) => Answer::Refused { id: Some(id), refusal },
            },
            Ok(Request::Status { id }) => Answer::Status { id, redirects: self.hook.redirects() },
            Ok(Request::Stop { id }) => return Next::End(Answer::Stopped { id }),
            Ok(Request::Hello { .. }) => refused(Refusal::SecondHello),
            Err(refusal) => refused(refusal),
        })
    }

    fn hello(&mut self, request: &Request) -> Result<(), Refusal> {
        match *request {
            Request::Hello { major: MAJOR, pid, .. } => {
                let beam = sys::open_pidfd(pid).map_err(|_| Refusal::NoSuchProcess { pid })?;
                self.beam = Some(beam);
                Ok(())
            }
            Request::Hello { .. } => Err(Refusal::WrongVersion { major: MAJOR, minor: MINOR }),
            _ => Err(Refusal::NoHello),
        }
    }

    /// All of it is checked before any of it is changed.
    fn apply(&mut self, redirects: &[Redirect]) -> Result<(), Refusal> {
        policy::check(redirects)?;
        policy::check_not_local(redirects)?;
        let mut targets = BTreeMap::new();
        for redirect in redirects {
            let listener = policy::listener(redirect, self.caller.uid, &mut self.sockets)?;
            targets.insert(redirect.to, listener);
        }
        self.hook.set(&targets)
    }

    /// Answers; `false` where nobody is there to hear it. A BEAM that does not read must not keep us
    /// from seeing that it has ended.
    fn say(&self, answer: &Answer) -> bool {
        say(answer, || self.wait(&io::stdout(), PollFlags::POLLOUT)).is_ok()
    }

    /// Waits for a descriptor; `false` at the end of the BEAM or after a signal.
    fn wait(&self, descriptor: &impl AsFd, what: PollFlags) -> bool {
        let mut descriptors = vec![
            PollFd::new(descriptor.as_fd(), what),
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
        ];
        descriptors
            .extend(self.beam.iter().map(|beam| PollFd::new(beam.as_fd(), PollFlags::POLLIN)));
        loop {
            match poll(&mut descriptors, PollTimeout::NONE) {
                Ok(_) => break,
                Err(nix::errno::Errno::EINTR) => {}
                Err(_) => return false,
            }
        }
        !descriptors.iter().skip(1).any(|end| end.any().unwrap_or(true))
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

/// Nobody's address (RFC 5737).
const DOCUMENTATION: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 49152);

/// A pipe that can be written to takes as much without a wait (`PIPE_BUF`).
const CHUNK_SIZE: usize = 4096;

/// Writes a frame; `ready` waits until the next chunk can be written, or says no.
fn say(answer: &Answer, ready: impl Fn() -> bool) -> io::Result<()> {
    let body = wire::encode(answer);
    let length = u32::try_from(body.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    let frame = [&length.to_be_bytes(), body.as_slice()].concat();
    let mut rest = frame.as_slice();
    while !rest.is_empty() {
        if !ready() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        match unistd::write(io::stdout(), &rest[..rest.len().min(CHUNK_SIZE)]) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
