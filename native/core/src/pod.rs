//! Pods: the target pod, its container, and the cookie and the certificates of the node in it.

pub mod container;
pub mod cookie;
pub mod exec;
mod object;
pub(crate) mod settings;
pub mod target;
pub mod tls_files;
mod volume;
pub mod watch;
