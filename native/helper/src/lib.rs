//! The privileged port program of `k8s_connect`. It makes the kernel redirect one user's connections
//! to a pod's address to a listener of that user's on the loopback address, for as long as the
//! user's BEAM lives, and does nothing else: no Kubernetes, no file, no environment, no shell.
//!
//! Anyone may run it, with any input. At the start it finds out for which user it runs ([`caller`])
//! and in which [`cgroup`], attaches its programs ([`bpf`], [`hook`]) with its [`capability`], tests
//! them ([`self_test`]), and gives up everything ([`lockdown`]). Only then it reads frames
//! ([`input`], [`serve`]), which the [`policy`] judges.
//!
//! Nothing is cleaned up by code that has to run: what it has in the kernel hangs on descriptors,
//! which the kernel closes whatever ends this program.
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
