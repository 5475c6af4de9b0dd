//! Runs a local command on this BEAM's terminal, with its connections to pods redirected to our
//! listeners. The program `k8s_connect_exec` is in between and runs the command.
//!
//! As with `system(3)`, the command is in our process group: the kernel sends it the signals of keys and
//! of window sizes, and a job control shell stops and continues all of it. Meanwhile the BEAM neither
//! reads the terminal nor gets these signals. An Erlang port would not do: it starts programs in a
//! session of their own.

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

use crate::spawn::{Spawn, TERMINAL, WithheldTerminal};

/// A report is one line.
const MAX_REPORT: u64 = 1024;

/// A command to run.
pub struct Command {
    /// The path of `k8s_connect_exec`.
    pub runner: PathBuf,
    /// An address and port of a pod, and the local port in its place.
    pub redirects: Vec<(SocketAddr, u16)>,
    /// The command and its arguments.
    pub command: Vec<String>,
    /// The whole environment of the command.
    pub environment: Vec<(String, String)>,
}

/// A running command. Dropping it asks the command to end.
pub struct RunningCommand {
    pid: Pid,
    /// The runner sees the end of this socket, however this process ends, and writes its report to it.
    control: net::UnixStream,
    input: Mutex<Option<pipe::Sender>>,
    /// Until the command has ended.
    terminal: std::sync::Mutex<Option<LentTerminal>>,
}

/// The command has the terminal as long as this exists.
struct LentTerminal {
    // Dropped in this order: we handle the keys again when we can read the terminal.
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

impl RunningCommand {
    /// Starts the command.
    ///
    /// # Errors
    /// The runner could not be started. Where the command cannot be started, that is the report.
    pub async fn start(command: &Command) -> io::Result<Self> {
        let terminal = LentTerminal::new().await?;
        let (stdin, input) = input(terminal.withheld.as_ref())?;
        let (output, errors) = (copy(&io::stdout())?, copy(&io::stderr())?);
        let (control, runner_control) = net::UnixStream::pair()?;
        control.set_nonblocking(true)?;
        let pid = Spawn {
            program: &command.runner.to_string_lossy(),
            arguments: arguments(command).iter().map(String::as_str).collect(),
            environment: &command.environment,
            descriptors: &[stdin.as_fd(), output.as_fd(), errors.as_fd(), runner_control.as_fd()],
            own_session: false,
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

    /// Whether the command reads the bytes of [`RunningCommand::write`].
    pub async fn has_input(&self) -> bool {
        self.input.lock().await.is_some()
    }

    /// Writes to the standard input of the command. `false` means that it reads no more.
    pub async fn write(&self, bytes: &[u8]) -> bool {
        match &mut *self.input.lock().await {
            Some(input) => input.write_all(bytes).await.is_ok(),
            None => false,
        }
    }

    /// Closes the standard input of the command.
    pub async fn close_input(&self) {
        self.input.lock().await.take();
    }

    /// Waits for the end of the command, and takes the terminal back. `None` means that the runner was
    /// killed, and the command with it.
    pub async fn wait(&self) -> Option<Report> {
        let report = self.report().await;
        self.terminal.lock().unwrap_or_else(PoisonError::into_inner).take();
        report
    }

    async fn report(&self) -> Option<Report> {
        let stream = self.control.try_clone().and_then(UnixStream::from_std).ok()?;
        let mut line = String::new();
        // Up to the newline: the socket may stay open longer.
        BufReader::new(stream.take(MAX_REPORT)).read_line(&mut line).await.ok()?;
        Report::parse(&line)
    }

    /// Asks the command to end: SIGHUP, and later SIGKILL.
    pub fn stop(&self) {
        let _ = self.control.shutdown(std::net::Shutdown::Write);
    }
}

impl Drop for RunningCommand {
    fn drop(&mut self) {
        self.stop();
        let pid = self.pid;
        // Where SIGCHLD is not ignored, as outside of a BEAM, the runner has to be reaped.
        let _ = std::thread::Builder::new().spawn(move || waitpid(pid, None));
    }
}

/// The standard input of the command. Of a pipe or a file the BEAM may already have read a part, so the
/// command gets a new pipe, and the caller writes to it what the BEAM has read.
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
    let (reader, writer) = io::pipe()?;
    Ok((reader.into(), Some(pipe::Sender::from_owned_fd(writer.into())?)))
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
