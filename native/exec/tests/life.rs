//! How a command begins and ends.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unsafe_code)]

mod support;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{
            fs::{PermissionsExt, chown},
            net::UnixStream,
        },
    },
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid, getsid},
};
use support::{Denied, RUNNER, deny, run, words};

#[test]
fn exit_codes() {
    assert_eq!(run("exit 0").status.code(), Some(0));
    assert_eq!(run("exit 7").status.code(), Some(7));
    assert_eq!(run("kill -KILL $$").status.code(), Some(137));
    assert_eq!(run("kill -TERM $$").status.code(), Some(143));
    // A real-time signal.
    assert_eq!(run("kill -34 $$").status.code(), Some(128 + 34));
}

#[test]
fn commands_that_cannot_be_run() {
    for (command, code, word) in [
        ("no-such-command", 127, "not_found"),
        ("/no/such/command", 127, "not_found"),
        ("/etc/passwd", 126, "not_executable"),
        ("/", 126, "not_executable"),
    ] {
        let output = Command::new(RUNNER).args(["--", command]).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{command}");
        assert!(words(&output).contains(&format!("failed {word} ")), "{}", words(&output));
    }
    for arguments in [&[][..], &["--"], &["10.9.0.2", "--", "true"], &["--control", "x", "--"]] {
        let output = Command::new(RUNNER).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a_kernel_that_refuses() {
    for (denied, code, word) in
        [(Denied::Seccomp, 120, "no_seccomp"), (Denied::Ptrace, 122, "no_ptrace")]
    {
        let mut command = Command::new(RUNNER);
        command.args(["--", "echo", "it", "was", "run"]);
        deny(&mut command, denied);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", words(&output));
        assert!(words(&output).contains(&format!("failed {word} ")), "{}", words(&output));
        assert!(!words(&output).contains("it was run"));
    }
    let output = Command::new(RUNNER).args(["--", RUNNER, "--", "true"]).output().unwrap();
    assert_eq!(output.status.code(), Some(121));
    assert!(words(&output).contains("failed nested "), "{}", words(&output));
}

/// The kernel takes privileges from below a filter that an ordinary user has set.
#[test]
fn setuid_programs_have_no_privilege() {
    let status = run("grep NoNewPrivs /proc/self/status");
    assert_eq!(words(&status), "NoNewPrivs:\t1\n");
    if !geteuid().is_root() {
        return; // only root can make one
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    let (id, runner) = (folder.path().join("id"), folder.path().join("runner"));
    fs::copy("/usr/bin/id", &id).unwrap();
    fs::copy(RUNNER, &runner).unwrap();
    chown(&id, Some(0), Some(0)).unwrap();
    fs::set_permissions(&id, fs::Permissions::from_mode(0o4755)).unwrap();
    let ordinary = |words: &[&Path]| -> Output {
        let user = ["--reuid=4300", "--regid=4300", "--clear-groups"];
        Command::new("setpriv").args(user).args(words).arg("-u").output().unwrap()
    };
    assert_eq!(words(&ordinary(&[&id])), "0\n");
    assert_eq!(words(&ordinary(&[&runner, Path::new("--"), &id])), "4300\n");
}

#[test]
fn the_command_has_three_descriptors() {
    // The fourth is the listing's own.
    assert_eq!(words(&run("ls /proc/self/fd")), "0\n1\n2\n3\n");
}

#[test]
fn signals_are_as_without_us() {
    let line = "grep -E '^Sig(Blk|Ign)' /proc/self/status";
    let direct = Command::new("sh").args(["-c", line]).output().unwrap();
    assert_eq!(words(&run(line)), words(&direct));
}

/// The runner, its command, which is a shell that has said "ready", and the library's end of its socket.
struct Running {
    runner: Child,
    command: Pid,
    control: UnixStream,
    output: BufReader<std::process::ChildStdout>,
}

impl Running {
    fn start(line: &str) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let theirs = OwnedFd::from(theirs);
        fcntl(&theirs, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
        let mut runner = Command::new(RUNNER)
            .args(["--control", &theirs.as_raw_fd().to_string(), "--", "bash", "-c"])
            .arg(format!("echo $$; {line}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(runner.stdout.take().unwrap());
        let mut first = String::new();
        output.read_line(&mut first).unwrap();
        let command = Pid::from_raw(first.trim().parse().unwrap());
        Self { runner, command, control: ours, output }
    }

    fn report(&mut self) -> String {
        let mut report = String::new();
        self.control.read_to_string(&mut report).unwrap();
        report
    }

    fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        rest
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.runner.kill();
        let _ = self.runner.wait();
    }
}

fn is_gone(pid: Pid) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        if kill(pid, None).is_err() {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

#[test]
fn the_report_goes_to_the_library() {
    let mut running = Running::start("exit 7");
    assert_eq!(running.report(), "exited 7\n");
    assert_eq!(running.runner.wait().unwrap().code(), Some(7));
    let mut running = Running::start("kill -USR1 $$");
    assert_eq!(running.report(), "signaled 10\n");
}

#[test]
fn a_library_that_closes_its_end_ends_the_command() {
    let mut running = Running::start("trap 'echo hung up; exit 3' HUP; echo ready; read line");
    let mut ready = String::new();
    running.output.read_line(&mut ready).unwrap();
    running.control.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(running.report(), "exited 3\n");
    assert_eq!(running.rest(), "hung up\n");
}

#[test]
fn a_command_that_does_not_listen_is_killed_with_what_it_has_started() {
    let mut running = Running::start("trap '' HUP; (echo $BASHPID; read -t 60) & read line");
    let mut child = String::new();
    running.output.read_line(&mut child).unwrap();
    running.control.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(running.report(), "signaled 9\n");
    assert!(is_gone(running.command));
    assert!(is_gone(Pid::from_raw(child.trim().parse().unwrap())));
}

#[test]
fn a_command_in_a_session_of_its_own_is_killed() {
    let line = "exec setsid bash -c 'trap \"\" HUP; echo ready; read line'";
    let mut running = Running::start(line);
    let mut ready = String::new();
    running.output.read_line(&mut ready).unwrap();
    assert!(!is_in_our_session(running.command));
    running.control.shutdown(std::net::Shutdown::Write).unwrap();
    running.control.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_eq!(running.report(), "signaled 9\n");
    assert!(is_gone(running.command));
}

fn is_in_our_session(pid: Pid) -> bool {
    getsid(Some(pid)).unwrap() == getsid(None).unwrap()
}

#[test]
fn the_runner_takes_the_command_with_it() {
    let mut running = Running::start("read line");
    running.runner.kill().unwrap();
    running.runner.wait().unwrap();
    assert!(is_gone(running.command));
    assert_eq!(running.report(), "");
}

#[test]
fn a_signal_to_the_runner_is_the_commands() {
    let mut running = Running::start("trap 'exit 4' TERM; echo ready; read line");
    let mut ready = String::new();
    running.output.read_line(&mut ready).unwrap();
    kill(Pid::from_raw(running.runner.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(running.report(), "exited 4\n");
}

#[test]
fn what_was_started_in_the_background_does_not_hold_up_the_end() {
    let start = Instant::now();
    let mut running = Running::start("sleep 60 > /dev/null & echo $!; exit 5");
    let mut background = String::new();
    running.output.read_line(&mut background).unwrap();
    assert_eq!(running.report(), "exited 5\n");
    assert!(start.elapsed() < Duration::from_secs(30));
    kill(Pid::from_raw(background.trim().parse().unwrap()), Signal::SIGKILL).unwrap();
}

#[test]
fn standard_input_passes_through() {
    let mut runner = Command::new(RUNNER)
        .args(["--", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    runner.stdin.take().unwrap().write_all(&[0, 255, 10, 1]).unwrap();
    assert_eq!(runner.wait_with_output().unwrap().stdout, [0, 255, 10, 1]);
}
