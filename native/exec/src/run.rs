//! The life of the command, from the filter to the exit code.

use std::{
    ffi::CString,
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl,
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
    unistd::{ForkResult, Pid, getpid},
};

use crate::{
    child::{self, Message},
    endpoints::Endpoints,
    processes,
    redirect::Redirect,
    report::{Failure, Report},
    signals, stdio,
    supervisor::Supervisor,
    sys::{self, ExitStatus},
};

/// Time between the signal that asks the command to end and SIGKILL.
const GRACE_PERIOD: Duration = Duration::from_secs(2);
/// An unusual loopback address, so that no program uses it by accident.
const TRIAL_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 255, 255, 254);

/// The command and its redirects.
pub struct Options {
    /// Connections to redirect.
    pub redirects: Vec<Redirect>,
    /// The command and its arguments.
    pub command: Vec<CString>,
    /// A socket to the library. When the library closes it, the command is ended. The report is
    /// written to it.
    pub control: Option<RawFd>,
}

/// Runs the command and reports its result.
#[must_use]
pub fn run(options: &Options) -> Report {
    // Duplicates the descriptor, so that the command does not inherit it.
    let control = options.control.and_then(sys::inherited).map(UnixStream::from);
    sys::close_on_exec_from(3);
    stdio::prepare();
    let report = match Runner::start(options, control.as_ref()) {
        Ok(mut runner) => {
            let report = runner.serve();
            runner.release();
            report
        }
        Err(error) => Report::Failed(Failure::System, error.to_string()),
    };
    match (&report, control) {
        // The library may have closed the socket.
        (report, Some(mut control)) => drop(writeln!(control, "{report}")),
        (Report::Failed(..), None) => eprintln!("k8s_connect_exec: {report}"),
        (_ended, None) => {}
    }
    report
}

struct Runner<'a> {
    command: Pid,
    signals: SignalFd,
    /// `None` without a library, or after it has closed the socket.
    control: Option<&'a UnixStream>,
    /// Messages from the child, until it has executed the command.
    channel: Option<OwnedFd>,
    /// `None` before the filter is installed, and after the last process with the filter has ended.
    supervisor: Option<Supervisor>,
    /// Passed to the supervisor once the filter is installed.
    endpoints: Option<Endpoints>,
    /// The trial redirect, until the trial connection is established.
    trial: Option<(Redirect, TcpListener)>,
    /// The first error of a system call that inspected the caller of `connect()`.
    ptrace_error: Option<io::Error>,
    failure: Option<(Failure, String)>,
    result: Option<Report>,
    /// When remaining processes are killed, after the command was asked to end.
    deadline: Option<Instant>,
}

/// An event source that is ready.
#[derive(Clone, Copy)]
enum Event {
    Signal,
    Control,
    Channel,
    Call,
}

