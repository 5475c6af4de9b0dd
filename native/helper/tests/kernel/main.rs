//! Tests of the kernel route on the running kernel: who is redirected, to which listener, with
//! which kinds of connections, on which machines.
//!
//! Requires root and cgroup v2. Creates network, mount and cgroup namespaces and removes everything
//! else that it creates. Arguments: `[--machine] [--refused REFUSAL] [PART OF A TEST NAME]`. All
//! processes of the tests run this executable, with one of the arguments in [`start`].
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(target_os = "linux")]
mod bpf;
#[cfg(target_os = "linux")]
mod cases;
#[cfg(target_os = "linux")]
mod cgroups;
#[cfg(target_os = "linux")]
mod client;
#[cfg(target_os = "linux")]
mod connections;
#[cfg(target_os = "linux")]
mod environment;
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
mod network;
#[cfg(target_os = "linux")]
mod nobody_notices;
#[cfg(target_os = "linux")]
mod others;
#[cfg(target_os = "linux")]
mod probe;
#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
mod protocol;
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
    println!("unsupported: the kernel route needs Linux\ntest result: ok. 0 passed");
}
