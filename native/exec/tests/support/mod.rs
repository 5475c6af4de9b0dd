//! Listeners in place of a pod, and the test binary as the command that connects to them.
//!
//! All addresses are loopback addresses. A connection that is not redirected is refused and never
//! leaves the machine.
#![allow(dead_code)] // not every test file uses everything

use std::{
    env,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use nix::{sys::signal::kill, unistd::Pid};

/// epmd and node of a pod, not at the port of an epmd of this machine, those of another pod, and an IPv6 pod.
pub const EPMD: &str = "127.77.0.1:14369";
pub const NODE: &str = "127.77.0.1:5555";
pub const OTHER_POD: &str = "127.77.0.2:14369";
pub const MAPPED: &str = "[::ffff:127.77.0.1]:14369";
/// A loopback port without a listener.
pub const IPV6: &str = "[::1]:3";
pub const RUNNER: &str = env!("CARGO_BIN_EXE_k8s_connect_exec");

const MARK: &str = "K8S_CONNECT_UNDER_RUNNER";

/// Runs `body` in this test binary under the runner. Each target greets with its name.
pub fn under_runner(test: &str, body: impl FnOnce()) {
    under_runner_with(test, |_command| {}, body);
}

/// As `under_runner`. `prepare` can change the command that starts the runner.
pub fn under_runner_with(test: &str, prepare: impl FnOnce(&mut Command), body: impl FnOnce()) {
    if env::var_os(MARK).is_some() {
        return body();
    }
    let mut command = Command::new(RUNNER);
    for (target, loopback) in [
        (EPMD, "127.0.0.1:0"),
        (NODE, "127.0.0.1:0"),
        (OTHER_POD, "127.0.0.1:0"),
        (IPV6, "[::1]:0"),
    ] {
        command.arg(format!("{target}={}", greeter(loopback, target).port()));
    }
    let this = env::current_exe().expect("our own path");
    command.arg("--").arg(this).args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command.env(MARK, "1");
    prepare(&mut command);
    let output = command.output().expect("the runner starts");
    assert!(output.status.success(), "{test} under the runner: {}", words(&output));
    // If the filter matched no test, the test binary would succeed, too.
    assert!(words(&output).contains("1 passed"), "{}", words(&output));
}

/// A listener that greets each connection with `name`.
pub fn greeter(address: &str, name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind(address).expect("a free port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for client in listener.incoming() {
            let _ = client.and_then(|mut client| client.write_all(name.as_bytes()));
        }
    });
    address
}

/// The greeting at an address, or the errno of `connect()`.
pub fn greeting(address: &str) -> Result<String, i32> {
    let stream = TcpStream::connect(address).map_err(|error| error.raw_os_error().unwrap_or(0))?;
    Ok(read(stream))
}

pub fn read(mut stream: TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("a greeting");
    text
}

/// Runs a shell command line under the runner.
pub fn run(line: &str) -> Output {
    Command::new(RUNNER).args(["--", "sh", "-c", line]).output().expect("the runner starts")
}

pub fn words(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&text).into_owned()
}

/// A system call that an old kernel or a container rejects.
#[derive(Clone, Copy)]
pub enum Denied {
    /// The system call `seccomp()`.
    Seccomp,
    /// The newer flag `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`.
    KillableWait,
    /// The newer flag `CLOSE_RANGE_CLOEXEC`.
    CloseRange,
    /// What Yama can forbid.
    Ptrace,
}

/// Denies the system call to the command.
pub fn deny(command: &mut Command, denied: Denied) {
    use std::os::unix::process::CommandExt;

    use nix::libc;
    use seccompiler::{
        SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    };

    let flag = libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    let has_flag = SeccompCmpOp::MaskedEq(flag);
    let has_flag = SeccompCondition::new(1, SeccompCmpArgLen::Qword, has_flag, flag).unwrap();
    let has_flag = vec![SeccompRule::new(vec![has_flag]).unwrap()];
    let (rules, number) = match denied {
        Denied::Seccomp => (vec![(libc::SYS_seccomp, vec![])], libc::ENOSYS),
        Denied::KillableWait => (vec![(libc::SYS_seccomp, has_flag)], libc::EINVAL),
        Denied::CloseRange => (vec![(libc::SYS_close_range, vec![])], libc::EINVAL),
        Denied::Ptrace => (
            vec![(libc::SYS_pidfd_getfd, vec![]), (libc::SYS_process_vm_readv, vec![])],
            libc::EPERM,
        ),
    };
    let filter = SeccompFilter::new(
        rules.into_iter().collect(),
        SeccompAction::Allow,
        SeccompAction::Errno(u32::try_from(number).unwrap()),
        env::consts::ARCH.try_into().unwrap(),
    );
    let program: seccompiler::BpfProgram = filter.unwrap().try_into().unwrap();
    let apply = move || seccompiler::apply_filter(&program).map_err(std::io::Error::other);
    // SAFETY: makes only two system calls between fork and exec.
    unsafe { command.pre_exec(apply) };
}

/// Waits until the process has ended.
pub fn is_gone(pid: Pid) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        if kill(pid, None).is_err() {
            return true;
        }
        std::thread::yield_now();
    }
    false
}