impl<'a> Runner<'a> {
    fn start(options: &Options, control: Option<&'a UnixStream>) -> io::Result<Self> {
        let mut signals = SigSet::empty();
        for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGHUP] {
            signals.add(signal);
        }
        // Under `nohup`: a blocked signal would arrive at the signalfd, even though it is ignored.
        if signals::is_ignored(Signal::SIGHUP) {
            signals.remove(Signal::SIGHUP);
        }
        let mut blocked = signals;
        // Ctrl-C and Ctrl-\ are for the command only. These signals stay pending here.
        blocked.add(Signal::SIGINT);
        blocked.add(Signal::SIGQUIT);
        blocked.thread_block()?;
        let signals =
            SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        // Orphans become our children, so that `descendants` finds them.
        prctl::set_child_subreaper(true)?;
        let trial = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let listener_address = trial.local_addr()?;
        let to = SocketAddr::new(TRIAL_ADDRESS.into(), listener_address.port());
        let trial_redirect = Redirect { to, via: listener_address.port() };
        let mut redirects = options.redirects.clone();
        redirects.push(trial_redirect);
        let endpoints = Endpoints::new(&redirects)?;
        let (ours, theirs) = child::channel()?;
        let parent = getpid();
        let command = match sys::fork()? {
            ForkResult::Parent { child } => child,
            ForkResult::Child => {
                drop(ours);
                child::run(parent, &theirs, &options.command, to, listener_address);
                std::process::exit(1);
            }
        };
        Ok(Self {
            command,
            signals,
            control,
            channel: Some(ours),
            supervisor: None,
            endpoints: Some(endpoints),
            trial: Some((trial_redirect, trial)),
            ptrace_error: None,
            failure: None,
            result: None,
            deadline: None,
        })
    }

    fn serve(&mut self) -> Report {
        loop {
            if let Some(report) = self.report() {
                return report;
            }
            match self.wait() {
                Ok(events) => events.into_iter().for_each(|event| self.handle(event)),
                Err(error) => {
                    self.signal(Signal::SIGKILL);
                    return Report::Failed(Failure::System, error.desc().into());
                }
            }
            if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                self.signal(Signal::SIGKILL);
            }
        }
    }

    /// The report, once the command has ended. If it was asked to end, also waits for its
    /// descendants.
    fn report(&mut self) -> Option<Report> {
        if self.result.is_none() || self.deadline.is_some() && !processes::descendants().is_empty()
        {
            return None;
        }
        let failure =
            self.failure.take().map(|(failure, problem)| Report::Failed(failure, problem));
        failure.or_else(|| self.result.take())
    }

    fn wait(&self) -> nix::Result<Vec<Event>> {
        let sources: [(Event, Option<BorrowedFd>); 4] = [
            // Handled before calls, because closing the control socket changes how calls are
            // answered.
            (Event::Control, self.control.map(AsFd::as_fd)),
            (Event::Call, self.supervisor.as_ref().map(Supervisor::listener)),
            (Event::Channel, self.channel.as_ref().map(AsFd::as_fd)),
            (Event::Signal, Some(self.signals.as_fd())),
        ];
        let sources: Vec<_> =
            sources.into_iter().filter_map(|(event, source)| Some((event, source?))).collect();
        let mut polled: Vec<_> = sources
            .iter()
            .map(|(_event, source)| PollFd::new(*source, PollFlags::POLLIN))
            .collect();
        match poll(&mut polled, self.timeout()) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
        let ready = sources.iter().zip(&polled).filter(|(_source, fd)| fd.any() == Some(true));
        Ok(ready.map(|((event, _source), _fd)| *event).collect())
    }

    /// After the deadline, polls until the killed processes are gone.
    fn timeout(&self) -> PollTimeout {
        let again = Duration::from_millis(10);
        self.deadline.map_or(PollTimeout::NONE, |deadline| {
            let left = deadline.saturating_duration_since(Instant::now()).max(again);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        })
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Signal => self.take_signals(),
            // The library never writes to this socket. An event means that the library has closed
            // it.
            Event::Control => {
                self.control = None;
                self.end(Signal::SIGHUP);
            }
            Event::Channel => self.listen(),
            Event::Call => self.answer(),
        }
    }

    fn take_signals(&mut self) {
        while let Ok(Some(taken)) = self.signals.read_signal() {
            match i32::try_from(taken.ssi_signo)
                .ok()
                .and_then(|number| Signal::try_from(number).ok())
            {
                Some(Signal::SIGCHLD) => self.reap(),
                Some(signal) => self.end(signal),
                None => {}
            }
        }
    }

    /// Also reaps orphans, which are children of this subreaper.
    fn reap(&mut self) {
        while let Some((pid, end)) = sys::reap() {
            if pid == self.command {
                self.result = Some(match end {
                    ExitStatus::Exited(code) => Report::Exited(code),
                    ExitStatus::Signaled(signal) => Report::Signaled(signal),
                });
            }
        }
        // A message that the child sent before it ended.
        if self.result.is_some() && self.channel.is_some() {
            self.listen();
        }
    }

    /// Asks the command and its descendants to end.
    fn end(&mut self, signal: Signal) {
        self.deadline.get_or_insert_with(|| Instant::now() + GRACE_PERIOD);
        // The listeners may be closed, and another program can use their ports.
        if let Some(supervisor) = &mut self.supervisor {
            supervisor.reject();
        }
        self.signal(signal);
    }

    /// Lets processes that outlive the command connect without redirects.
    fn release(self) {
        if let Some(supervisor) = self.supervisor {
            supervisor.hand_over();
        }
    }

    /// Sends a signal to the command and to its descendants in our session. The command itself may
    /// have left the session.
    fn signal(&self, signal: Signal) {
        // A reaped PID can be reused.
        let command = self.result.is_none().then_some(self.command);
        processes::signal(signal, command);
    }

    fn listen(&mut self) {
        let Some(channel) = &self.channel else { return };
        match child::receive(channel) {
            Ok(Message::Listener(listener, restarts)) => {
                let Some(endpoints) = self.endpoints.take() else { return };
                let mut supervisor = Supervisor::new(listener, endpoints, restarts);
                if self.deadline.is_some() {
                    supervisor.reject();
                }
                self.supervisor = Some(supervisor);
            }
            Ok(Message::Redirected) => {
                if let (Some(supervisor), Some((redirect, _listener))) =
                    (&mut self.supervisor, self.trial.take())
                {
                    supervisor.remove(redirect);
                }
            }
            Ok(Message::Failed(failure, problem)) => {
                self.failure = Some(self.explain(failure, problem));
            }
            Ok(Message::Closed) | Err(_) => self.channel = None,
        }
    }

    /// Replaces the child's failure by the cause seen here: the kernel did not permit ptrace.
    fn explain(&mut self, failure: Failure, problem: String) -> (Failure, String) {
        match (failure, self.ptrace_error.take()) {
            (Failure::NotRedirected, Some(error)) => (Failure::NoPtrace, error.to_string()),
            _other => (failure, problem),
        }
    }

    fn answer(&mut self) {
        let Some(supervisor) = &mut self.supervisor else { return };
        let more = supervisor.answer();
        self.ptrace_error = self.ptrace_error.take().or(supervisor.problem());
        if !more {
            self.supervisor = None;
        }
    }
}
