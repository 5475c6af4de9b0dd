//! Local endpoints: the sockets that the BEAM, or a program of this user, connects to.

pub mod audit;
pub mod guard;
pub mod handshake;
#[cfg(target_os = "linux")]
pub mod listener;
pub mod one_shot;
#[cfg(target_os = "linux")]
mod owner;
pub mod pump;
