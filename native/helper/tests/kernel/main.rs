//! Every row of the tables about the kernel route, tried on the kernel that runs: who is
//! redirected, to which listener, by which kind of connection, on which machine.
//!
//! Needs root and cgroup2; makes its own network, mount and cgroup namespaces and removes whatever
//! else it makes. Arguments: `[--machine] [--refused WORD] [PART OF A ROW'S NAME]`. The same
//! executable, started by itself with one of the words in [`start`], is every process that a row
//! needs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(target_os = "linux")]
mod bpf;
#[cfg(target_os = "linux")]
mod client;
#[cfg(target_os = "linux")]
mod connections;
#[cfg(target_os = "linux")]
mod ground;
#[cfg(target_os = "linux")]
mod helper;
#[cfg(target_os = "linux")]
mod hostile;
#[cfg(target_os = "linux")]
mod identity;
#[cfg(target_os = "linux")]
mod keeper;
#[cfg(target_os = "linux")]
mod launcher;
#[cfg(target_os = "linux")]
mod life;
#[cfg(target_os = "linux")]
mod limits;
#[cfg(target_os = "linux")]
mod listener;
#[cfg(target_os = "linux")]
mod machines;
#[cfg(target_os = "linux")]
mod nobody_notices;
#[cfg(target_os = "linux")]
mod others;
#[cfg(target_os = "linux")]
mod probe;
#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
mod rows;
#[cfg(target_os = "linux")]
mod sniffer;
#[cfg(target_os = "linux")]
mod start;
#[cfg(target_os = "linux")]
mod sys;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    start::run(&arguments)
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("the kernel route is for Linux\ntest result: ok. 0 passed");
}
