//! Listeners in place of a pod's ports, and the test itself as the command that connects to them.
//!
//! All addresses are this machine's own: what is not redirected is refused, and nothing leaves.
#![allow(dead_code)] // each file of tests takes what it needs

use std::{
    env,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Output},
    thread,
    time::Duration,
};

/// A pod's epmd and node, the same of another pod, and a pod with an IPv6 address.
pub const EPMD: &str = "127.77.0.1:4369";
pub const NODE: &str = "127.77.0.1:5555";
pub const OTHER_POD: &str = "127.77.0.2:4369";
pub const MAPPED: &str = "[::ffff:127.77.0.1]:4369";
/// Nobody listens on this port of the loopback.
pub const IPV6: &str = "[::1]:3";
pub const RUNNER: &str = env!("CARGO_BIN_EXE_k8s_connect_exec");

const MARK: &str = "K8S_CONNECT_UNDER_RUNNER";

/// Runs `body` in this test, under the runner. Each target greets with its own name.
pub fn under_runner(test: &str, body: impl FnOnce()) {
    under_runner_with(test, |_command| {}, body);
}

/// The same, where `prepare` may change how the runner is started.
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
    // A filter that no test matches would be a success, too.
    assert!(words(&output).contains("1 passed"), "{}", words(&output));
}

/// A listener that says `name` to everybody.
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

/// What is said at an address; an error's number where there is no connection.
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

/// Runs a command line of a shell under the runner.
pub fn run(line: &str) -> Output {
    Command::new(RUNNER).args(["--", "sh", "-c", line]).output().expect("the runner starts")
}

pub fn words(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&text).into_owned()
}

/// What a kernel or a container may refuse.
#[derive(Clone, Copy)]
pub enum Denied {
    /// `seccomp()` as a whole.
    Seccomp,
    /// `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`, which is newer.
    KillableWait,
    /// `CLOSE_RANGE_CLOEXEC`, which is newer.
    CloseRange,
    /// What Yama forbids.
    Ptrace,
}

/// Starts the command where that is refused.
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
    // SAFETY: between fork and exec, two system calls.
    unsafe { command.pre_exec(apply) };
}
