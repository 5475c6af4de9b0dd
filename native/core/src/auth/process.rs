//! A program that is run for what it prints. The BEAM ignores SIGCHLD, so the kernel forgets how a
//! child has ended: a shell in between writes it down.

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

use crate::process::{Spawn, TERMINAL, WithheldTerminal};

/// Credentials are a few kilobytes.
const MOST_OUTPUT: usize = 1024 * 1024;
/// As much of standard error as a person reads, from its end.
const MOST_WORDS: usize = 2000;
/// Runs the program, which does not see the third descriptor, and writes its exit code to it.
const SHELL: &str = "/bin/sh";
const SCRIPT: &str = r#""$@" 3>&-; echo $? >&3"#;
/// What somebody else may still write who has its pipe when it has ended.
const REST: Duration = Duration::from_millis(200);

pub(super) struct Command {
    pub path: PathBuf,
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    /// Whether it has the terminal, for questions; otherwise it has none at all.
    pub terminal: bool,
}

pub(super) struct Ended {
    /// `None` where it went well.
    pub failure: Option<String>,
    pub output: Vec<u8>,
    /// The end of what it said on standard error.
    pub words: String,
}

/// Runs it to its end. Whoever stops waiting kills it, and all that it has started.
pub(super) async fn run(command: &Command) -> Result<Ended, String> {
    let ((output, to_output), (words, to_words)) = (pipe()?, pipe()?);
    let (status, to_status) = pipe()?;
    let alone = if command.terminal { Some(TERMINAL.lock().await) } else { None };
    let _quiet = alone.as_ref().and_then(|_| WithheldTerminal::new().ok());
    let process = spawn(command, [&to_output, &to_words, &to_status]);
    let process = process.map_err(|error| error.to_string())?;
    // Theirs now: otherwise there would be no end of file.
    drop((to_output, to_words, to_status));
    let (mut output, mut words) = (Reader::new(output)?, Reader::new(words)?);
    let mut status = Reader::new(status)?;
    tokio::select! {
        biased;
        () = status.read() => {}
        // They may be closed long before the end.
        () = async {
            tokio::join!(output.read(), words.read());
            std::future::pending::<()>().await;
        } => {}
    }
    process.has_ended();
    let rest = async { tokio::join!(output.read(), words.read()) };
    let _ = tokio::time::timeout(REST, rest).await;
    let words = if command.terminal { "what it said is above".into() } else { words.end() };
    Ok(Ended { failure: failure(&status.bytes), output: output.bytes, words })
}

fn pipe() -> Result<(PipeReader, PipeWriter), String> {
    io::pipe().map_err(|error| error.to_string())
}

fn spawn(command: &Command, pipes: [&PipeWriter; 3]) -> io::Result<Process> {
    let [output, words, status] = pipes;
    // The BEAM has made its own ends of the terminal non-blocking, which a program does not expect.
    let place = if command.terminal { "/dev/tty" } else { "/dev/null" };
    let input = File::options().read(true).write(true).open(place)?;
    let words = if command.terminal { input.as_fd() } else { words.as_fd() };
    let program = command.path.to_string_lossy();
    let script = ["-c", SCRIPT, SHELL, &program].into_iter();
    let pid = Spawn {
        program: SHELL,
        arguments: script.chain(command.arguments.iter().map(String::as_str)).collect(),
        environment: &command.environment,
        descriptors: &[input.as_fd(), output.as_fd(), words, status.as_fd()],
        apart: !command.terminal,
        default_actions: SigSet::all(),
    }
    .start()?;
    Ok(Process { pid, ended: AtomicBool::new(false), alone: command.terminal })
}

/// The shell, and with it what it runs.
struct Process {
    pid: Pid,
    /// Then its id may soon be another one's.
    ended: AtomicBool,
    /// Whether it is in our own process group, for the terminal's sake: then it is ended without
    /// what it runs, which loses the terminal with us.
    alone: bool,
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
            let all = if self.alone { pid } else { Pid::from_raw(-pid.as_raw()) };
            let _ = kill(all, Signal::SIGKILL);
        }
        // Where SIGCHLD is not ignored, as outside of a BEAM, somebody has to take note of its end,
        // which is a moment away.
        let _ = std::thread::Builder::new().spawn(move || waitpid(pid, None));
    }
}

/// What the shell has written down; it has not where it was killed itself.
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

    /// To the end of the file. What is too much is read and thrown away, so that it is no obstacle.
    async fn read(&mut self) {
        while let Ok(1..) = self.pipe.read_buf(&mut self.bytes).await {
            if self.bytes.len() > MOST_OUTPUT {
                self.bytes.drain(..MOST_OUTPUT / 2);
            }
        }
    }

    fn end(&self) -> String {
        let from = self.bytes.len().saturating_sub(MOST_WORDS);
        String::from_utf8_lossy(&self.bytes[from..]).trim().into()
    }
}

#[cfg(test)]
mod tests;
