//! Processes that outlive the command, and the residual process that answers their calls.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unsafe_code)]

mod support;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    process::{Command, Stdio},
};

use nix::unistd::{ForkResult, Pid, fork, getsid};
use support::{RUNNER, is_gone};

/// The environment variable with the addresses for the process that outlives the command.
const OUTLIVING: &str = "K8S_CONNECT_OUTLIVING";
const CONNECTED: &str = "connected: ";

#[test]
fn a_process_that_outlives_the_command_connects() {
    const TEST: &str = "a_process_that_outlives_the_command_connects";
    if let Ok(addresses) = std::env::var(OUTLIVING) {
        outlive(&addresses);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let _local = UnixListener::bind(&path).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut runner = Command::new(RUNNER)
        .arg("--")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture", "--test-threads=1"])
        .env(OUTLIVING, format!("{} {}", tcp.local_addr().unwrap(), path.display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = runner.stdin.take().unwrap();
    assert_eq!(runner.wait().unwrap().code(), Some(6));
    let residual = residual(TEST).expect("a process that answers");
    let mut output = BufReader::new(runner.stdout.take().unwrap()).lines();
    input.write_all(b"\n").unwrap();
    let connected = output.find_map(|line| line.unwrap().strip_prefix(CONNECTED).map(String::from));
    assert_eq!(connected.as_deref(), Some("Ok(()) Ok(())"));
    // It has answered calls, so its setup is complete.
    assert_eq!(fs::read_link(format!("/proc/{residual}/cwd")).unwrap(), Path::new("/"));
    assert_eq!(fs::read_dir(format!("/proc/{residual}/fd")).unwrap().count(), 4);
    assert_eq!(getsid(Some(residual)).unwrap(), residual);
    drop(input);
    assert!(is_gone(residual));
}

/// The command: forks a child that connects once it has read a byte and exits at end of file.
fn outlive(addresses: &str) -> ! {
    let (tcp, path) = addresses.split_once(' ').unwrap();
    // SAFETY: there is no other thread in this process.
    if let ForkResult::Parent { .. } = unsafe { fork() }.unwrap() {
        std::process::exit(6);
    }
    std::io::stdin().read_exact(&mut [0]).unwrap();
    let (tcp, local) = (TcpStream::connect(tcp), UnixStream::connect(path));
    println!("\n{CONNECTED}{:?} {:?}", tcp.map(drop), local.map(drop));
    let _closed = std::io::stdin().read(&mut [0]);
    std::process::exit(0);
}

/// The residual process, found by the executable and the arguments of its runner.
fn residual(argument: &str) -> Option<Pid> {
    let runner = fs::canonicalize(RUNNER).unwrap();
    fs::read_dir("/proc").unwrap().find_map(|entry| {
        let folder = entry.ok()?.path();
        let arguments = fs::read_to_string(folder.join("cmdline")).ok()?;
        let is_it = fs::read_link(folder.join("exe")).ok()? == runner
            && arguments.contains(&format!("\0{argument}\0"));
        is_it.then_some(Pid::from_raw(folder.file_name()?.to_str()?.parse().ok()?))
    })
}
