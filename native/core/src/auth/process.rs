//! A program that is run for what it prints. It is spawned by `posix_spawn`, which can close
//! descriptors and leave the terminal without code of ours between fork and exec. The BEAM ignores
//! SIGCHLD, so the kernel forgets how a child has ended: a shell in between writes it down.

use std::{
    ffi::CString,
    fs::{self, File},
    io::{self, PipeReader, PipeWriter},
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn},
    sys::{
        resource::{Resource, getrlimit},
        signal::{SigSet, Signal, kill},
        wait::waitpid,
    },
    unistd::{Pid, dup2_stdin},
};
use tokio::{io::AsyncReadExt, net::unix::pipe};

/// Credentials are a few kilobytes.
const MOST_OUTPUT: usize = 1024 * 1024;
/// As much of standard error as a person reads, from its end.
const MOST_WORDS: usize = 2000;
/// Runs the program, which does not see the third descriptor, and writes its exit code to it.
const SHELL: &str = "/bin/sh";
const SCRIPT: &str = r#""$@" 3>&-; echo $? >&3"#;
/// What somebody else may still write who has its pipe when it has ended.
const REST: Duration = Duration::from_millis(200);
/// What another thread may have opened between our look and the spawn.
const NEWER: RawFd = 64;

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
    let _quiet = alone.as_ref().and_then(|_| Input::withhold().ok());
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

/// Two programs cannot ask on one terminal at a time.
static TERMINAL: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The BEAM reads from the terminal at all times, and would take of an answer what it gets first. As
/// long as this is there it finds nothing at its standard input.
struct Input {
    terminal: OwnedFd,
    /// While it is open, reading the other end is not at its end.
    _empty: PipeWriter,
}

impl Input {
    fn withhold() -> io::Result<Self> {
        let terminal = io::stdin().as_fd().try_clone_to_owned()?;
        let (nothing, empty) = io::pipe()?;
        fcntl(&nothing, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        dup2_stdin(&nothing)?;
        Ok(Self { terminal, _empty: empty })
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        let _ = dup2_stdin(&self.terminal);
    }
}

fn pipe() -> Result<(PipeReader, PipeWriter), String> {
    io::pipe().map_err(|error| error.to_string())
}

fn spawn(command: &Command, pipes: [&PipeWriter; 3]) -> io::Result<Process> {
    let [output, words, status] = pipes;
    let mut actions = PosixSpawnFileActions::init()?;
    // The BEAM has made its own ends of the terminal non-blocking, which a program does not expect.
    let place = if command.terminal { "/dev/tty" } else { "/dev/null" };
    let input = File::options().read(true).write(true).open(place)?;
    actions.add_dup2(input.as_raw_fd(), 0)?;
    let words = if command.terminal { input.as_raw_fd() } else { words.as_raw_fd() };
    actions.add_dup2(words, 2)?;
    actions.add_dup2(output.as_raw_fd(), 1)?;
    actions.add_dup2(status.as_raw_fd(), 3)?;
    // The pipes of the BEAM's ports are not close-on-exec. To close what is not open is no error.
    for descriptor in 4..=(highest()? + NEWER).min(last()?) {
        actions.add_close(descriptor)?;
    }
    let mut attributes = PosixSpawnAttr::init()?;
    let mut flags =
        PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK;
    if !command.terminal {
        flags |= apart();
    }
    attributes.set_flags(flags)?;
    attributes.set_pgroup(Pid::from_raw(0))?;
    attributes.set_sigdefault(&SigSet::all())?;
    attributes.set_sigmask(&SigSet::empty())?;
    let program = command.path.to_string_lossy().into_owned();
    let arguments = [SHELL.into(), "-c".into(), SCRIPT.into(), SHELL.into(), program];
    let arguments = strings(arguments.into_iter().chain(command.arguments.iter().cloned()))?;
    let environment = command.environment.iter().map(|(name, value)| format!("{name}={value}"));
    let environment = strings(environment)?;
    let pid = posix_spawn(SHELL, &actions, &attributes, &arguments, &environment)?;
    Ok(Process { pid, ended: AtomicBool::new(false), alone: command.terminal })
}

/// A session of its own: a process group, to be killed as a whole, and no terminal. The flag is not
/// among those that `nix` has names for.
#[cfg(target_os = "linux")]
fn apart() -> PosixSpawnFlags {
    PosixSpawnFlags::from_bits_retain(nix::libc::POSIX_SPAWN_SETSID.into())
}

/// A process group, at least.
#[cfg(not(target_os = "linux"))]
fn apart() -> PosixSpawnFlags {
    PosixSpawnFlags::POSIX_SPAWN_SETPGROUP
}

fn strings(texts: impl Iterator<Item = String>) -> io::Result<Vec<CString>> {
    texts.map(|text| CString::new(text).map_err(io::Error::from)).collect()
}

/// The last descriptor that there can be, which is the last that may be named in an action.
fn last() -> io::Result<RawFd> {
    let (soft, _hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(RawFd::try_from(soft).unwrap_or(RawFd::MAX) - 1)
}

/// The highest descriptor that is open.
fn highest() -> io::Result<RawFd> {
    let folder = if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" };
    let names =
        fs::read_dir(folder)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter_map(|name| name.parse().ok()).max().unwrap_or(2))
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
