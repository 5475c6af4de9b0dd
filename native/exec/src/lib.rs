//! Runs a command and handles its `connect()` calls: redirects connections to a pod's address to a
//! local endpoint, and lets the kernel execute all other calls.
//!
//! The kernel notifies this program of each `connect()` of the command and its child processes
//! (seccomp user notification, Linux 5.9). This needs no privilege and affects no other process.
//!
//! This is not a sandbox. The command can bypass it, for example with `io_uring`, and then connects
//! to the pod's address directly.

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
