//! The life of the helper: attach, report `ready`, then read requests and write answers until the
//! BEAM ends.
//!
//! The end of the BEAM is detected by end of file on standard input or by its pidfd. The pidfd is
//! needed because a child of the BEAM can keep the pipe open.

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

/// Runs until the BEAM ends, a signal arrives or a request stops it.
#[must_use]
pub fn run(sudo: &Sudo) -> ExitCode {
    match Server::start(sudo) {
        Ok(mut server) => {
            server.serve();
            ExitCode::SUCCESS
        }
        Err(refusal) => {
            // Writing can block for ever, so not with capabilities.
            let _ = capability::drop_all();
            let _ = send(&Answer::Refused { id: None, refusal }, || true);
            ExitCode::FAILURE
        }
    }
}

struct Server {
    caller: Caller,
    hook: Hook,
    sockets: SockDiag,
    signals: SignalFd,
    /// The pidfd of the BEAM, after its hello.
    beam: Option<OwnedFd>,
}

/// What to do after a request.
enum Outcome {
    Answer(Answer),
    /// No answer.
    Continue,
    /// The last answer before exiting.
    End(Answer),
}

impl Server {
    /// The order matters: this process reads no input and stays untraceable until it has dropped
    /// all privileges.
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
        // A failure returns after the capabilities are dropped: to return drops the testers, and
        // the user can delay their end.
        let hook = Hook::attach(&caller, &slice, &offsets);
        if caller.by_sudo {
            caller.become_user()?;
            lockdown::untraceable().map_err(kernel("clearing the dumpable flag"))?;
        }
        capability::drop_all()?;
        let mut hook = hook?;
        test.run(&mut hook)?;
        let mut sockets = SockDiag::open().map_err(kernel("opening sock_diag"))?;
        let signals = signals().map_err(kernel("opening a signalfd"))?;
        lockdown::finish()?;
        // Calls the C library once under the seccomp filter, so that a missing system call is found
        // now.
        let documentation = Redirect { to: DOCUMENTATION, via: DOCUMENTATION.port() };
        policy::check_not_local(&[documentation])?;
        let _ = policy::listener(&documentation, caller.uid, &mut sockets);
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
        let mut running = self.send(&ready);
        while running {
            running = match input.next_frame() {
                Some(frame) => match self.next(frame) {
                    Outcome::Answer(answer) => self.send(&answer),
                    Outcome::Continue => true,
                    Outcome::End(answer) => {
                        self.send(&answer);
                        false
                    }
                },
                None => self.wait(&io::stdin(), PollFlags::POLLIN) && input.fill(),
            };
        }
    }

    fn next(&mut self, frame: Result<Vec<u8>, Refusal>) -> Outcome {
        let refused = |refusal| Answer::Refused { id: None, refusal };
        let request = frame.and_then(|frame| wire::request(&frame));
        if self.beam.is_none() {
            return match request.and_then(|request| self.hello(&request)) {
                Ok(()) => Outcome::Continue,
                Err(refusal) => Outcome::End(refused(refusal)),
            };
        }
        Outcome::Answer(match request {
            Ok(Request::Apply { id, redirects }) => match self.apply(&redirects) {
                Ok(()) => Answer::Applied { id, redirects: redirects.len() },
                Err(refusal) => Answer::Refused { id: Some(id), refusal },
            },
            Ok(Request::Status { id }) => Answer::Status { id, redirects: self.hook.redirects() },
            Ok(Request::Stop { id }) => return Outcome::End(Answer::Stopped { id }),
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

    /// Checks all redirects before changing any.
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

    /// Writes an answer; `false` if that failed. A BEAM that does not read must not keep the helper
    /// from noticing that the BEAM has ended.
    fn send(&self, answer: &Answer) -> bool {
        send(answer, || self.wait(&io::stdout(), PollFlags::POLLOUT)).is_ok()
    }

    /// Waits for a descriptor; `false` if the BEAM has ended or a signal has arrived.
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

/// Receives termination signals as a descriptor.
fn signals() -> io::Result<SignalFd> {
    let mut termination = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        termination.add(signal);
    }
    termination.thread_block()?;
    Ok(SignalFd::with_flags(&termination, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

/// An address for documentation (RFC 5737), which no host has.
const DOCUMENTATION: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 49152);

/// poll(2) guarantees that this many bytes can be written without blocking (`PIPE_BUF`).
const CHUNK_SIZE: usize = 4096;

/// Writes a frame. `ready` waits until a chunk can be written, or returns `false`.
fn send(answer: &Answer, ready: impl Fn() -> bool) -> io::Result<()> {
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
