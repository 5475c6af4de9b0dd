//! How a stream reaches the BEAM.

pub mod one_shot;
