//! How a failed system call becomes a refusal.

use std::io;

use k8s_connect_wire::Refusal;

/// Makes a refusal of the error to `step`.
pub fn kernel<E: Into<io::Error>>(step: &'static str) -> impl Fn(E) -> Refusal {
    move |error| Refusal::Kernel { step: step.into(), problem: error.into().to_string() }
}
