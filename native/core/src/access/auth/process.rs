//! Runs a program for its output. The BEAM ignores SIGCHLD, so the kernel discards the exit status of a
//! child. A shell in between writes the status to a pipe.

use std::{
    fs::File,
    io::{self, PipeReader, PipeWriter},
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use nix::{
    sys::{
        signal::{SigSet, Signal, kill},
        wait::waitpid,
    },
    unistd::Pid,
};
use tokio::{io::AsyncReadExt, net::unix::pipe};

use crate::spawn::{Spawn, TERMINAL, WithheldTerminal};

/// Credentials are a few kilobytes.
const MAX_OUTPUT: usize = 1024 * 1024;
/// Of the end of standard error, for the message.
const MAX_STDERR: usize = 2000;
/// Runs the program without the third descriptor, and writes its exit code to that.
const SHELL: &str = "/bin/sh";
const SCRIPT: &str = r#""$@" 3>&-; echo $? >&3"#;
/// How long to read on after the end of the program. A background process may keep the pipe open.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(200);

pub(super) struct Command {
    pub path: PathBuf,
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    /// Whether it has the terminal, to ask its user. Otherwise it has none at all.
    pub terminal: bool,
}

pub(super) struct Finished {
    /// `None` after a success.
    pub failure: Option<String>,
    pub stdout: Vec<u8>,
    /// The end of standard error.
    pub stderr: String,
}

/// Runs the program to its end. A caller that stops waiting kills it and its children.
pub(super) async fn run(command: &Command) -> Result<Finished, String> {
    let ((stdout, to_stdout), (stderr, to_stderr)) = (pipe()?, pipe()?);
    let (status, to_status) = pipe()?;
    let lock = if command.terminal { Some(TERMINAL.lock().await) } else { None };
    let _withheld = lock.as_ref().and_then(|_| WithheldTerminal::new().ok());
    let process = spawn(command, [&to_stdout, &to_stderr, &to_status]);
    let process = process.map_err(|error| error.to_string())?;
    // With our copies open there would be no end of file.
    drop((to_stdout, to_stderr, to_status));
    let (mut stdout, mut stderr) = (Reader::new(stdout)?, Reader::new(stderr)?);
    let mut status = Reader::new(status)?;
    tokio::select! {
        biased;
        () = status.read() => {}
        // The program may close them long before its end.
        () = async {
            tokio::join!(stdout.read(), stderr.read());
            std::future::pending::<()>().await;
        } => {}
    }
    process.has_ended();
    let drain = async { tokio::join!(stdout.read(), stderr.read()) };
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, drain).await;
    let stderr = if command.terminal { "what it said is above".into() } else { stderr.end() };
    Ok(Finished { failure: failure(&status.bytes), stdout: stdout.bytes, stderr })
}

fn pipe() -> Result<(PipeReader, PipeWriter), String> {
    io::pipe().map_err(|error| error.to_string())
}

fn spawn(command: &Command, pipes: [&PipeWriter; 3]) -> io::Result<Process> {
    let [stdout, stderr, status] = pipes;
    // The BEAM has made its own descriptors of the terminal non-blocking, which a program does not expect.
    let device = if command.terminal { "/dev/tty" } else { "/dev/null" };
    let input = File::options().read(true).write(true).open(device)?;
    let stderr = if command.terminal { input.as_fd() } else { stderr.as_fd() };
    let program = command.path.to_string_lossy();
    let script = ["-c", SCRIPT, SHELL, &program].into_iter();
    let pid = Spawn {
        program: SHELL,
        arguments: script.chain(command.arguments.iter().map(String::as_str)).collect(),
        environment: &command.environment,
        descriptors: &[input.as_fd(), stdout.as_fd(), stderr, status.as_fd()],
        own_session: !command.terminal,
        default_actions: SigSet::all(),
    }
    .start()?;
    Ok(Process { pid, ended: AtomicBool::new(false), in_our_group: command.terminal })
}

/// The shell and the program that it runs.
struct Process {
    pid: Pid,
    /// After that its id may belong to another process.
    ended: AtomicBool,
    /// Whether it is in our process group, to use the terminal. Then only the shell is killed; its
    /// program loses the terminal with us.
    in_our_group: bool,
}

impl Process {
    fn has_ended(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let pid = self.pid;
        if !self.ended.load(Ordering::Relaxed) {
            let target = if self.in_our_group { pid } else { Pid::from_raw(-pid.as_raw()) };
            let _ = kill(target, Signal::SIGKILL);
        }
        // Where SIGCHLD is not ignored, as outside of a BEAM, the child has to be reaped. It ends in a
        // moment.
        let _ = std::thread::Builder::new().spawn(move || waitpid(pid, None));
    }
}

/// From the status that the shell wrote. There is none where the shell itself was killed.
fn failure(status: &[u8]) -> Option<String> {
    match String::from_utf8_lossy(status).trim() {
        "0" => None,
        "" => Some("a signal".into()),
        code => Some(format!("exit code {code}")),
    }
}

struct Reader {
    pipe: pipe::Receiver,
    bytes: Vec<u8>,
}

impl Reader {
    fn new(pipe: PipeReader) -> Result<Self, String> {
        let pipe = pipe::Receiver::from_owned_fd(OwnedFd::from(pipe));
        Ok(Self { pipe: pipe.map_err(|error| error.to_string())?, bytes: Vec::new() })
    }

    /// Reads to the end. Of too much output only the last part is kept, so that the program never blocks.
    async fn read(&mut self) {
        while let Ok(1..) = self.pipe.read_buf(&mut self.bytes).await {
            if self.bytes.len() > MAX_OUTPUT {
                self.bytes.drain(..MAX_OUTPUT / 2);
            }
        }
    }

    fn end(&self) -> String {
        let from = self.bytes.len().saturating_sub(MAX_STDERR);
        String::from_utf8_lossy(&self.bytes[from..]).trim().into()
    }
}

#[cfg(test)]
mod tests;
