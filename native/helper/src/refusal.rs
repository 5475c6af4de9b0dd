//! Converts errors of system calls to refusals.

use std::io;

use k8s_connect_wire::Refusal;

/// Converts an error in `step` to a refusal.
pub fn kernel<E: Into<io::Error>>(step: &'static str) -> impl Fn(E) -> Refusal {
    move |error| Refusal::Kernel { step: step.into(), problem: error.into().to_string() }
}
