//! The privileged port program of `k8s_connect`. It makes the kernel lead one user's connections
//! to a pod's address to a port of that user's on the loopback, for as long as the user's BEAM
//! lives, and does nothing else: no Kubernetes, no file, no environment, no child, no shell.
//!
//! Anyone may run it, with any input. The way of a request: frames ([`serve`]) from a [`caller`],
//! judged by the [`policy`], put into the kernel by a mechanism ([`redirect`]) that needs its
//! [`capability`] for moments; everything else was given up before ([`lockdown`]).
//!
//! Nothing is cleaned up by code that has to run: what it makes in the kernel hangs on descriptors,
//! which the kernel closes whatever ends this program. An orderly end does one thing more, see
//! [`redirect::flows`].
#![cfg(target_os = "linux")]

pub mod caller;
pub mod capability;
pub mod lockdown;
pub mod policy;
pub mod redirect;
pub mod serve;
mod sys;
