//! A child process that is killed when dropped, and whose output is read with a timeout.

use std::{
    io::{Read, Write},
    os::fd::{AsFd, OwnedFd},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Long enough for a busy or emulated machine.
pub const TIMEOUT: Duration = Duration::from_mins(1);

/// A child with a socket as stdin, to send descriptors, and a pipe as stdout. It is killed and
/// reaped when dropped.
pub struct Process {
    child: Child,
    stdin: Option<UnixStream>,
    stdout: ChildStdout,
}

impl Process {
    /// Starts the child.
    pub fn start(command: &mut Command) -> Self {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        let mut child = command
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = child.stdout.take().expect("a pipe");
        // Closes our copy of the child's ends in `command`, so that we see end of file.
        command.stdin(Stdio::null());
        Self { child, stdin: Some(ours), stdout }
    }

    /// The PID, which exec does not change.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("process ids are small")
    }

    /// Our end of its stdin.
    pub fn stdin(&self) -> &UnixStream {
        self.stdin.as_ref().expect("not closed yet")
    }

    /// Writes to its stdin, ignoring errors.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stdin().write_all(bytes);
    }

    /// Reads exactly `count` bytes; `None` at end of file.
    pub fn read(&mut self, count: usize) -> Option<Vec<u8>> {
        let until = Instant::now() + TIMEOUT;
        let mut bytes = vec![0; count];
        let mut filled = 0;
        while filled < count {
            self.wait_readable(until);
            match self.stdout.read(&mut bytes[filled..]).expect("a pipe can be read") {
                0 => return None,
                some => filled += some,
            }
        }
        Some(bytes)
    }

    fn wait_readable(&self, until: Instant) {
        let left = until.saturating_duration_since(Instant::now());
        let mut ready = [PollFd::new(self.stdout.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(left).expect("a minute at most");
        let count = poll(&mut ready, timeout).expect("poll works");
        assert!(count > 0, "process {} said nothing in time", self.child.id());
    }

    /// The next line without the newline; empty at end of file.
    pub fn line(&mut self) -> String {
        let mut line = Vec::new();
        while let Some(byte) = self.read(1) {
            if byte[0] == b'\n' {
                break;
            }
            line.push(byte[0]);
        }
        String::from_utf8(line).expect("text")
    }

    /// Closes its stdin.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.pid()), signal);
    }

    /// Whether it is running.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("our child").is_none()
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("our child")
    }

    /// Kills it with `SIGKILL` and waits for its end.
    pub fn kill(&mut self) -> ExitStatus {
        let _ = self.child.kill();
        self.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a command and returns its output.
pub fn output(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {problem}");
    String::from_utf8(output.stdout).expect("text")
}

/// As [`output`], for a command line without quoting.
pub fn run(words: &str) -> String {
    let mut words = words.split(' ');
    let mut command = Command::new(words.next().expect("a program"));
    output(command.args(words).env("PATH", PATH))
}

/// Whether this program is installed.
pub fn is_installed(program: &str) -> bool {
    find(program).is_some()
}

/// Finds a program in PATH.
pub fn find(program: &str) -> Option<PathBuf> {
    PATH.split(':').map(|directory| Path::new(directory).join(program)).find(|path| path.exists())
}

const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
