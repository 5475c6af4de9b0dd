//! Runs a command whose `connect()` calls are answered here: a connection to the address of a pod is
//! made to a port of the loopback instead, every other one is left to the kernel.
//!
//! The kernel hands over each `connect()` of the command and of all that it starts (seccomp user
//! notification, Linux 5.9). No privilege is needed, and nothing else on the machine is affected.
//!
//! The guarantees are for the command's user, not against the command: a program that wants to
//! reach the pod's address itself can, for example by `io_uring`, which seccomp does not see.

#[cfg(target_os = "linux")]
mod child;
#[cfg(target_os = "linux")]
mod endpoints;
#[cfg(target_os = "linux")]
mod filter;
#[cfg(target_os = "linux")]
mod processes;
mod redirect;
mod report;
#[cfg(target_os = "linux")]
mod residual;
#[cfg(target_os = "linux")]
mod run;
#[cfg(unix)]
pub mod signals;
#[cfg(target_os = "linux")]
mod stdio;
#[cfg(target_os = "linux")]
mod supervisor;
#[cfg(target_os = "linux")]
mod sys;

pub use redirect::{InvalidRedirect, Redirect};
pub use report::{Failure, Report};
#[cfg(target_os = "linux")]
pub use run::{Options, run};
