//! How a stream reaches the BEAM.

pub mod hidden;
#[cfg(target_os = "linux")]
pub mod listener;
pub mod one_shot;
#[cfg(target_os = "linux")]
mod owner;
mod pump;
