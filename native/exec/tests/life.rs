//! Start and end of a command.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unsafe_code)]

mod support;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
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
use support::{Denied, RUNNER, deny, is_gone, run, words};

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

/// The kernel disables setuid below a filter that an ordinary user has installed.
#[test]
fn setuid_programs_have_no_privilege() {
    let status = run("grep NoNewPrivs /proc/self/status");
    assert_eq!(words(&status), "NoNewPrivs:\t1\n");
    if !geteuid().is_root() {
        return; // only root can create a setuid file
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
    // 3 is the directory that `ls` lists.
    assert_eq!(words(&run("ls /proc/self/fd")), "0\n1\n2\n3\n");
}

#[test]
fn an_old_kernel_keeps_the_control_socket_from_the_command() {
    let (_ours, theirs) = UnixStream::pair().unwrap();
    fcntl(&theirs, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    let number = theirs.as_raw_fd().to_string();
    let mut command = Command::new(RUNNER);
    command.args(["--control", &number, "--", "test", "-e", &format!("/proc/self/fd/{number}")]);
    deny(&mut command, Denied::CloseRange);
    assert_eq!(command.output().unwrap().status.code(), Some(1));
}

#[test]
fn signals_are_unchanged() {
    let line = "grep -E '^Sig(Blk|Ign)' /proc/self/status";
    let direct = Command::new("sh").args(["-c", line]).output().unwrap();
    assert_eq!(words(&run(line)), words(&direct));
}

/// A runner, its command (a shell that has printed "ready"), and the library's end of the socket.
struct Running {
    runner: Child,
    command: Pid,
    control: UnixStream,
    output: BufReader<std::process::ChildStdout>,
}

impl Running {
    fn start(line: &str) -> Self {
        Self::start_with(line, None)
    }

    fn start_with(line: &str, redirect: Option<String>) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let theirs = OwnedFd::from(theirs);
        fcntl(&theirs, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
        let mut runner = Command::new(RUNNER)
            .args(["--control", &theirs.as_raw_fd().to_string()])
            .args(redirect)
            .args(["--", "bash", "-c"])
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

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line
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
fn a_command_that_ignores_the_signal_is_killed_with_its_children() {
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
fn a_hangup_that_is_ignored_ends_nothing() {
    // Longer than the grace period.
    let line = "echo ready; read -t 3 line; echo done";
    let mut runner = Command::new("sh")
        .args(["-c", "trap '' HUP; exec \"$@\"", "sh", RUNNER, "--", "bash", "-c", line])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let _open = runner.stdin.take().unwrap();
    let mut output = BufReader::new(runner.stdout.take().unwrap());
    output.read_line(&mut String::new()).unwrap();
    kill(Pid::from_raw(runner.id().try_into().unwrap()), Signal::SIGHUP).unwrap();
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "done\n");
    assert!(runner.wait().unwrap().success());
}

#[test]
fn a_background_process_does_not_delay_the_end() {
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

/// A shell that connects to a redirected address.
const CONNECT: &str = "(exec 3<> /dev/tcp/127.77.0.20/14369) 2>&1 && echo connected";

/// Closes `listener`, and waits until nothing listens there: a process that another test is starting has a copy of it
/// until its `execve`.
fn close(listener: TcpListener) {
    let address = listener.local_addr().unwrap();
    drop(listener);
    while TcpStream::connect(address).is_ok() {}
}

fn redirect_to(listener: &TcpListener) -> String {
    format!("127.77.0.20:14369={}", listener.local_addr().unwrap().port())
}

#[test]
fn a_redirect_without_a_listener_is_a_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let redirect = redirect_to(&listener);
    close(listener);
    let output = Command::new(RUNNER).args([&redirect, "--", "true"]).output().unwrap();
    assert_eq!(output.status.code(), Some(124));
    assert!(words(&output).contains("no listener on 127.0.0.1:"), "{}", words(&output));
}

#[test]
fn a_listener_that_was_replaced_gets_no_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let line = format!("while read line; do {CONNECT}; done");
    let mut running = Running::start_with(&line, Some(redirect_to(&listener)));
    let mut input = running.runner.stdin.take().unwrap();
    input.write_all(b"\n").unwrap();
    assert_eq!(running.line(), "connected\n");
    close(listener);
    let _other = TcpListener::bind(address).unwrap();
    input.write_all(b"\n").unwrap();
    let refused = running.line();
    assert!(refused.contains("Connection refused"), "{refused}");
}

#[test]
fn a_command_that_is_to_end_gets_no_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    for by_signal in [false, true] {
        let line = format!("trap '{CONNECT}; exit 3' HUP TERM; {CONNECT}; read line");
        let mut running = Running::start_with(&line, Some(redirect_to(&listener)));
        assert_eq!(running.line(), "connected\n");
        if by_signal {
            let runner = Pid::from_raw(running.runner.id().try_into().unwrap());
            kill(runner, Signal::SIGTERM).unwrap();
        } else {
            running.control.shutdown(std::net::Shutdown::Write).unwrap();
        }
        assert_eq!(running.report(), "exited 3\n");
        let rest = running.rest();
        assert!(rest.contains("Connection refused") && !rest.contains("connected\n"), "{rest}");
    }
}
