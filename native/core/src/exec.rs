//! A command that has this BEAM's terminal, and whose connections to pods lead to our listeners; by
//! the program `k8s_connect_exec`, which is in between and runs it.
//!
//! As with `system(3)`, the command is in our process group: the terminal's keys and sizes reach it
//! from the kernel, and a job control shell stops and continues all of it. Meanwhile the BEAM neither
//! reads the terminal nor hears its keys. A port would do neither: it starts programs in a session
//! of their own.

use std::{
    io::{self, IsTerminal},
    net::SocketAddr,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{fs::FileTypeExt, net},
    },
    path::PathBuf,
    sync::PoisonError,
};

use ::exec::{
    Redirect, Report,
    signals::{IgnoredKeys, default_actions},
};
use nix::{sys::wait::waitpid, unistd::Pid};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixStream, unix::pipe},
    sync::{Mutex, MutexGuard},
};

use crate::process::{Spawn, TERMINAL, WithheldTerminal};

/// A report is one line.
const MOST_REPORT: u64 = 1024;

/// What to run, and how.
pub struct Command {
    /// Where `k8s_connect_exec` is.
    pub runner: PathBuf,
    /// An address and port of a pod, and a port of ours.
    pub redirects: Vec<(SocketAddr, u16)>,
    /// The command and its arguments.
    pub command: Vec<String>,
    /// All of the command's environment.
    pub environment: Vec<(String, String)>,
}

/// A command that runs. Dropping this asks it to end.
pub struct Running {
    pid: Pid,
    /// The runner sees its end, whatever ends us, and writes the report to it.
    control: net::UnixStream,
    input: Mutex<Option<pipe::Sender>>,
    /// Until the command has ended.
    terminal: std::sync::Mutex<Option<LentTerminal>>,
}

/// The command has the terminal as long as this is there.
struct LentTerminal {
    // In this order: the terminal's keys are ours again when we can read it.
    withheld: Option<WithheldTerminal>,
    _keys: IgnoredKeys,
    /// Where standard input is a terminal.
    _lock: Option<MutexGuard<'static, ()>>,
}

impl LentTerminal {
    async fn new() -> io::Result<Self> {
        // While another command has the terminal, standard input is not one.
        let lock = TERMINAL.lock().await;
        let keys = IgnoredKeys::new();
        let withheld = WithheldTerminal::if_any()?;
        let lock = withheld.is_some().then_some(lock);
        Ok(Self { withheld, _keys: keys, _lock: lock })
    }
}

impl Running {
    /// Starts the command.
    ///
    /// # Errors
    /// What the operating system says of the runner. That the command cannot be started is its report.
    pub async fn start(command: &Command) -> io::Result<Self> {
        let terminal = LentTerminal::new().await?;
        let (theirs, input) = input(terminal.withheld.as_ref())?;
        let (output, errors) = (copy(&io::stdout())?, copy(&io::stderr())?);
        let (control, theirs_of_control) = net::UnixStream::pair()?;
        control.set_nonblocking(true)?;
        let pid = Spawn {
            program: &command.runner.to_string_lossy(),
            arguments: arguments(command).iter().map(String::as_str).collect(),
            environment: &command.environment,
            descriptors: &[
                theirs.as_fd(),
                output.as_fd(),
                errors.as_fd(),
                theirs_of_control.as_fd(),
            ],
            apart: false,
            default_actions: default_actions(),
        }
        .start()?;
        Ok(Self {
            pid,
            control,
            input: Mutex::new(input),
            terminal: std::sync::Mutex::new(Some(terminal)),
        })
    }

    /// Whether the command reads what is given to [`Running::write`].
    pub async fn has_input(&self) -> bool {
        self.input.lock().await.is_some()
    }

    /// Gives the command something to read. `false` means that it reads no more.
    pub async fn write(&self, bytes: &[u8]) -> bool {
        match &mut *self.input.lock().await {
            Some(input) => input.write_all(bytes).await.is_ok(),
            None => false,
        }
    }

    /// There is no more to read.
    pub async fn close_input(&self) {
        self.input.lock().await.take();
    }

    /// Waits for the end, and takes the terminal back. `None` means that the runner was killed, and the command with it.
    pub async fn ended(&self) -> Option<Report> {
        let report = self.report().await;
        self.terminal.lock().unwrap_or_else(PoisonError::into_inner).take();
        report
    }

    async fn report(&self) -> Option<Report> {
        let stream = self.control.try_clone().and_then(UnixStream::from_std).ok()?;
        let mut line = String::new();
        // Up to the newline: nothing else may hold up the end.
        BufReader::new(stream.take(MOST_REPORT)).read_line(&mut line).await.ok()?;
        Report::parse(&line)
    }

    /// Asks the command to end: SIGHUP, and SIGKILL if it goes on.
    pub fn end(&self) {
        let _ = self.control.shutdown(std::net::Shutdown::Write);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
        let pid = self.pid;
        // Where SIGCHLD is not ignored, as outside of a BEAM, somebody has to take note of its end.
        let _ = std::thread::Builder::new().spawn(move || waitpid(pid, None));
    }
}

/// What the command reads. From a pipe or a file the BEAM may have read already: then it is given what
/// the BEAM has of it.
fn input(withheld: Option<&WithheldTerminal>) -> io::Result<(OwnedFd, Option<pipe::Sender>)> {
    if let Some(withheld) = withheld {
        return Ok((withheld.terminal().try_clone_to_owned()?, None));
    }
    let input = copy(&io::stdin())?;
    let file = std::fs::File::from(input.try_clone()?);
    let kind = file.metadata()?.file_type();
    if kind.is_char_device() && !file.is_terminal() {
        return Ok((input, None)); // /dev/null
    }
    let (theirs, ours) = io::pipe()?;
    Ok((theirs.into(), Some(pipe::Sender::from_owned_fd(ours.into())?)))
}

fn copy(stream: &impl AsFd) -> io::Result<OwnedFd> {
    stream.as_fd().try_clone_to_owned()
}

fn arguments(command: &Command) -> Vec<String> {
    let redirects = command.redirects.iter();
    let redirects = redirects.map(|(to, via)| Redirect { to: *to, via: *via }.to_string());
    let control = ["--control", "3"].map(String::from).into_iter();
    let command = std::iter::once("--".into()).chain(command.command.iter().cloned());
    control.chain(redirects).chain(command).collect()
}
