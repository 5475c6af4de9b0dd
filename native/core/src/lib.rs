//! The Kubernetes side of `k8s_connect`, free of the BEAM: the way goes from a kubeconfig
//! ([`config`]) to an API server ([`cluster`]) to the pods that live there ([`pod`]).
//!
//! Nothing here reads the environment, prints, or panics: what a caller's environment says is
//! passed in, and every failure is a value.

pub mod cluster;
pub mod config;
pub mod pod;

use thiserror::Error;

/// Any failure of this crate; the variant says at which step of the way it happened.
#[derive(Debug, Error)]
pub enum Error {
    /// No usable way to a cluster could be read from the kubeconfig.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The API server could not be reached, or said no.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
}
