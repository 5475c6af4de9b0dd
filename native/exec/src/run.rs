//! The command's life, from the filter to its exit code.

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
    sys::{self, End},
};

/// Between the request to end and the end.
const GRACE: Duration = Duration::from_secs(2);
/// Nobody has this address by accident, and it never leaves the machine.
const TRIAL: Ipv4Addr = Ipv4Addr::new(127, 255, 255, 254);

/// What to run.
pub struct Options {
    /// The connections that are not the kernel's own.
    pub redirects: Vec<Redirect>,
    /// The command and its arguments.
    pub command: Vec<CString>,
    /// A socket whose other end the library holds: its end is the command's, and the report goes
    /// there.
    pub control: Option<RawFd>,
}

/// Runs the command to its end, and tells it.
#[must_use]
pub fn run(options: &Options) -> Report {
    // A copy: the number itself is not for the command.
    let control = options.control.and_then(sys::inherited).map(UnixStream::from);
    sys::close_on_exec_from(3);
    stdio::prepare();
    let report = match Runner::start(options, control.as_ref()) {
        Ok(mut runner) => {
            let report = runner.serve();
            runner.leave();
            report
        }
        Err(error) => Report::Failed(Failure::System, error.to_string()),
    };
    match (&report, control) {
        // Nobody may wait for it any more.
        (report, Some(mut control)) => drop(writeln!(control, "{report}")),
        (Report::Failed(..), None) => eprintln!("k8s_connect_exec: {report}"),
        (_ended, None) => {}
    }
    report
}

struct Runner<'a> {
    command: Pid,
    signals: SignalFd,
    /// `None` once the library has asked for the end, or never was there.
    control: Option<&'a UnixStream>,
    /// What the child tells until it has become the command.
    channel: Option<OwnedFd>,
    /// `None` before the filter is there, and after the last process that has it.
    supervisor: Option<Supervisor>,
    /// `None` from the filter on, when the supervisor has them.
    endpoints: Option<Endpoints>,
    /// Until the trial connection was made.
    trial: Option<(Redirect, TcpListener)>,
    /// What the kernel has refused first, when it was asked about a call.
    refused: Option<io::Error>,
    failure: Option<(Failure, String)>,
    ended: Option<Report>,
    /// When the rest is killed, after a request to end.
    deadline: Option<Instant>,
}

/// What has happened.
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
        // Under `nohup`. A signal that is blocked would be read here although it is ignored.
        if signals::is_ignored(Signal::SIGHUP) {
            signals.remove(Signal::SIGHUP);
        }
        let mut blocked = signals;
        // The terminal's keys are for the command. Nothing takes these from where they wait.
        blocked.add(Signal::SIGINT);
        blocked.add(Signal::SIGQUIT);
        blocked.thread_block()?;
        let signals =
            SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        // What loses its parent becomes our child, and so can be found.
        prctl::set_child_subreaper(true)?;
        let trial = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let answers = trial.local_addr()?;
        let to = SocketAddr::new(TRIAL.into(), answers.port());
        let tried = Redirect { to, via: answers.port() };
        let mut redirects = options.redirects.clone();
        redirects.push(tried);
        let endpoints = Endpoints::new(&redirects)?;
        let (ours, theirs) = child::channel()?;
        let parent = getpid();
        let command = match sys::divide()? {
            ForkResult::Parent { child } => child,
            ForkResult::Child => {
                drop(ours);
                child::run(parent, &theirs, &options.command, to, answers);
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
            trial: Some((tried, trial)),
            refused: None,
            failure: None,
            ended: None,
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

    /// Where the end was asked for, all that the command has started must have ended, too.
    fn report(&mut self) -> Option<Report> {
        if self.ended.is_none() || self.deadline.is_some() && !processes::descendants().is_empty() {
            return None;
        }
        let failure =
            self.failure.take().map(|(failure, problem)| Report::Failed(failure, problem));
        failure.or_else(|| self.ended.take())
    }

    fn wait(&self) -> nix::Result<Vec<Event>> {
        let sources: [(Event, Option<BorrowedFd>); 4] = [
            // Before the calls, which are answered otherwise after it.
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
        let happened = sources.iter().zip(&polled).filter(|(_source, fd)| fd.any() == Some(true));
        Ok(happened.map(|((event, _source), _fd)| *event).collect())
    }

    /// A process that is killed may take a moment; after the deadline it is looked at again and again.
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
            // The library says nothing: it can only close its end.
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

    /// Those of other parents as well, as theirs have died.
    fn reap(&mut self) {
        while let Some((pid, end)) = sys::reap() {
            if pid == self.command {
                self.ended = Some(match end {
                    End::Exited(code) => Report::Exited(code),
                    End::Signaled(signal) => Report::Signaled(signal),
                });
            }
        }
        // Its last words, which may have come before its end and are seen after it.
        if self.ended.is_some() && self.channel.is_some() {
            self.listen();
        }
    }

    /// Asks the command to end, and all that it has started.
    fn end(&mut self, signal: Signal) {
        self.deadline.get_or_insert_with(|| Instant::now() + GRACE);
        // The listeners may have closed with the library, and their ports are free for anybody.
        if let Some(supervisor) = &mut self.supervisor {
            supervisor.refuse();
        }
        self.signal(signal);
    }

    /// Lets the processes that outlive the command connect as they would without us.
    fn leave(self) {
        if let Some(supervisor) = self.supervisor {
            supervisor.leave();
        }
    }

    /// Sends a signal to the command and to its descendants in our session. The command itself may
    /// have left that session.
    fn signal(&self, signal: Signal) {
        // Once it is reaped, its number may be another process's.
        let command = self.ended.is_none().then_some(self.command);
        processes::signal(signal, command);
    }

    fn listen(&mut self) {
        let Some(channel) = &self.channel else { return };
        match child::receive(channel) {
            Ok(Message::Listener(listener, restarts)) => {
                let Some(endpoints) = self.endpoints.take() else { return };
                let mut supervisor = Supervisor::new(listener, endpoints, restarts);
                if self.deadline.is_some() {
                    supervisor.refuse();
                }
                self.supervisor = Some(supervisor);
            }
            Ok(Message::Tried) => {
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

    /// The child has only seen that its connection failed; what the kernel refused was seen here.
    fn explain(&mut self, failure: Failure, problem: String) -> (Failure, String) {
        match (failure, self.refused.take()) {
            (Failure::NotRedirected, Some(error)) => (Failure::NoPtrace, error.to_string()),
            _other => (failure, problem),
        }
    }

    fn answer(&mut self) {
        let Some(supervisor) = &mut self.supervisor else { return };
        let more = supervisor.answer();
        self.refused = self.refused.take().or(supervisor.problem());
        if !more {
            self.supervisor = None;
        }
    }
}
