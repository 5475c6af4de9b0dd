//! The privileged port program of `k8s_connect`. While a user's BEAM runs, the kernel redirects this
//! user's connections to a pod's address: they reach a listener of the same user on the loopback
//! address. The program does nothing else: no Kubernetes, no shell, no files but those of the system
//! that it needs to start, and no environment but `SUDO_UID` and `SUDO_GID`.
//!
//! Anyone may run it with any input. It determines the user ([`caller`]) and the [`cgroup`],
//! attaches the programs ([`bpf`], [`hook`]) with its [`capability`], tests them ([`self_test`])
//! and drops all privileges ([`lockdown`]). Only then it reads frames ([`input`], [`serve`]), which
//! the [`policy`] checks.
//!
//! It needs no cleanup code: only file descriptors refer to its kernel objects, and the kernel
//! closes these when the helper exits for any reason.
#![cfg(target_os = "linux")]

pub mod bpf;
pub mod caller;
pub mod capability;
pub mod cgroup;
pub mod hook;
pub mod input;
pub mod lockdown;
pub mod policy;
pub mod refusal;
pub mod self_test;
pub mod serve;
mod sys;
